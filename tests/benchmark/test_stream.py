"""Server-sent events as they really arrive."""

from __future__ import annotations

import json

import pytest

from autotune.benchmark.client.connection import Exchange
from autotune.benchmark.client.frames import Frames
from autotune.benchmark.client.stream import read_answer, unlike

TOKEN = b'data: {"choices":[{"text":" a","finish_reason":null}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2}}\n\n'
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        pytest.param([b"data: a\n\n"], [(0, b"a")], id="one"),
        pytest.param([b"data: a\n\ndata: b\n\n", b"data: c\n\n"], [(0, b"a"), (0, b"b"), (1, b"c")], id="several in one read"),
        pytest.param([b"da", b"ta: a", b"b\n", b"\n"], [(3, b"ab")], id="split over reads, stamped by the last"),
        pytest.param([b"data: a\n\ndata: b", b"\n\n"], [(0, b"a"), (1, b"b")], id="one and a half"),
        pytest.param([b"data: a\r\n\r\ndata: b\r\n\r\n"], [(0, b"a"), (0, b"b")], id="CRLF"),
        pytest.param([b"data: a\r\n\r", b"\ndata: b\r", b"\n\r\n"], [(1, b"a"), (2, b"b")], id="CRLF split in its middle"),
        pytest.param([b": ping\n\ndata: a\n\n"], [(0, b"a")], id="comments are no events"),
        pytest.param([b"event: x\nid: 7\ndata: a\n\n"], [(0, b"a")], id="other fields"),
        pytest.param([b"data: a\ndata: b\n\n"], [(0, b"a\nb")], id="data over two lines"),
        pytest.param([b"data:a\n\n"], [(0, b"a")], id="no space"),
        pytest.param([b"data: a\n\ndata: b\n"], [(0, b"a")], id="an event without its end is none"),
    ],
)  # fmt: skip
def test_events_are_found_in_any_reads(reads: list[bytes], expected: list[tuple[float, bytes]]) -> None:
    """Each with the stamp of the read that completed it."""
    raw = [(-1.0, HEAD), *framed(list(enumerate(reads)))]
    assert list(unlike(raw, Frames(), [])) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_an_answer_is_the_same_in_pieces_of_any_size(size: int) -> None:
    """Only the stamps move: the first token's CRLF, two bytes longer, ends in the read of its last byte."""
    whole = (TOKEN + TOKEN + USAGE + DONE).replace(b"\n", b"\r\n")
    answer = read_answer(_exchange(*(whole[at : at + size] for at in range(0, len(whole), size))))
    assert (answer.error, answer.prompt_tokens, answer.output_tokens) == (None, 4, 2)
    assert len(answer.stamps) == 2
    assert answer.stamps[0] == (len(TOKEN) + 2 - 1) // size


@pytest.mark.parametrize(
    ("choice", "counts"),
    [
        pytest.param({"text": " a", "finish_reason": None}, True, id="completion"),
        pytest.param({"delta": {"content": " a"}, "finish_reason": None}, True, id="chat"),
        pytest.param({"delta": {"role": "assistant", "content": ""}, "finish_reason": None}, False, id="role chunk"),
        pytest.param({"delta": {"role": "assistant", "content": "a"}, "finish_reason": None}, True, id="role with text"),
        pytest.param({"delta": {"role": None, "content": ""}, "finish_reason": None}, True, id="no role, half a character"),
        pytest.param({"text": "", "finish_reason": None}, True, id="half a character"),
        pytest.param({"delta": {"content": ""}, "finish_reason": None}, True, id="half a character in a chat"),
        pytest.param({"text": "", "finish_reason": "length"}, False, id="closing chunk"),
        pytest.param({"delta": {}, "finish_reason": "stop"}, False, id="closing chunk of a chat"),
        pytest.param({"text": " a", "finish_reason": "length"}, True, id="the last text closes"),
        pytest.param({"delta": {"reasoning_content": "a"}, "finish_reason": None}, True, id="reasoning"),
        pytest.param({"delta": {"reasoning": "a"}, "finish_reason": None}, True, id="reasoning by its newer name"),
    ],
)  # fmt: skip
def test_chunks_that_bring_tokens(choice: dict[str, object], counts: bool) -> None:  # noqa: FBT001
    """Only they are stamped."""
    chunk = b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"
    answer = read_answer(_exchange(TOKEN, chunk, USAGE + DONE))
    assert answer.stamps == ((0.0, 1.0) if counts else (0.0,))


@pytest.mark.parametrize(
    ("reads", "error", "detail"),
    [
        pytest.param([TOKEN, USAGE], "truncated", "DONE", id="no DONE"),
        pytest.param([TOKEN, b'data: {"error": {"message": "CUDA"}}\n\n', DONE], "bad_response", "CUDA", id="error event"),
        pytest.param([TOKEN, DONE], "no_usage", "", id="no usage"),
        pytest.param([TOKEN, b'data: {"choices":[],"usage":{}}\n\n', DONE], "no_usage", "", id="empty usage"),
        pytest.param([USAGE, DONE], "no_content", "", id="no token"),
        pytest.param([b"data: {half\n\n", DONE], "bad_response", "JSONDecodeError", id="no JSON"),
        pytest.param([b"data: 7\n\n", DONE], "bad_response", "TypeError", id="no object"),
        pytest.param([b"data: []\n\n", DONE], "bad_response", "AttributeError", id="a list"),
    ],
)  # fmt: skip
def test_answers_that_are_none(reads: list[bytes], error: str, detail: str) -> None:
    """Each has its kind, and what shows it."""
    answer = read_answer(_exchange(*reads))
    assert (answer.error, answer.stamps) == (error, ())
    assert detail in answer.detail


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_status_is_its_own_kind(status: int) -> None:
    """The body says why, over all its reads, up to 300 bytes."""
    answer = read_answer(_exchange(b"no such ", b"model" + b"!" * 500, status=status))
    assert answer.error == f"http_{status}"
    assert answer.detail.startswith("no such model!")
    assert len(answer.detail) == 300


@pytest.mark.parametrize("error", ["connect", "timeout", "truncated", "bad_response"])
def test_a_broken_exchange_keeps_its_kind(error: str) -> None:
    """Whatever it had brought."""
    exchange = _exchange(TOKEN, USAGE, DONE)
    exchange.error = error
    assert read_answer(exchange).error == error


@pytest.mark.parametrize("status", [200, 0])
def test_an_unfinished_answer_keeps_its_stamps(status: int) -> None:
    """What it brought until the client stopped, also if that was nothing."""
    exchange = _exchange(*([TOKEN, TOKEN, TOKEN[:20]] if status else []), status=status)
    exchange.error = "unfinished"
    answer = read_answer(exchange)
    assert (answer.error, answer.stamps) == ("unfinished", (0.0, 1.0) if status else ())


def test_usage_in_every_chunk_counts_once() -> None:
    """The last one holds: engines that send it all along count up."""
    first = TOKEN.replace(b"}]}", b'}],"usage":{"prompt_tokens":4,"completion_tokens":1}}')
    answer = read_answer(_exchange(first, TOKEN, USAGE, DONE))
    assert (answer.prompt_tokens, answer.output_tokens, answer.stamps) == (4, 2, (0.0, 1.0))


def _exchange(*reads: bytes, status: int = 200) -> Exchange:
    head = HEAD.replace(b"200", str(status or 200).encode())
    raw = [(-1.0, head), *framed(list(enumerate(reads))), (float(len(reads)), LAST)]
    return Exchange(status=status, raw=raw)


def framed(reads: list[tuple[int, bytes]]) -> list[tuple[float, bytes]]:
    """Each in an HTTP chunk of its own."""
    return [(float(stamp), b"%x\r\n%b\r\n" % (len(data), data)) for stamp, data in reads]
