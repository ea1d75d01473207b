"""`python -m autotune plan`: what would run, and why the rest would not; nothing is started or written."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from autotune import compose
from autotune.cli import complain
from autotune.errors import ConfigError
from autotune.plan.expand import Entry, Verdict, count
from autotune.prepare import start_problems
from autotune.report.preview import render_preview
from autotune.report.render import console
from autotune.survey import Survey, survey
from autotune.track.records import memory_record


def run_preview(
    words: Sequence[str],
    *,
    multirun: bool,
    config_dir: str | None,
    config_name: str,
    every: bool,
    differences: bool,
    as_json: bool,
) -> int:
    """Show the plan of a command and return the exit status: 2 if nothing of it can run."""
    try:
        with compose.hydra_on(config_dir) as hydra:
            asked = survey(hydra, words, multirun=multirun, config_name=config_name)
    except ConfigError as error:
        return complain(error.problems)
    if asked.problems:
        alone = asked.entries[0].plan.reasons if len(asked.entries) == 1 else ()
        return complain(list(dict.fromkeys([*asked.problems, *alone])))
    if as_json:
        _write(as_plain(asked))
    else:
        render_preview(console(), asked, here=start_problems(asked), every=every, differences=differences)
    if any(entry.verdict is Verdict.VALID for entry in asked.entries):
        return 0
    return complain(["no candidate can run; the reasons stand with each"])


def _write(content: dict[str, Any]) -> None:
    """A line for each candidate: ten times as fast as a line for each value."""
    rows = ",\n".join(map(json.dumps, content["candidates"]))
    sys.stdout.write(f'{{"counts": {json.dumps(content["counts"])}, "candidates": [\n{rows}\n]}}\n')


def as_plain(asked: Survey) -> dict[str, Any]:
    """Return the preview as contract section 1 says."""
    return {
        "counts": count(asked.entries),
        "candidates": [_candidate(entry) for entry in asked.entries],
    }


def _candidate(entry: Entry) -> dict[str, Any]:
    plan = entry.plan
    return {
        "overrides": list(entry.candidate.overrides),
        "status": entry.verdict.value,
        "reasons": list(plan.reasons),
        "notes": list(plan.notes),
        "duplicate_of": entry.duplicate_of,
        "runtime": plan.runtime,
        "runtime_version": plan.runtime_version,
        "argv": list(plan.argv),
        "env": dict(plan.env),
        "files": dict(plan.files),
        "gpus": plan.gpus,
        "world_size": plan.world_size,
        "signature": plan.signature,
        "memory": memory_record(plan.memory),
    }
