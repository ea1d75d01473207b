"""What failed, at the end of a sweep: by kind, each cause once, and the command that runs it again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape

from autotune.failures.kinds import KINDS, Whose
from autotune.failures.retry import kind_of
from autotune.score.ranking import Ranked, Ranking

Key = TypeVar("Key", bound=Hashable)

SHOWN = 5  # candidates of one cause, causes of one kind

WHOSE: Mapping[Whose, str] = {
    Whose.CHOICE: "the candidate's own: other choices may work",
    Whose.USER: "for you to mend: the command, a path, a token, an image",
    Whose.OPERATOR: "for whoever runs this host: GPUs, network, disk",
    Whose.ENGINE: "the engine's: for its developers",
    Whose.UNKNOWN: "nobody knows whose",
}


def print_failures(
    out: Console, rankings: Sequence[Ranking], started: Mapping[str, Any], folder: Path
) -> None:
    """Print every kind of failure with its causes; nothing where nothing failed."""
    rows = [row for ranking in rankings for row in ranking.rows if row.finished["failure"]]
    kinds = _grouped(rows, lambda row: str(row.finished["failure"]["kind"]))
    for kind, failed in kinds.items():
        whose = WHOSE[kind_of(kind).whose]
        out.print(f"failed  ({len(failed)}) {escape(kind)}, {whose}", soft_wrap=True)
        causes = list(_grouped(failed, _cause).values())
        for alike in causes[:SHOWN]:
            for line in _told(alike, folder):
                out.print(f"        {escape(line)}", soft_wrap=True)
        if len(causes) > SHOWN:
            out.print(
                f"        and {len(causes) - SHOWN} more causes, in {folder / 'journal.jsonl'}",
                soft_wrap=True,
            )
    if kinds:
        retry = next(iter(kinds)) if len(kinds) == 1 and kinds.keys() <= KINDS.keys() else "failed"
        again = resume_command(started["command"], name=started["sweep"], retry=retry)
        out.print(f"again   {escape(again)}", soft_wrap=True)


def resume_command(command: Sequence[str], *, name: str, retry: str | None = None) -> str:
    """Return the command that goes on with a sweep; `retry` are failures to run again."""
    own = ("sweep.name=", "sweep.resume=", *(["sweep.retry="] if retry else []))
    words = [word for word in command if not word.startswith(own)]
    again = [f"sweep.retry={retry}"] if retry else []
    return shlex.join([*words, f"sweep.name={name}", "sweep.resume=true", *again])


def _told(alike: Sequence[Ranked], folder: Path) -> list[str]:
    """The lines about trials that failed for the same cause."""
    failure = alike[0].finished["failure"]
    names = _listed([row.queued["label"] for row in alike])
    places = _listed([str(folder / row.queued["folder"]) for row in alike])
    return [f"{names}: {failure['message']}", *filter(None, [failure["evidence"], failure["advice"]]), places]


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return f"{', '.join(words[:SHOWN])}{more}"


def _cause(row: Ranked) -> tuple[str, ...]:
    """What is alike in failures of one cause: everything but the numbers in it."""
    failure = row.finished["failure"]
    return tuple(re.sub(r"\d[\d.,]*", "#", failure[part]) for part in ("message", "evidence", "advice"))


def _grouped(rows: Sequence[Ranked], by: Callable[[Ranked], Key]) -> dict[Key, list[Ranked]]:
    groups: dict[Key, list[Ranked]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return groups
