"""The end of a sweep on the terminal: ranked table, winner, command, failures, where to look."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from autotune.report.failures import print_failures
from autotune.report.lasting import Lasting
from autotune.report.verdict import doubts, number, score_text, verdict
from autotune.schema import SloMode
from autotune.score.ranking import Ranked, Ranking
from autotune.track.judged import missed
from autotune.track.lessons import is_lesson
from autotune.track.state import SweepState

PLAIN_WIDTH = 160  # columns where there is no terminal to ask
SHOWN_PORT = "8000"

HEADERS = {
    "total_tokens_per_s_per_gpu": "total tok/s per GPU",
    "output_tokens_per_s_per_gpu": "output tok/s per GPU",
    "requests_per_s_per_gpu": "requests/s per GPU",
    "goodput_requests_per_s_per_gpu": "goodput req/s per GPU",
    "total_tokens_per_s": "total tok/s",
    "output_tokens_per_s": "output tok/s",
    "requests_per_s": "requests/s",
    "goodput_requests_per_s": "goodput req/s",
}
"""Column heads of the throughputs that can rank."""


def console() -> Console:
    """Return the console for standard output: wide enough for the table where it is a file."""
    out: Any = Lasting(sys.stdout)
    probe = Console(file=out)
    return probe if probe.is_terminal else Console(file=out, width=PLAIN_WIDTH, highlight=False)


def render(out: Console, state: SweepState, rankings: Sequence[Ranking], *, folder: Path, store: str) -> None:
    """Print what a sweep found."""
    started = {**(state.started or {}), "simulated": state.simulated}
    objective = started["objective"]
    for ranking in rankings:
        _table(out, ranking, started, alone=len(rankings) == 1)
        metric = _ranked_metric(ranking, objective)
        for line in verdict(ranking, metric, started):
            out.print(escape(line), soft_wrap=True)
        if ranking.winner is not None and ranking.winner.queued["plan"]["argv"]:
            out.print(f"command {escape(engine_command(ranking.winner.queued['plan']))}", soft_wrap=True)
    print_failures(out, rankings, started, folder)
    _rejected(out, state)
    for line in _notes(rankings):
        out.print(f"note: {escape(line)}", soft_wrap=True)
    out.print(f"files   {folder}", soft_wrap=True)
    out.print(f"MLflow  {escape(store)}", soft_wrap=True)


def engine_command(plan: Mapping[str, Any]) -> str:
    """Return the engine's command as one would type it, with its environment and what stands before it."""
    env = [f"{key}={shlex.quote(value)}" for key, value in plan["env"].items()]
    argv = [*plan.get("prefix", ()), *plan["argv"]]  # a journal from before it was recorded has none
    words = [shlex.quote(word.replace("{port}", SHOWN_PORT)) for word in argv]
    return " ".join([*env, *words])


def _table(out: Console, ranking: Ranking, started: Mapping[str, Any], *, alone: bool) -> None:
    metric = _ranked_metric(ranking, started["objective"])
    mark = "  SIMULATED: no claim about hardware" if started["simulated"] else ""
    title = "" if alone else f"{ranking.title}  "
    table = Table(title=f"{title}ranked by {metric}{mark}", title_justify="left")
    varied = [key for key in started["varied"] if key not in {"runtime", "parallel"}]
    left = ["runtime", "parallel", *(key.rpartition(".")[2] for key in varied)]
    table.add_column("rank", justify="right")
    for name in left:
        table.add_column(escape(name))
    shown = _throughput(metric, ranking)
    penalized = started.get("slo", {}).get("mode") == SloMode.penalty.value
    score = "score after penalty ± 95 %" if penalized else "score ± 95 %"
    right = ["GPUs", HEADERS[shown], "output tok/s", "TTFT ms p50/p99", "TPOT ms p50/p99", score]
    for name in right:
        table.add_column(name, justify="right")
    table.add_column("status")
    tied = {row.trial for row in ranking.tied}
    for row in ranking.rows:
        values = _values(row.queued, ["runtime", "parallel", *varied])
        table.add_row(str(row.rank or "–"), *map(escape, [*values, *_figures(row, shown, tied)]))
    out.print(table)


def _ranked_metric(ranking: Ranking, objective: Mapping[str, Any]) -> str:
    """What ranks: the absolute metric where the number of GPUs is unknown."""
    metric = str(objective["metric"])
    known = all(row.queued["plan"]["gpus"] for row in ranking.rows)
    return metric if known else metric.removesuffix("_per_gpu")


def _throughput(metric: str, ranking: Ranking) -> str:
    """The throughput that is shown: the ranked one; beside a latency, total tokens per GPU if known."""
    if metric in HEADERS:
        return metric
    known = all(row.queued["plan"]["gpus"] for row in ranking.rows)
    return "total_tokens_per_s_per_gpu" if known else "total_tokens_per_s"


def _values(queued: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """The values of `keys` for one candidate: a preset's name, or what the command line gave."""
    given = dict(override.split("=", 1) for override in queued["overrides"] if "=" in override)
    return [str(given.get(key, queued["choices"].get(key, ""))) for key in keys]


def _figures(row: Ranked, shown: str, tied: Collection[int]) -> list[str]:
    metrics = row.finished["metrics"]
    return [
        str(row.queued["plan"]["gpus"] or "?"),
        number(metrics.get(shown)),
        number(metrics.get("output_tokens_per_s")),
        _pair(metrics, "ttft_ms"),
        _pair(metrics, "tpot_ms"),
        score_text(row),
        _status(row.finished, tied=row.trial in tied),
    ]


def _status(finished: Mapping[str, Any], *, tied: bool) -> str:
    failure, lost = finished["failure"], finished["metrics"].get("requests_failed", 0)
    if failure:
        return f"{finished['status']}: {failure['kind']}"
    margin = missed(finished.get("slo"))
    parts = [f"{finished['status']}: {margin}" if margin else str(finished["status"])]
    parts += [f"{lost:g} requests failed"] if lost else []
    parts += ["client-bound"] if finished.get("client_bound") else []
    parts += ["a tie with 1"] if tied else []
    return ", ".join(parts)


def _rejected(out: Console, state: SweepState) -> None:
    by_reason: dict[str, list[str]] = {}
    for event in state.rejected:
        for reason in event["reasons"]:
            by_reason.setdefault(reason, []).append(" ".join(event["overrides"]))
    for reason, candidates in by_reason.items():
        out.print(f"rejected ({len(candidates)}) {escape(reason)}", soft_wrap=True)
        out.print(f"        first: {escape(candidates[0])}", soft_wrap=True)
    if state.duplicates:
        out.print(f"duplicates ({len(state.duplicates)}): measured once each")


def _notes(rankings: Sequence[Ranking]) -> list[str]:
    rows = [row for ranking in rankings for row in ranking.rows]
    said = [(row, note) for row in rows for note in row.finished["notes"] if not is_lesson(note)]
    of = Counter(note for _, note in said)
    alone = len(rows) > 1  # what one of several trials says is told with its name
    notes = [
        note if not alone or of[note] > 1 or note.startswith("trial ") else f"{row.queued['label']}: {note}"
        for row, note in said
    ]
    if any(row.queued["plan"]["gpus"] == 0 for row in rows):
        notes.append("the number of GPUs is unknown: absolute values are ranked; set gpus.count")
    notes += doubts(rows)
    return list(dict.fromkeys(notes))


def _pair(metrics: Mapping[str, float], name: str) -> str:
    low, high = metrics.get(f"{name}_p50"), metrics.get(f"{name}_p99")
    return "–" if low is None or high is None else f"{low:.1f}/{high:.1f}"
