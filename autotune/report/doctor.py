"""What `doctor` found, a line for each thing."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from autotune.doctor.finding import Finding

MARKS = {"good": "[green]✓[/]", "note": "[yellow]·[/]", "missing": "[red]✗[/]"}


def render_findings(out: Console, findings: Sequence[Finding]) -> None:
    """Print the findings in their order, each with its fix below it."""
    width = max(len(finding.about) for finding in findings)
    for finding in findings:
        mark = MARKS[finding.state.value] if finding.about else " "
        out.print(f"{mark} {escape(finding.about):<{width}}  {escape(finding.text)}", soft_wrap=True)
        if finding.fix:
            out.print(f"  {'':<{width}}  {escape(finding.fix)}", soft_wrap=True)
