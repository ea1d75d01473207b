"""Continuous batching: limits hold, everything finishes, order is kept; over generated requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.deploy.simulated.batching import Limits, Replica, Sequence
from autotune.deploy.simulated.cost_model import Deployment, ModelFacts
from autotune.records import GpuSpec
from tests.deploy.simulated.facts import GPU, MODEL

DEPLOYMENT = Deployment(engine="vllm", model=ModelFacts(**MODEL), gpu=GpuSpec(**GPU))


def replica(**limits: int | bool) -> Replica:
    """A replica with generous limits but those given."""
    base: dict[str, int | bool] = {"max_sequences": 64, "max_step_tokens": 512, "kv_tokens": 100_000}
    return Replica(DEPLOYMENT, Limits(**{**base, **limits}))  # type: ignore[arg-type]


def request(number: int, prompt: int, output: int) -> Sequence:
    """A request whose words are its own."""
    words = tuple(f"{number}-{i}" for i in range(prompt))
    return Sequence(number=number, prompt=words, output_tokens=output)


sizes = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 40)), min_size=1, max_size=20)


@given(
    sizes=sizes,
    sequences=st.integers(1, 8),
    step_tokens=st.integers(8, 400),
    kv_tokens=st.integers(341, 900),
    chunked=st.booleans(),
)
def test_limits_hold_and_everything_finishes(
    sizes: list[tuple[int, int]],
    sequences: int,
    step_tokens: int,
    kv_tokens: int,
    chunked: bool,  # noqa: FBT001
) -> None:
    """Sequences, step tokens and KV cache stay within their bounds, first come is first served.

    Every token is made once. Only without chunks may a step be longer, with one prompt that fits no step.
    """
    engine = replica(
        max_sequences=sequences, max_step_tokens=step_tokens, kv_tokens=kv_tokens, chunked_prefill=chunked
    )
    first: list[int] = []
    made: dict[int, int] = dict.fromkeys(range(len(sizes)), 0)
    for number, (prompt, output) in enumerate(sizes):
        engine.add(request(number, prompt, output))
    while (step := engine.step()) is not None:
        assert step.sequences <= sequences
        assert step.new_tokens <= step_tokens or (step.sequences == 1 and not chunked)
        assert step.duration_s > 0
        assert engine.used_tokens <= kv_tokens
        first += [sequence.number for sequence in step.tokens if not made[sequence.number]]
        for sequence in step.tokens:
            made[sequence.number] += 1
    assert first == sorted(first)
    assert made == {number: output for number, (_, output) in enumerate(sizes)}
    assert (engine.load, engine.used_tokens) == (0, 0)


def test_one_sequence_at_a_time() -> None:
    """With one sequence the second waits for the first to end."""
    engine = replica(max_sequences=1)
    engine.add(request(0, 10, 3))
    engine.add(request(1, 10, 3))
    numbers = []
    while (step := engine.step()) is not None:
        numbers += [s.number for s in step.tokens]
    assert numbers == [0, 0, 0, 1, 1, 1]


def test_a_prompt_is_cut_into_chunks() -> None:
    """100 tokens at 40 a step: three steps until the first token."""
    engine = replica(max_step_tokens=40)
    engine.add(request(0, 100, 1))
    steps = []
    while (step := engine.step()) is not None:
        steps.append((step.new_tokens, len(step.tokens)))
    assert steps == [(40, 0), (40, 0), (20, 1)]


@pytest.mark.parametrize(("caching", "expected"), [(True, 4), (False, 100)], ids=["on", "off"])
def test_prefix_caching_skips_whole_blocks(caching: bool, expected: int) -> None:  # noqa: FBT001
    """Of 100 equal tokens 96 are in 6 blocks of 16; 4 are computed the second time."""
    engine = replica(prefix_caching=caching)
    new = []
    for number in (0, 1):
        engine.add(Sequence(number=number, prompt=tuple(map(str, range(100))), output_tokens=1))
        step = engine.step()
        assert step is not None
        new.append(step.new_tokens)
    assert new == [100, expected]


def test_a_prompt_is_remembered_when_it_is_computed() -> None:
    """Twins that arrive together are both computed: nothing is cached before it exists."""
    engine = replica(max_step_tokens=60)
    for number in (0, 1):
        engine.add(Sequence(number=number, prompt=tuple(map(str, range(100))), output_tokens=1))
    steps = []
    while (step := engine.step()) is not None:
        steps.append((step.new_tokens, [s.number for s in step.tokens]))
    assert steps == [(60, []), (60, [0]), (60, []), (20, [1])]


def test_an_overlong_prompt_has_a_step_for_itself_without_chunks() -> None:
    """SGLang without chunks: 100 tokens where a step has 40; who runs finishes first, nobody waits for ever."""
    engine = replica(max_step_tokens=40, chunked_prefill=False)
    engine.add(request(0, 30, 2))
    engine.add(request(1, 100, 1))
    engine.add(request(2, 10, 1))
    steps = []
    while (step := engine.step()) is not None:
        steps.append((step.new_tokens, [s.number for s in step.tokens]))
    assert steps == [(30, [0]), (1, [0]), (100, [1]), (10, [2])]


def test_the_newest_is_preempted_and_computed_again() -> None:
    """Two of 10 tokens and 5 to make in a cache of 26: both fill it with 13 each after 4 tokens.

    The newest gives way, the oldest makes its fifth token, and the newest comes back with 10 + 4 to compute.
    """
    engine = replica(kv_tokens=26)
    engine.add(request(0, 10, 5))
    engine.add(request(1, 10, 5))
    steps = []
    while (step := engine.step()) is not None:
        steps.append((step.new_tokens, [s.number for s in step.tokens], engine.preemptions))
    assert steps[:4] == [(20, [0, 1], 0), (2, [0, 1], 0), (2, [0, 1], 0), (2, [0, 1], 0)]
    assert steps[4:] == [(1, [0], 1), (14, [1], 1)]


def test_a_request_waits_for_room_in_the_cache() -> None:
    """The second prompt does not fit beside the first; it starts when that has ended."""
    engine = replica(kv_tokens=150)
    engine.add(request(0, 100, 2))
    engine.add(request(1, 100, 2))
    numbers = []
    while (step := engine.step()) is not None:
        numbers += [s.number for s in step.tokens]
    assert (numbers, engine.preemptions) == ([0, 0, 1, 1], 0)


def test_a_dropped_request_frees_its_place() -> None:
    """Nothing is made for a client that has gone."""
    engine = replica(max_sequences=1)
    gone, waits = request(0, 10, 100), request(1, 10, 1)
    engine.add(gone)
    engine.add(waits)
    assert engine.step() is not None
    engine.drop(gone)
    step = engine.step()
    assert step is not None
    assert [s.number for s in step.tokens] == [1]
    assert engine.step() is None
