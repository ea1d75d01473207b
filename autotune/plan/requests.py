"""The requests of `workload.file`: what is drawn from it, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from autotune.schema import Arrival, Config, WorkloadConfig, WorkloadKind
from autotune.workload import kept, pool
from autotune.workload.files import Reading, read_lines, read_sharegpt
from autotune.workload.pool import Draw, Summary

Counting = tuple[str, Callable[[str], int]]
"""What counts the tokens of a text, with a name for how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """What was drawn from a file: `summary` of it, and the file that has it, `pool`; or problems."""

    summary: Summary | None = None
    pool: str | None = None
    sha256: str = ""
    identity: str = ""
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def requests_of(config: Config, limit: int | None, counting: Counting) -> Requests:
    """Return what is drawn; `limit` is the longest request with its answer, None for no limit."""
    workload = config.workload
    if not workload.file:
        missing = f"workload.file: must be given with workload.kind={workload.kind.value}"
        return Requests(problems=(f"{missing}: {_FORMS[workload.kind]}",))
    said = f"workload.file={workload.file}"
    try:
        content = Path(workload.file).expanduser().read_bytes()
    except OSError as error:
        return Requests(problems=(f"{said}: cannot be read: {error.strerror or error}",))
    sha256 = hashlib.sha256(content).hexdigest()
    if workload.file_sha256 not in {None, sha256}:
        why = f"workload.file_sha256={workload.file_sha256}: {workload.file} has {sha256}: it has changed"
        return Requests(problems=(why,))
    how, count = counting
    draw = Draw(
        seed=workload.seed,
        needed=needed(config),
        limit=limit,
        output_tokens=workload.output_tokens,
        shortest=pool.SHORTEST if workload.kind is WorkloadKind.sharegpt else 1,
    )
    name = kept.key_of([pool.VERSION, sha256, workload.kind.value, workload.turns, asdict(draw), how])
    summary = pool.find(name)
    if summary is None:
        reading = _read(workload, content)
        if reading.problems:
            return Requests(problems=tuple(f"{said}: {problem}" for problem in reading.problems))
        summary, conversations = pool.pool_of(reading, draw, count)
        if not summary.drawn:
            return Requests(problems=(f"{said}: {_none_left(summary, limit)}",))
        try:
            pool.keep(name, summary, conversations)
        except OSError as error:
            place = kept.place_for(name).parent
            return Requests(problems=(f"{place}: cannot be written ({error.strerror}): set AUTOTUNE_CACHE",))
    if summary.rate is None and workload.arrival is Arrival.trace:
        why = f"{said}: its lines have no time, which workload.arrival=trace needs: add them, or set poisson"
        return Requests(problems=(why,))
    return Requests(
        summary=summary,
        pool=str(kept.place_for(f"{name}-pool")),
        sha256=sha256,
        identity=name,
        notes=tuple(_notes(workload, summary, draw)),
    )


def needed(config: Config) -> int:
    """Return how many conversations a trial of this candidate takes."""
    workload = config.workload
    sizes = [
        pool.slot_size(
            load,
            requests_per_load=workload.requests_per_load,
            min_requests=workload.min_requests,
            warmup_requests=workload.warmup_requests,
        )
        for load in workload.loads
        if 0 < load < float("inf")
    ]
    return max(1, config.measure.repeats) * sum(sizes) or 1


_FORMS = {
    WorkloadKind.sharegpt: "the path of a ShareGPT JSON file",
    WorkloadKind.jsonl: "the path of a file with one JSON object a line, see conf/workload/jsonl.yaml",
}


def _read(workload: WorkloadConfig, content: bytes) -> Reading:
    if workload.kind is WorkloadKind.sharegpt:
        return read_sharegpt(content, turns=workload.turns)
    return read_lines(content, output_tokens=workload.output_tokens)


def _none_left(summary: Summary, limit: int | None) -> str:
    return (
        f"none of its {summary.of:,} conversations is left: {_left_out(summary, limit)}: give another file, "
        "or raise workload.max_tokens and serving.max_model_len"
    )


def _left_out(summary: Summary, limit: int | None) -> str:
    parts = [
        (summary.unusable, "without an answered question"),
        (summary.short, f"of less than {pool.SHORTEST} tokens"),
        (summary.long, f"of more than {limit or 0:,} tokens"),
    ]
    return ", ".join(f"{count:,} {why}" for count, why in parts if count) or "none left out"


def _notes(workload: WorkloadConfig, summary: Summary, draw: Draw) -> list[str]:
    said = f"workload.file={workload.file}"
    drawn = f"{summary.drawn:,} of {summary.of:,} conversations are used"
    seen = summary.looked_at + summary.unusable
    notes = [f"{said}: {drawn}; of {seen:,} looked at: {_left_out(summary, draw.limit)}"]
    if summary.rate is not None:
        notes.append(
            f"{said}: is a trace: every load and repeat replays it from its beginning, so an engine's prefix "
            "cache finds the texts of the repeat before"
        )
        own = f"its own rate is {summary.rate:.3g} requests/s"
        if workload.arrival is Arrival.trace:
            notes.append(f"{said}: {own}; its times are stretched to the rates of workload.loads")
        else:
            how = f"workload.mode=rate workload.arrival=trace workload.loads=[{summary.rate:.3g}]"
            notes.append(f"{said}: {own}; {how} replays it as it was")
    elif summary.drawn < draw.needed:
        notes.append(
            f"{said}: {draw.needed:,} conversations are needed, so each is sent about "
            f"{draw.needed / summary.drawn:.1f} times: an engine's prefix cache finds those it still holds"
        )
    return notes
