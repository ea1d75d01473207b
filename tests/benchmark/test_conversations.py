"""Conversations: what they share, how they grow, how long they are; and the bodies they become."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.benchmark.body import body_of
from autotune.benchmark.traffic import Conversation, conversations, first, warmup_count
from autotune.records import Load, Mode, Traffic

TRAFFIC = Traffic(
    endpoint="chat",
    input_tokens=200,
    output_tokens=30,
    input_spread=0.4,
    output_spread=0.4,
    requests_per_load=8,
    min_requests=16,
    warmup_requests=1,
    ignore_eos=True,
    seed=3,
    prefix_tokens=120,
    prefixes=5,
    turns=3,
    turns_spread=0.5,
)
FOUR = Load(mode=Mode.CONCURRENCY, value=4)


def drawn(
    traffic: Traffic = TRAFFIC, *, count: int = 40, repeat: int = 0, phase: str = "measure"
) -> list[Conversation]:
    """The first conversations of a phase."""
    return list(islice(conversations(traffic, FOUR, repeat=repeat, phase=phase), count))


def prefix(conversation: Conversation) -> str:
    """The shared words of a conversation."""
    return " ".join(conversation[0].prompt.split()[: TRAFFIC.prefix_tokens])


@given(
    seed=st.integers(0, 2**31), turns=st.integers(1, 4), prefix=st.integers(0, 100), around=st.integers(0, 12)
)
@settings(max_examples=40, deadline=None)
def test_lengths_are_those_asked_for(seed: int, turns: int, prefix: int, around: int) -> None:
    """Words and what the engine puts around them, of everything that is sent in one request."""
    traffic = replace(
        TRAFFIC,
        seed=seed,
        turns=turns,
        prefix_tokens=prefix,
        overhead_tokens=around,
        turn_overhead_tokens=around + 1,
    )
    for conversation in drawn(traffic, count=10):
        for turn, plan in enumerate(conversation):
            words = len(plan.text.split())
            assert plan.input_tokens == words + around + turn * (around + 1)
    flat = replace(traffic, input_spread=0, output_spread=0, turns_spread=0)
    (first, *_), *_ = drawn(flat, count=1)
    assert first.input_tokens == flat.input_tokens


def test_each_turn_has_what_was_said_before() -> None:
    """The history grows by the prompt before and an answer of the length that was asked for."""
    long = [conversation for conversation in drawn() if len(conversation) > 1]
    assert len(long) > 10
    for before, after in (pair for conversation in long for pair in pairwise(conversation)):
        *earlier, asked, (role, answer) = after.history
        assert tuple(earlier) == before.history
        assert asked == ("user", before.prompt)
        assert (role, len(answer.split())) == ("assistant", before.output_tokens)
        assert after.index == before.index + 1


def test_indices_count_the_requests_of_a_phase() -> None:
    """Over all conversations, in the order in which they are drawn."""
    plans = [plan for conversation in drawn() for plan in conversation]
    assert [plan.index for plan in plans] == list(range(len(plans)))


@pytest.mark.parametrize("repeat", [0, 1, 2])
@pytest.mark.parametrize("turns", [1, 3, 5])
def test_so_many_prefixes_are_shared_by_all_phases(turns: int, repeat: int) -> None:
    """The least warm-up, cut as it is sent, has gone through all of them when the measurement begins."""
    traffic = replace(TRAFFIC, turns=turns)
    count = warmup_count(traffic, FOUR, repeat=repeat)
    begun = list(first(count, conversations(traffic, FOUR, repeat=repeat, phase="warmup")))
    assert sum(map(len, begun)) == count > TRAFFIC.warmup_requests * FOUR.value
    warm = {prefix(conversation) for conversation in begun}
    measured = [prefix(conversation) for conversation in drawn(traffic, repeat=repeat)]
    assert len(begun) == len(warm) == 5
    assert set(measured) == warm
    assert {prefix(conversation) for conversation in drawn(traffic, repeat=repeat, phase="fill")} <= warm
    assert max(map(measured.count, warm)) < 20


def test_no_repeat_profits_from_the_one_before_it() -> None:
    """Another repeat or load has other prefixes, and no two own parts begin alike."""
    other = Load(mode=Mode.CONCURRENCY, value=5)
    firsts = [prefix(conversation) for repeat in (0, 1) for conversation in drawn(repeat=repeat)]
    firsts += [prefix(each) for each in islice(conversations(TRAFFIC, other, repeat=0, phase="measure"), 40)]
    assert len(set(firsts)) == 15
    own = [tuple(each[0].prompt.split()[TRAFFIC.prefix_tokens :][:16]) for each in drawn()]
    assert len(set(own)) == len(own)


def test_the_words_of_a_tokenizer_are_the_only_ones() -> None:
    """Also as a list, as JSON gives them to the client's process."""
    words = tuple(f"w{n}" for n in range(40))
    traffic = replace(TRAFFIC, words=words)
    used = {word for conversation in drawn(traffic) for plan in conversation for word in plan.text.split()}
    assert used <= set(words)
    assert drawn(Traffic(**json.loads(json.dumps({**vars_of(traffic), "words": list(words)})))) == drawn(
        traffic
    )


def vars_of(traffic: Traffic) -> dict[str, Any]:
    """The fields of a record."""
    return {name: getattr(traffic, name) for name in Traffic.__dataclass_fields__}


def body(**fields: Any) -> dict[str, Any]:
    """The body of a conversation's second request."""
    traffic = replace(TRAFFIC, turns=2, turns_spread=0, **fields)
    content: dict[str, Any] = json.loads(body_of(drawn(traffic, count=1)[0][1], traffic, "m"))
    return content


def test_a_chat_has_messages_and_a_completion_one_text() -> None:
    """With all that was said before."""
    messages = body()["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "user"]
    assert body(endpoint="completions")["prompt"] == " ".join(message["content"] for message in messages)


@pytest.mark.parametrize("ignore", [True, False])
def test_sampling_and_more_fields_are_sent(*, ignore: bool) -> None:
    """What is measured cannot be changed by them."""
    content = body(
        sampling={"temperature": 0.7, "top_k": 5},
        extra_body={"a": {"b": 1}, "stream": False},
        ignore_eos=ignore,
    )
    assert (content["temperature"], content["top_k"], content["a"]) == (0.7, 5, {"b": 1})
    assert content["stream"] is True
    assert content.get("ignore_eos", False) is ignore
