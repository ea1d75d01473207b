"""Files of requests: what is taken, and every problem with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotune.workload.files import Ask, Recorded, read_lines, read_sharegpt


def sharegpt(*conversations: list[tuple[str, str]]) -> bytes:
    """A ShareGPT file."""
    entries = [{"conversations": [{"from": who, "value": text} for who, text in c]} for c in conversations]
    return json.dumps(entries).encode()


def lines(*objects: Any) -> bytes:
    """A file with these on its lines."""
    return "\n".join(json.dumps(each) for each in objects).encode()


def test_sharegpt_keeps_answered_questions() -> None:
    """From the first human on, up to the turns asked for, as long as the two take turns."""
    content = sharegpt(
        [("system", "s"), ("gpt", "before"), ("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")],
        [("user", "e"), ("assistant", "f"), ("user", "no answer")],
        [("human", "g"), ("human", "twice")],
        [],
    )
    found = read_sharegpt(content, turns=2)
    texts = [[text for _, text in each.texts] for each in found.conversations]
    assert texts == [["a", "b", "c", "d"], ["e", "f"]]
    assert [len(each.asks) for each in found.conversations] == [2, 1]
    assert (found.unusable, found.problems) == (2, ())
    assert [len(each.asks) for each in read_sharegpt(content, turns=1).conversations] == [1, 1]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is no JSON"),
        (b'[{"conversations": [', "is no JSON"),
        (b"{}", "holds a JSON object, must hold a list of conversations"),
        (b"[]", "holds no conversation with an answered question"),
        (b"[1]", 'entry 1: "conversations" must be a list'),
        (b'[{"conversations": []}, {"items": []}]', 'entry 2: "conversations" must be a list'),
        (b'[{"conversations": [{"from": "human"}]}]', 'entry 1: "conversations" must be a list'),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_wrong_sharegpt_file_is_told(content: bytes, problem: str) -> None:
    """With the entry that is wrong, and nothing is taken."""
    found = read_sharegpt(content, turns=1)
    assert found.problems[0].startswith(problem)
    assert found.conversations == ()


def test_lines_of_every_kind() -> None:
    """Prompts, messages, lengths and Mooncake's blocks."""
    content = lines(
        {"prompt": "p", "output_tokens": 3},
        {
            "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            "output_tokens": 4,
        },
        {"input_tokens": 5},
        {"input_length": 600, "output_length": 7, "hash_ids": [0, 9]},
    )
    found = read_lines(content + b"\n\n", output_tokens=6)
    assert found.problems == ()
    assert found.conversations == (
        Recorded(texts=(("user", "p"),), asks=(Ask(position=0, output_tokens=3),)),
        Recorded(texts=(("system", "s"), ("user", "u")), asks=(Ask(position=1, output_tokens=4),)),
        Recorded(asks=(Ask(position=0, input_tokens=5, output_tokens=6),)),
        Recorded(asks=(Ask(position=0, input_tokens=600, output_tokens=7),), blocks=(0, 9)),
    )


def test_times_begin_at_zero_and_are_in_order() -> None:
    """Seconds, or Mooncake's milliseconds."""
    one = {"input_tokens": 1, "output_tokens": 1}
    seconds = read_lines(lines({**one, "time": 12.5}, {**one, "time": 10}), output_tokens=None)
    assert [each.at_s for each in seconds.conversations] == [0.0, 2.5]
    mooncake = read_lines(lines({**one, "timestamp": 0}, {**one, "timestamp": 3052}), output_tokens=None)
    assert [each.at_s for each in mooncake.conversations] == [0.0, 3.052]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"prompt": "p"}, 'has no "output_tokens"'),
        ({"prompt": "", "output_tokens": 1}, '"prompt" must be a text'),
        ({"prompt": "p", "output_tokens": 0}, '"output_tokens" is 0, must be a whole number from 1'),
        ({"prompt": "p", "output_tokens": True}, '"output_tokens" is true'),
        ({"input_tokens": 1.5, "output_tokens": 1}, '"input_tokens" is 1.5'),
        ({"text": "p", "output_tokens": 1}, 'must have one of "prompt", "messages"'),
        ({"messages": [], "output_tokens": 1}, '"messages" must be a list'),
        (
            {"messages": [{"role": "assistant", "content": "a"}], "output_tokens": 1},
            '"messages" must be a list',
        ),
        ({"input_tokens": 1, "output_tokens": 1, "time": -1}, '"time" is -1, must be a number from 0'),
        ({"input_tokens": 1, "output_tokens": 1, "hash_ids": ["a"]}, '"hash_ids" must be a list'),
        ([1], "is a JSON list, must be an object"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(line: Any, problem: str) -> None:
    """Beside good ones."""
    good = {"prompt": "p", "output_tokens": 1}
    found = read_lines(lines(good, line, good), output_tokens=None)
    assert len(found.problems) == 1
    assert found.problems[0].startswith("line 2: ")
    assert problem in found.problems[0]
    assert found.conversations == ()


def test_many_wrong_lines_are_counted() -> None:
    """The first five are shown; times on some lines only are one more problem."""
    bad = read_lines(b"{\n" * 9, output_tokens=None)
    assert [problem.partition(":")[0] for problem in bad.problems] == [
        *(f"line {n}" for n in range(1, 6)),
        "and 4 more",
    ]
    one = {"input_tokens": 1, "output_tokens": 1}
    mixed = read_lines(lines(one, {**one, "time": 1}), output_tokens=None)
    assert mixed.problems == ("1 of 2 lines have a time: give it on each of them, or on none",)
    assert read_lines(b"\n \n", output_tokens=1).problems == ("holds no request",)
