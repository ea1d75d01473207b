"""Why a load client says something else than ours of one engine: errors, workload, load, definition, cost.

What each client means by its numbers, once they have our names and units, stands in `docs/metrics.md`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from autotune.benchmark.metrics import RequestRecord
from autotune.doctor.alternation import Turn
from autotune.records import THROUGHPUTS, Load, Measurement, Mode
from autotune.score.batches import read_records

SAME_SHARE = 0.01  # of a mean length; what differs more is another workload, or counted otherwise
FULL_SHARE = 0.95  # of the load that was asked for; as of our own client
DEAR = 1.5  # times our client's CPU seconds: from here on it may be why latencies are longer

WHOLE_RUN = (
    "counts the tokens of its successful requests over the time from the first sent to the last ended: the "
    "load fills and drains within it; native counts what is made while the load is full"
)

DEFINITIONS: Mapping[str, Mapping[str, str]] = {
    "vllm_bench": {
        "ttft": "to the first chunk, also one that only tells the role, with the opening of a connection; "
        "native: to the first token, on an open connection",
        "throughput": WHOLE_RUN,
    },
    "aiperf": {
        "e2e": "to the last response of a request; native: to the last chunk with tokens",
        "throughput": WHOLE_RUN,
    },
    "guidellm": {"throughput": WHOLE_RUN},
    "genai_bench": {
        "throughput": f"{WHOLE_RUN}; its time has the warm-up in it, without its tokens",
    },
}
"""What is left of other definitions when an adapter has put names and units right, by family of metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the rounds of one client come to: means of its metrics, its CPU seconds, and its failures."""

    client: str
    metrics: Mapping[str, float]
    cpu_s: float
    around_s: float
    rounds: int
    requests_completed: int
    requests_failed: int
    errors: Mapping[str, int]
    failures: tuple[str, ...]
    bound: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def answer_tokens(self) -> float | None:
        """Output tokens of a request, by its throughputs."""
        return _ratio(self.metrics, "output_tokens_per_s", "requests_per_s")

    @property
    def prompt_tokens(self) -> float | None:
        """Prompt tokens of a request, likewise."""
        total = _ratio(self.metrics, "total_tokens_per_s", "requests_per_s")
        answer = self.answer_tokens
        return None if total is None or answer is None else total - answer

    @property
    def in_flight(self) -> float | None:
        """Requests in flight: as it says itself, else requests/s times their mean length (Little's law)."""
        if "in_flight_mean" in self.metrics:
            return self.metrics["in_flight_mean"]
        rate, e2e_ms = self.metrics.get("requests_per_s"), self.metrics.get("e2e_ms_mean")
        return None if rate is None or e2e_ms is None else rate * e2e_ms / 1000


def account_of(client: str, turns: Sequence[Turn]) -> Account:
    """Return what the turns of one client come to."""
    own = [turn for turn in turns if turn.client == client]
    good = [turn.measurement for turn in own if turn.measurement is not None]
    around = [turn.around_s for turn in own if turn.around_s is not None]
    errors: dict[str, int] = {}
    for measurement in good:
        for kind, count in measurement.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    return Account(
        client=client,
        metrics=_means(good),
        cpu_s=fmean(turn.cpu_s for turn in own) if own else math.nan,
        around_s=fmean(around) if around else math.nan,
        rounds=len(good),
        requests_completed=sum(each.requests_completed for each in good),
        requests_failed=sum(each.requests_failed for each in good),
        errors=errors,
        failures=tuple(dict.fromkeys(_failure(turn) for turn in own if turn.failure is not None)),
        bound=tuple(dict.fromkeys(text for each in good for text in each.client_bound)),
        notes=tuple(dict.fromkeys(text for each in good for text in each.notes)),
    )


def reasons(metric: str, account: Account, native: Account, *, load: Load, percent: float) -> list[str]:
    """Return why a client's metric is by so many percent another than native's; empty: nothing is known."""
    family = "throughput" if metric in THROUGHPUTS else metric.partition("_")[0]
    is_worse = percent < 0 if family == "throughput" else percent > 0
    found = [_errors(account), *_workload(family, account, native), _load(family, account, load)]
    found.append(DEFINITIONS.get(account.client, {}).get(family))
    if is_worse:
        found += [_cost(account, native), *account.bound]
    return [text for text in found if text]


def whole_run_tokens_per_s(turns: Sequence[Turn]) -> float | None:
    """Return native's own throughput by the others' definition, from its requests; None: they are not there.

    All output tokens of the measured requests that succeeded / (the last ended - the first sent).
    """
    values = []
    for turn in turns:
        raw = turn.measurement.raw if turn.measurement is not None else None
        records = None if raw is None or not raw.exists() else read_records(raw)
        if records is None:
            continue
        values.append(_whole_run([record for record in records if record.phase == "measure"]))
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def _whole_run(measured: Sequence[RequestRecord]) -> float | None:
    good = [record for record in measured if record.error is None and record.chunks_s]
    if not good:
        return None
    length_s = max(record.ended_s for record in good) - min(record.sent_s for record in good)
    return sum(record.output_tokens for record in good) / length_s if length_s > 0 else None


def _means(good: Sequence[Measurement]) -> dict[str, float]:
    names = dict.fromkeys(name for measurement in good for name in measurement.metrics)
    values = {name: [m.metrics[name] for m in good if name in m.metrics] for name in names}
    return {name: fmean(of) for name, of in values.items()}


def _failure(turn: Turn) -> str:
    failure = turn.failure
    return "" if failure is None else ": ".join(filter(None, [failure.message, failure.evidence]))


def _errors(account: Account) -> str | None:
    if not account.requests_failed:
        return None
    kinds = ", ".join(f"{count} {kind}" for kind, count in account.errors.items())
    total = account.requests_failed + account.requests_completed
    told = f" ({kinds})" if kinds else ""
    return f"{account.requests_failed} of {total} requests failed{told}, and are in no latency"


def _workload(family: str, account: Account, native: Account) -> list[str]:
    """Lengths that differ; prompts matter for the first token and for totals only."""
    found = []
    if differs(account.answer_tokens, native.answer_tokens):
        own, ours = account.answer_tokens, native.answer_tokens
        found.append(f"its answers have {own:.1f} tokens by its count, native's {ours:.1f}")
    if family == "ttft" and differs(account.prompt_tokens, native.prompt_tokens):
        own, ours = account.prompt_tokens, native.prompt_tokens
        found.append(f"its prompts have {own:.1f} tokens by its count, native's {ours:.1f}")
    return found


def differs(one: float | None, other: float | None) -> bool:
    """Whether two mean lengths are not the same."""
    return one is not None and other is not None and abs(one - other) > SAME_SHARE * max(abs(other), 1.0)


def _load(family: str, account: Account, load: Load) -> str | None:
    """A load that was not offered; it shows in everything but the gaps between tokens, and there too."""
    offered = account.in_flight if load.mode is Mode.CONCURRENCY else account.metrics.get("requests_per_s")
    if offered is None or offered >= FULL_SHARE * load.value:
        return None
    unit = "requests in flight" if load.mode is Mode.CONCURRENCY else "requests/s"
    why = "; while it fills and drains there are fewer" if family == "throughput" else ""
    return f"{offered:.1f} of {load.value:g} {unit} on average{why}"


def _cost(account: Account, native: Account) -> str | None:
    if not account.cpu_s >= DEAR * native.cpu_s:
        return None
    return (
        f"it takes {account.cpu_s:.1f} CPU s a measurement, native {native.cpu_s:.1f}, of {os.cpu_count()} "
        "cores: what it has not read yet counts as the engine's time"
    )


def _ratio(metrics: Mapping[str, float], above: str, below: str) -> float | None:
    if not metrics.get(below) or above not in metrics:
        return None
    return metrics[above] / metrics[below]
