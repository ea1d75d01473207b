"""Traffic: the same from the same seed, no prefix twice, lengths and arrivals as asked."""

from __future__ import annotations

import statistics
from dataclasses import replace
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.benchmark.arrivals import arrivals
from autotune.benchmark.traffic import RequestPlan, conversations, first, measured_count, warmup_count
from autotune.records import Load, Mode, Traffic

TRAFFIC = Traffic(
    endpoint="completions",
    input_tokens=128,
    output_tokens=64,
    input_spread=0.3,
    output_spread=0.3,
    requests_per_load=8,
    min_requests=16,
    warmup_requests=2,
    ignore_eos=True,
    seed=7,
)
EIGHT = Load(mode=Mode.CONCURRENCY, value=8)
PHASES = ("warmup", "measure", "fill")

seeds = st.integers(min_value=0, max_value=2**31)
loads = st.builds(
    Load, mode=st.sampled_from(Mode), value=st.floats(min_value=0.5, max_value=512).map(lambda v: round(v, 2))
)


def drawn(
    count: int, traffic: Traffic = TRAFFIC, load: Load = EIGHT, repeat: int = 1, phase: str = "measure"
) -> list[RequestPlan]:
    """The first requests of a phase."""
    drawn = conversations(traffic, load, repeat=repeat, phase=phase)
    return [plan for conversation in first(count, drawn) for plan in conversation]


@given(seed=seeds, load=loads, repeat=st.integers(1, 9), phase=st.sampled_from(PHASES))
@settings(max_examples=30, deadline=None)
def test_the_same_seed_gives_the_same_requests(seed: int, load: Load, repeat: int, phase: str) -> None:
    """Prompts, lengths and arrivals, however often they are drawn and however many."""
    traffic = replace(TRAFFIC, seed=seed)
    first = drawn(20, traffic, load, repeat, phase)
    assert drawn(20, traffic, load, repeat, phase) == first
    assert drawn(5, traffic, load, repeat, phase) == first[:5]


@given(seed=seeds, value=st.integers(1, 500), repeat=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_every_part_of_a_sweep_has_prompts_of_its_own(seed: int, value: int, repeat: int) -> None:
    """Another seed, load, mode, repeat or phase shares no prompt."""
    traffic = replace(TRAFFIC, seed=seed, input_spread=0)
    load = Load(mode=Mode.CONCURRENCY, value=value)
    variants = [
        drawn(20, traffic, load, repeat),
        drawn(20, replace(traffic, seed=seed + 1), load, repeat),
        drawn(20, traffic, replace(load, value=value + 1), repeat),
        drawn(20, traffic, replace(load, mode=Mode.RATE), repeat),
        drawn(20, traffic, load, repeat + 1),
        drawn(20, traffic, load, repeat, "warmup"),
        drawn(20, traffic, load, repeat, "fill"),
    ]
    assert len({plan.prompt for variant in variants for plan in variant}) == 20 * len(variants)


@given(seed=seeds, tokens=st.integers(16, 300), spread=st.sampled_from([0.0, 0.5]))
@settings(max_examples=30, deadline=None)
def test_no_two_prompts_share_a_block(seed: int, tokens: int, spread: float) -> None:
    """Of those with 16 words and more the first 16 differ, over 200 requests of all phases."""
    traffic = replace(TRAFFIC, seed=seed, input_tokens=tokens, input_spread=spread)
    prompts = [plan.prompt.split() for phase in PHASES for plan in drawn(67, traffic, phase=phase)]
    blocks = [tuple(words[:16]) for words in prompts if len(words) >= 16]
    assert len(set(blocks)) == len(blocks)


@given(seed=seeds, input_tokens=st.integers(1, 500), output_tokens=st.integers(1, 500))
@settings(max_examples=30, deadline=None)
def test_without_spread_every_length_is_the_mean(seed: int, input_tokens: int, output_tokens: int) -> None:
    """Exactly."""
    traffic = replace(
        TRAFFIC,
        seed=seed,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        input_spread=0,
        output_spread=0,
    )
    lengths = {(len(plan.prompt.split()), plan.output_tokens) for plan in drawn(30, traffic)}
    assert lengths == {(input_tokens, output_tokens)}


@pytest.mark.parametrize("spread", [0.2, 0.5, 1.0])
def test_spread_lengths_have_the_mean_and_spread_asked_for(spread: float) -> None:
    """Over 10,000 requests: the mean within 5 %, the spread within a tenth, none below 1."""
    outputs = [
        plan.output_tokens for plan in drawn(10_000, replace(TRAFFIC, input_tokens=1, output_spread=spread))
    ]
    assert statistics.fmean(outputs) == pytest.approx(64, rel=0.05)
    assert statistics.pstdev(outputs) / statistics.fmean(outputs) == pytest.approx(spread, rel=0.1)
    assert min(outputs) >= 1


def test_short_and_spread_lengths_are_at_least_one() -> None:
    """No request asks for nothing."""
    plans = drawn(2_000, replace(TRAFFIC, input_tokens=1, output_tokens=1, input_spread=2, output_spread=2))
    assert min(plan.output_tokens for plan in plans) == 1
    assert min(len(plan.prompt.split()) for plan in plans) == 1


@pytest.mark.parametrize(
    ("mode", "value", "warmup", "measured"),
    [
        pytest.param(Mode.CONCURRENCY, 1, 2, 16, id="the least holds"),
        pytest.param(Mode.CONCURRENCY, 8, 16, 64, id="by the load"),
        pytest.param(Mode.RATE, 2.6, 6, 21, id="rounded up"),
        pytest.param(Mode.RATE, 0.1, 1, 16, id="one warm-up at least"),
    ],
)
def test_counts_follow_the_load(mode: Mode, value: float, warmup: int, measured: int) -> None:
    """Warm-up 2 × load, measured 8 × load, but at least 16."""
    load = Load(mode=mode, value=value)
    assert (warmup_count(TRAFFIC, load, repeat=0), measured_count(TRAFFIC, load)) == (warmup, measured)


@pytest.mark.parametrize("rate", [0.5, 20.0])
def test_arrivals_are_poisson(rate: float) -> None:
    """Over 10,000: the first at 0, the mean gap 1 / rate within 5 %, its deviation equal to its mean."""
    at_s = list(
        islice(arrivals(TRAFFIC, Load(mode=Mode.RATE, value=rate), repeat=1, phase="measure"), 10_000)
    )
    gaps = [after - before for before, after in pairwise(at_s)]
    assert at_s[0] == 0
    assert statistics.fmean(gaps) == pytest.approx(1 / rate, rel=0.05)
    assert statistics.pstdev(gaps) == pytest.approx(1 / rate, rel=0.05)
    assert min(gaps) >= 0
