"""One line for each step of a sweep, for logs and pipes."""

from __future__ import annotations

from autotune.report.progress import Event, Progress, cause, load_of
from autotune.track.judged import missed


def sentence(event: Event, progress: Progress) -> str | None:
    """Return the line of an event that `progress` has taken in; None where a reader of a log needs none."""
    kind = event["event"]
    if kind == "sweep_started":
        gpus = [gpu["model"] for gpu in event["inventory"]["gpus"]]
        have = f"{len(gpus)} x {gpus[0]}" if gpus else "an engine run by someone else"
        return f"sweep {event['sweep']}: {event['candidates'] or 'streamed'} candidates on {have}"
    if kind == "candidate_rejected":
        return f"rejected {' '.join(event['overrides'])}: {'; '.join(event['reasons'])}"
    if kind == "candidate_duplicate":
        return f"duplicate of trial {event['duplicate_of']}: {' '.join(event['overrides'])}"
    number = event.get("trial")
    if number is None or number not in progress.queued:
        return None
    told = _trial_sentence(event, progress)
    return None if told is None else f"trial {number} {progress.queued[number]['label']}: {told}"


def _trial_sentence(event: Event, progress: Progress) -> str | None:
    kind = event["event"]
    if kind == "trial_started":
        again = f", attempt {event['attempt']}" if event.get("attempt", 1) > 1 else ""
        return f"starting on GPU {','.join(map(str, event['lease']['indices'])) or 'unknown'}{again}"
    if kind == "server_ready":
        return f"ready after {event['startup_s']:.1f} s, version {event['engine_version'] or 'unknown'}"
    if kind == "measured":
        rate = event["metrics"].get("output_tokens_per_s")
        tokens = f", {rate:.1f} output tokens/s" if rate is not None else ""
        failed = f", {event['requests_failed']} requests FAILED" if event["requests_failed"] else ""
        limit = ", limited by the load client" if event.get("client_bound") else ""
        return f"{load_of(event)}{tokens}{failed}{limit}"
    if kind == "attempt_failed":
        return f"attempt {event['attempt']} failed, {cause(event)}; again in {event['again_in_s']:g} s"
    if kind == "trial_finished":
        return _finished_sentence(event, progress)
    return None


def _finished_sentence(event: Event, progress: Progress) -> str:
    counts = f"({len(progress.done)} of {len(progress.queued)} done)"
    if event["failure"]:
        return f"failed, {cause(event)} {counts}"
    if event["score"] is None:
        why = ", not ranked: limited by the load client" if event.get("client_bound") else ""
        if margin := missed(event.get("slo")):
            why = f" at {event['load']['mode']} {event['load']['value']:g}: {margin}"
        return f"{event['status']}{why} {counts}"
    metric = str(progress.sweep["objective"]["metric"])
    if not progress.queued[event["trial"]]["plan"]["gpus"]:
        metric = metric.removesuffix("_per_gpu")
    return f"{event['status']}, {metric} {event['score']:.1f} {counts}"
