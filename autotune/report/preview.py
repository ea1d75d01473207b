"""The preview of a sweep on the terminal: a row for each candidate, counts, reasons, what a run would say."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autotune.plan.expand import Entry, Verdict, count
from autotune.records import InventoryKind, Plan
from autotune.survey import Survey
from autotune.track.records import label_of

FIRST = 10  # candidates shown without --all
FIRST_REASONS = 8  # reasons shown without --all
SAME_EVERYWHERE = ("--host", "--port", "--served-model-name", "--model-path")  # of every command
MARK = {Verdict.VALID: "valid", Verdict.REJECTED: "[red]rejected[/]", Verdict.DUPLICATE: "[dim]duplicate[/]"}

Words = tuple[str, ...]


def render_preview(
    out: Console, asked: Survey, *, here: Sequence[str], every: bool, differences: bool
) -> None:
    """Print the candidates, how many there are of each verdict, and why the others cannot run.

    `here` is what would keep the command from being started on this machine.
    """
    _space(out, asked)
    shown = asked.entries if every else asked.entries[:FIRST]
    common = _common(asked.entries) if differences else frozenset()
    out.print(_table(asked, shown, common, differences=differences))
    if len(shown) < len(asked.entries):
        out.print(f"... and {len(asked.entries) - len(shown):,} more: --all shows them")
    if common:
        out.print(f"in every candidate: {escape(_line(sorted(common)))}", soft_wrap=True)
    out.print(_counted(asked))
    _reasons(out, asked.entries, every=every)
    _notes(out, asked.entries, every=every)
    for note in asked.inventory.notes:
        out.print(f"note: {escape(note)}", soft_wrap=True)
    if here:
        out.print("[yellow]a run here would be refused:[/]")
        for problem in here:
            out.print(f"  {escape(problem)}", soft_wrap=True)


def _space(out: Console, asked: Survey) -> None:
    """What varies, where a range makes the candidates below samples."""
    space = asked.space
    if not space.ranges:
        return
    several = len(set(space.runtimes.values())) > 1
    own = [(f" (only {name})" * several, d) for name, of in space.of_runtime.items() for d in of]
    out.print("the space:")
    for suffix, dimension in [*(("", d) for d in space.common), *own]:
        if dimension.interval is None and len(dimension.words) == 1:
            continue
        values = [word.partition("=")[2] for word in dimension.words]
        text = str(dimension.interval) if dimension.interval else ", ".join(values)
        out.print(f"  {escape(dimension.name)}{suffix}: {escape(text)}", soft_wrap=True)
    out.print(f"{len(asked.entries)} samples of it, drawn with seed={asked.config.seed}:")


def _table(asked: Survey, shown: Sequence[Entry], common: frozenset[Words], *, differences: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("#", "candidate", "status"):
        table.add_column(head, no_wrap=head != "candidate", overflow="fold")
    table.add_column("GPUs", justify="right", no_wrap=True)
    table.add_column("GiB per GPU\nweights + KV", justify="right", no_wrap=True)
    table.add_column("requests\nin KV", justify="right", no_wrap=True)
    head = "what differs" if differences else "arguments"
    table.add_column(f"{head}, or why not", overflow="fold", ratio=1)
    for number, entry in enumerate(shown):
        table.add_row(
            str(number),
            escape(label_of(entry.candidate, asked.varied)),
            MARK[entry.verdict],
            str(entry.plan.gpus),
            *_memory(entry),
            _details(entry, common),
        )
    return table


def _memory(entry: Entry) -> tuple[str, str]:
    """Weights and KV cache of a GPU, and the requests of the workload's mean length that find room."""
    memory = entry.plan.memory
    if entry.verdict is Verdict.REJECTED and (memory is None or memory.fits is not False):
        return "", ""
    if memory is None or memory.weights_gib is None:
        return "?", "?"
    if memory.kv_cache_gib is None or memory.concurrency is None:
        return f"{memory.weights_gib:.1f} + ?", "?"
    return f"{memory.weights_gib:.1f} + {max(memory.kv_cache_gib, 0):.1f}", f"{memory.concurrency:,.0f}"


def _details(entry: Entry, common: frozenset[Words]) -> str:
    if entry.verdict is Verdict.REJECTED:
        return "\n".join(escape(reason) for reason in entry.plan.reasons)
    if entry.verdict is Verdict.DUPLICATE:
        return f"[dim]the same as #{entry.duplicate_of}[/]"
    words = _line([words for words in _arguments(entry.plan) if words not in common])
    files = [f"{path}:\n{text.rstrip()}" for path, text in entry.plan.files.items()]
    nothing = "(nothing else)" if common else "(the engine's defaults)"
    return escape("\n".join(filter(None, [words, *files])) or nothing)


def _arguments(plan: Plan) -> list[Words]:
    """The command line in pieces: the program with its model, then each option with its values."""
    pieces: list[list[str]] = [[]]
    for word in plan.argv:
        if word.startswith("--"):
            pieces.append([])
        pieces[-1].append(word)
    return [tuple(p) for p in pieces[1:] if p[0] not in SAME_EVERYWHERE]


def _common(entries: Sequence[Entry]) -> frozenset[Words]:
    """What every candidate that can run has in its command line."""
    sets = [frozenset(_arguments(e.plan)) for e in entries if e.verdict is Verdict.VALID]
    return frozenset.intersection(*sets) if sets else frozenset()


def _line(pieces: Sequence[Words]) -> str:
    return " ".join(shlex.quote(word) for piece in pieces for word in piece)


def _counted(asked: Survey) -> str:
    """`12 valid, 3 rejected, 2 duplicates; 24 GPU-starts on 8 GPUs`."""
    counts = count(asked.entries)
    starts = sum(entry.plan.gpus for entry in asked.entries if entry.verdict is Verdict.VALID)
    duplicates = "duplicate" if counts["duplicate"] == 1 else "duplicates"
    gpus = f"{len(asked.inventory.gpus)} {'CPU slots' if _on_cpu(asked) else 'GPUs'}"
    if asked.inventory.kind is InventoryKind.UNKNOWN:
        gpus = "GPUs that are not known"
    return (
        f"[bold]{counts['valid']:,} valid, {counts['rejected']:,} rejected, {counts['duplicate']:,} "
        f"{duplicates}; {starts:,} GPU-starts on {gpus}[/]"
    )


def _on_cpu(asked: Survey) -> bool:
    return asked.inventory.kind is InventoryKind.CPU


def _reasons(out: Console, entries: Sequence[Entry], *, every: bool) -> None:
    """Each reason once, with the candidates that it rejects, the most frequent first."""
    _grouped(out, "rejected:", [(n, e.plan.reasons) for n, e in enumerate(entries)], every=every)


def _notes(out: Console, entries: Sequence[Entry], *, every: bool) -> None:
    valid = [(n, e.plan.notes) for n, e in enumerate(entries) if e.verdict is Verdict.VALID]
    _grouped(out, "notes:", valid, every=every)


def _grouped(out: Console, head: str, said: Sequence[tuple[int, Sequence[str]]], *, every: bool) -> None:
    groups: dict[str, list[int]] = defaultdict(list)
    for number, texts in said:
        for text in texts:
            groups[text].append(number)
    if not groups:
        return
    out.print(head)
    ranked = sorted(groups.items(), key=lambda item: -len(item[1]))
    shown = ranked if every else ranked[:FIRST_REASONS]
    for text, numbers in shown:
        few = ", ".join(f"#{number}" for number in numbers[:4])
        rest = f" and {len(numbers) - 4:,} more" if len(numbers) > 4 else ""
        out.print(f"  {escape(text)}  [dim]({few}{rest})[/]", soft_wrap=True)
    if len(shown) < len(ranked):
        out.print(f"  ... and {len(ranked) - len(shown):,} more: --all shows them")
