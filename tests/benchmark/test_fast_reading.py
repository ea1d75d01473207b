"""Chunks that are not parsed one by one are read as if they were."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.benchmark.client.connection import Exchange
from autotune.benchmark.client.frames import Frames
from autotune.benchmark.client.stream import TRIES, Answer, read_answer, unlike

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def events(raw: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """The data of each event, with the stamp of the read that completed it; every read goes to the parser."""
    frames, body = Frames(), b""
    for stamp, data in raw:
        *whole, body = (body + frames.feed(data)).split(b"\n\n")
        yield from ((stamp, event.removeprefix(b"data: ")) for event in whole)


def plainly(raw: Sequence[tuple[float, bytes]]) -> Answer:
    """The same answer by JSON alone, every event parsed."""
    stamps, usage, done = [], None, False
    for stamp, data in events(raw):
        if data == b"[DONE]":
            done = True
            continue
        try:
            content = json.loads(data)
        except ValueError:
            return Answer(error="bad_response")
        if "error" in content:
            return Answer(error="bad_response")
        usage = content.get("usage") or usage
        choices = content.get("choices") or []
        if choices:
            delta = choices[0].get("delta") or {}
            keys = ("content", "reasoning_content", "reasoning")
            text = choices[0].get("text") or next((delta[key] for key in keys if delta.get(key)), None)
            if text or (not delta.get("role") and choices[0].get("finish_reason") is None):
                stamps.append(stamp)
    if not done:
        return Answer(error="truncated")
    if not stamps:
        return Answer(error="no_content")
    if not usage or not usage.get("completion_tokens"):
        return Answer(error="no_usage")
    return Answer(
        stamps=tuple(stamps), prompt_tokens=usage["prompt_tokens"], output_tokens=usage["completion_tokens"]
    )


texts = st.one_of(
    st.sampled_from([" the", "", '"', "\\", "{", "}}", '","text":"', "\n\n", "data: [DONE]", "é", "\x7f", "\ud83d\ude00"]),
    st.text(max_size=6),
)  # fmt: skip


@st.composite
def chunks(draw: Any) -> dict[str, Any]:
    """A chunk as some engine sends it; the fields around the text seldom change."""
    text = draw(texts)
    kind = draw(
        st.sampled_from(["text"] * 6 + ["content"] * 6 + ["reasoning", "role", "usage", "error", "end"])
    )
    around: dict[str, Any] = {"id": draw(st.sampled_from(["a"] * 5 + ["b"])), "created": 7}
    if kind == "usage":
        return {
            **around,
            "choices": [],
            "usage": {"prompt_tokens": 3, "completion_tokens": draw(st.integers(0, 9))},
        }
    if kind == "error" and draw(st.booleans()):
        return {"error": {"message": text}}
    if kind == "end":
        return {**around, "choices": [{"text": text, "finish_reason": "length"}]}
    if kind == "text":
        return {**around, "choices": [{"index": 0, "text": text, "finish_reason": None}], "usage": None}
    delta: dict[str, Any] = {kind if kind == "reasoning" else "content": text}
    if kind == "role":
        delta["role"] = "assistant"
    return {**around, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def sent(contents: Sequence[dict[str, Any]], *, spaced: bool, ascii_only: bool, done: bool) -> bytes:
    """The events of a stream, as an engine writes them."""
    separators = (", ", ": ") if spaced else (",", ":")
    lines = [json.dumps(c, separators=separators, ensure_ascii=ascii_only) for c in contents]
    return b"".join(
        b"data: " + line.encode(errors="replace") + b"\n\n"
        for line in [*lines, *(["[DONE]"] if done else [])]
    )


def whole_chunks(data: bytes) -> list[tuple[float, bytes]]:
    """The head, each event in an HTTP chunk and a read of its own, as most come, and the last chunk."""
    chunks = [event + b"\n\n" for event in data.split(b"\n\n")[:-1]]
    parts = [HEAD, *(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks), LAST]
    return [(float(n), part) for n, part in enumerate(parts)]


def cut(data: bytes, places: Sequence[int]) -> list[tuple[float, bytes]]:
    """The data in reads that end at these places."""
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    begins = [0, *ends[:-1]]
    return [(float(n), data[a:b]) for n, (a, b) in enumerate(zip(begins, ends, strict=True)) if b > a]


@given(
    contents=st.lists(chunks(), max_size=14),
    places=st.lists(st.integers(0, 5000), max_size=12),
    whole=st.booleans(),
    spaced=st.booleans(),
    ascii_only=st.booleans(),
    done=st.booleans(),
)
@settings(max_examples=400, deadline=None)
def test_an_answer_is_read_as_by_json_alone(
    contents: list[dict[str, Any]],
    places: list[int],
    whole: bool,  # noqa: FBT001
    spaced: bool,  # noqa: FBT001
    ascii_only: bool,  # noqa: FBT001
    done: bool,  # noqa: FBT001
) -> None:
    """Whatever the texts, whatever stands between them, and wherever the reads end."""
    raw = whole_chunks(sent(contents, spaced=spaced, ascii_only=ascii_only, done=done))
    if not whole:
        raw = cut(b"".join(data for _, data in raw), places)
    answer, expected = read_answer(Exchange(status=200, raw=raw)), plainly(raw)
    assert (answer.error, answer.stamps) == (expected.error, expected.stamps)
    assert (answer.prompt_tokens, answer.output_tokens) == (expected.prompt_tokens, expected.output_tokens)


@given(places=st.lists(st.integers(0, 5000), max_size=30), size=st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_an_answer_is_taken_out_of_its_frames(places: list[int], size: int) -> None:
    """HTTP chunks of any size, in reads of any size: only the stamps depend on where they end."""
    contents = [{"choices": [{"text": " a" * n, "finish_reason": None}]} for n in range(1, 9)]
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 36}}
    body = sent([*contents, usage], spaced=False, ascii_only=True, done=True)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    raw = HEAD + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + LAST
    exchange = Exchange(status=200, raw=cut(raw, places))
    answer = read_answer(exchange)
    assert (answer.error, len(answer.stamps), answer.output_tokens) == (None, 8, 36)
    assert list(answer.stamps) == sorted(answer.stamps)


def test_most_chunks_are_not_parsed() -> None:
    """Of 200 that differ in their text only, one; else the test above would compare one way with itself."""
    contents = [{"id": "x", "choices": [{"text": f" w{n}", "finish_reason": None}]} for n in range(200)]
    raw = whole_chunks(sent(contents, spaced=True, ascii_only=True, done=False))
    stamps: list[float] = []
    assert len(list(unlike(raw, Frames(), stamps))) == 1
    assert stamps == [float(n) for n in range(2, 201)]


def test_a_stream_that_always_changes_is_read_all_the_same() -> None:
    """No pattern is looked for without end."""
    contents = [{"id": n, "choices": [{"text": " w", "finish_reason": None}]} for n in range(5 * TRIES)]
    raw = whole_chunks(sent(contents, spaced=True, ascii_only=True, done=False))
    stamps: list[float] = []
    assert len(list(unlike(raw, Frames(), stamps))) + len(stamps) == 5 * TRIES


@pytest.mark.parametrize("raw", [HEAD + b"5\r\nhello\r\n", HEAD + b"zz\r\n"], ids=["cut", "no chunk"])
def test_an_answer_that_was_taken_for_complete_is_a_bad_one(raw: bytes) -> None:
    """By its last bytes it had an end, by the grammar it has none."""
    exchange = Exchange(status=200, raw=[(0.0, raw)])
    assert read_answer(exchange).error == "bad_response"
