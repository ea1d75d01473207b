"""Why a load client says something else than ours of one engine: errors, workload, load, definition, cost.

What each client means by its numbers, once they have our names and units, stands in `docs/metrics.md`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from autotune.doctor.alternation import Turn
from autotune.records import THROUGHPUTS, Load, Measurement, Mode

SAME_SHARE = 0.01  # of a mean length or of the load; what differs more is worth a word
DEAR = 1.5  # times our client's share of a core: from here on it may be why latencies are longer
BUSY = 0.1  # of a core; what needs less disturbs nobody

LIBRARY = (
    "from before its HTTP library takes the request, with the opening of a connection or the wait for one; "
    "native: from writing it to an open connection"
)

DEFINITIONS: Mapping[str, Mapping[str, str]] = {
    "aiperf": {"ttft": LIBRARY},
    "vllm_bench": {"ttft": LIBRARY},
    "genai_bench": {"ttft": "each request opens a connection of its own, and that is in it"},
}
"""What is left of other definitions when all metrics are worked out of a client's requests by our formulas.

Source: AIPerf 0.13.0 (`transports/aiohttp_client.py`), vLLM 0.32.0 (`endpoint_request_func.py`), genai-bench
0.0.5 (`user/openai_user.py`); guidellm 0.8.1 (`backends/openai/http.py`) begins as native, with the headers.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What the rounds of one client come to: means of its metrics, its CPU seconds, and its failures.

    `bound` has a sentence for each round that the client itself limited.
    """

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
    whole_run_tokens_per_s: float | None
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
    def drained(self) -> float | None:
        """By what share throughput is lower without the requests around the measured ones; None: unknown."""
        whole, kept_up = self.whole_run_tokens_per_s, self.metrics.get("output_tokens_per_s")
        return None if whole is None or not kept_up else whole / kept_up - 1

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
    whole = [turn.whole_run_tokens_per_s for turn in own if turn.whole_run_tokens_per_s is not None]
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
        bound=tuple("; ".join(each.client_bound) for each in good if each.client_bound),
        whole_run_tokens_per_s=fmean(whole) if whole else None,
        notes=tuple(dict.fromkeys(text for each in good for text in each.notes)),
    )


def reasons(
    metric: str, account: Account, native: Account, *, load: Load, percent: float, cores: int
) -> list[str]:
    """Return why a client's metric is by so many percent another than native's; empty: nothing is known.

    `cores` are those of the machine that the clients run on.
    """
    family = "throughput" if metric in THROUGHPUTS else metric.partition("_")[0]
    is_worse = percent < 0 if family == "throughput" else percent > 0
    found = [_errors(account), *_workload(family, account, native)]
    if family == "throughput":
        found += [_load(account, native, load), _length(account, native)]
    if family == "e2e":
        found.append(_first_token(account, native))
    found.append(DEFINITIONS.get(account.client, {}).get(family))
    if is_worse:
        found.append(_cost(account, native, cores))
    return [text for text in found if text]


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


def _load(account: Account, native: Account, load: Load) -> str | None:
    """A load that was not kept up: by Little's law throughput is that times tokens a request / its length."""
    own, ours = account.in_flight, native.in_flight
    if load.mode is not Mode.CONCURRENCY or own is None or ours is None or own >= (1 - SAME_SHARE) * ours:
        return None
    fewer, drained = own / ours - 1, native.drained
    told = f"{own:.1f} requests in flight on average, native {ours:.1f} ({100 * fewer:+.1f} %)"
    if drained is None:
        return f"{told}: the load fills and drains in its window, native keeps it up beyond"
    why = f"{told}: {100 * drained:+.1f} % is the load that fills and drains in its window"
    return f"{why}, the rest pauses between its requests" if fewer < drained - SAME_SHARE else why


def _length(account: Account, native: Account) -> str | None:
    """Requests that take longer, in a closed loop, are fewer."""
    own, ours = account.metrics.get("e2e_ms_mean"), native.metrics.get("e2e_ms_mean")
    if not own or not ours or own <= (1 + SAME_SHARE) * ours:
        return None
    return f"its requests take {100 * (own / ours - 1):.1f} % longer by its stamps"


def _first_token(account: Account, native: Account) -> str | None:
    """How much of a longer request is before its first token."""
    names = ("e2e_ms_mean", "ttft_ms_mean")
    if any(name not in metrics for name in names for metrics in (account.metrics, native.metrics)):
        return None
    whole, first = (account.metrics[name] - native.metrics[name] for name in names)
    return f"{first:+.1f} of {whole:+.1f} ms are before the first token"


def _cost(account: Account, native: Account, cores: int) -> str | None:
    own = account.metrics.get("client_cpu_fraction")
    ours = native.metrics.get("client_cpu_fraction", 0.0)
    if own is None or own < max(BUSY, DEAR * ours):
        return None
    return (
        f"it uses {own:.2f} of a core while it measures, native {ours:.2f}, of {cores} cores: what "
        "it has not read yet counts as the engine's time"
    )


def _ratio(metrics: Mapping[str, float], above: str, below: str) -> float | None:
    if not metrics.get(below) or above not in metrics:
        return None
    return metrics[above] / metrics[below]
