"""The requests of `workload.file`: what is drawn from it, and what is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from autotune.plan.loads import fixed_loads, searches, span
from autotune.schema import Arrival, Config, LoadMode, MeasureConfig, WorkloadConfig, WorkloadKind
from autotune.workload import kept, pool
from autotune.workload.files import Reading, read_lines, read_sharegpt
from autotune.workload.pool import Draw, Summary
from autotune.workload.slots import Slot, slot_of

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
    """Return how many conversations a trial of this candidate takes at the most."""
    return max(1, repeats_of(config.measure)) * sum(slot.size for slot in _slots(config.workload)) or 1


def repeats_of(measure: MeasureConfig) -> int:
    """Return how often a load is measured at the most."""
    return measure.repeats if measure.until is None else max(measure.repeats, measure.max_repeats)


def _slots(workload: WorkloadConfig) -> list[Slot]:
    rate = workload.mode is LoadMode.rate
    loads = [span(workload)[1]] if searches(workload) else fixed_loads(workload)
    return [slot_of(load, workload, rate=rate) for load in loads if load > 0]


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
    notes = [f"{drawn}; of {seen:,} looked at: {_left_out(summary, draw.limit)}"]
    if summary.rate is not None:
        notes += _trace_notes(workload, summary)
    if summary.lengths_only:
        notes.append(
            f"{summary.lengths_only:,} of those used are lengths only: their words are drawn anew for each "
            "load and repeat, so a prefix cache finds of them what hash_ids share within a measurement"
        )
    if summary.rate is None and summary.lengths_only < summary.drawn:
        notes += _reuse_notes(workload, summary, draw)
    return [f"{said}: {note}" for note in notes]


def _trace_notes(workload: WorkloadConfig, summary: Summary) -> Iterator[str]:
    """What comes again in a trace, and at which times."""
    again = "is a trace: every load and repeat replays it from its beginning"
    texts = summary.drawn - summary.lengths_only
    if texts:
        again += f", so an engine's prefix cache finds the {texts:,} recorded texts that it still holds"
    yield (
        f"{again}; a warm-up that goes on beyond the least sends the same requests again, measured are those "
        "that follow"
    )
    longest = max((slot.least + slot.measured for slot in _slots(workload)), default=0)
    if summary.drawn < longest:
        yield (
            f"a measurement takes up to {longest:,} of its {summary.drawn:,}: it begins anew within one, so "
            "that requests of the warm-up are measured too"
        )
    own = f"its own rate is {summary.rate:.3g} requests/s"
    if workload.arrival is Arrival.trace:
        yield f"{own}; its times are stretched to the rates of workload.loads"
    else:
        how = f"workload.mode=rate workload.arrival=trace workload.loads=[{summary.rate:.3g}]"
        yield f"{own}; {how} replays it as it was"


def _reuse_notes(workload: WorkloadConfig, summary: Summary, draw: Draw) -> Iterator[str]:
    """When a conversation is sent more than once."""
    if summary.drawn < draw.needed:
        many = " (no more are drawn)" if summary.drawn == pool.MOST else ""
        yield (
            f"up to {draw.needed:,} conversations are needed, of {summary.drawn:,}{many} each is sent up to "
            f"about {draw.needed / summary.drawn:.1f} times: an engine's prefix cache finds those it still "
            "holds"
        )
    slots = _slots(workload)
    spare = ", ".join(f"{slot.further:,}" for slot in slots)
    yield (
        f"a warm-up that goes on beyond the least for more than {spare}, by loads, and filler of more than "
        "that, send their own again, which a prefix cache finds; none of them is a measured one"
    )
    if workload.seconds_per_load is not None:
        measured = ", ".join(f"{slot.measured:,}" for slot in slots)
        yield (
            f"within workload.seconds_per_load={workload.seconds_per_load:g} up to {measured} conversations, "
            "by loads, are measured once; an engine that takes more gets them again, and its prefix cache "
            "finds them"
        )
