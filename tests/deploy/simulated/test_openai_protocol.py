"""What the simulated engine understands of the OpenAI protocol, and how it refuses the rest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autotune.deploy.simulated.openai_protocol import (
    CHAT,
    Answer,
    Asked,
    BadRequest,
    check_fits,
    read_request,
)

PATH = "/v1/completions"
GOOD = {"model": "m", "prompt": "a", "max_tokens": 2}


def read(asked: Any, path: str = PATH) -> Asked:
    """What is understood of this body."""
    return read_request(path, json.dumps(asked).encode())


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("a b", 2), ([7, 8, 9], 3), (["a b"], 2), ([[7, 8, 9]], 3)],
    ids=["text", "token ids", "one text", "one list of token ids"],
)
def test_forms_of_a_prompt(prompt: object, tokens: int) -> None:
    """A word or a token id is a token."""
    assert len(read({**GOOD, "prompt": prompt}).words) == tokens


@pytest.mark.parametrize(
    "content",
    ["a b c", [{"type": "text", "text": "a b"}, {"type": "text", "text": "c"}]],
    ids=["text", "parts"],
)
def test_forms_of_a_message(content: object) -> None:
    """A text, or the parts that some clients send."""
    asked = read({"model": "m", "messages": [{"role": "user", "content": content}]}, CHAT)
    assert asked.words == ("a", "b", "c")


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, 16),
        ({"max_tokens": 3}, 3),
        ({"max_completion_tokens": 4, "max_tokens": 3}, 4),
        ({"max_tokens": None}, 16),
    ],
    ids=str,
)
def test_how_many_tokens(limits: dict[str, object], expected: int) -> None:
    """The newer name wins; 16 unasked."""
    assert read({"model": "m", "prompt": "a", **limits}).max_tokens == expected


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({**GOOD, "max_tokens": 0}, "max_tokens must be at least 1, got 0."),
        ({**GOOD, "max_tokens": -5}, "max_tokens must be at least 1, got -5."),
        ({**GOOD, "max_tokens": "x"}, "max_tokens must be an integer"),
        ({**GOOD, "max_tokens": {}}, "max_tokens must be an integer"),
        ({**GOOD, "max_tokens": True}, "max_tokens must be an integer"),
        ({**GOOD, "prompt": None}, "prompt must be"),
        ({**GOOD, "prompt": " "}, "prompt must be"),
        ({**GOOD, "prompt": ["a", "b"]}, "prompt must be"),
        ({**GOOD, "prompt": []}, "prompt must be"),
        ({**GOOD, "prompt": {"a": 1}}, "prompt must be"),
        ({**GOOD, "n": 2}, "n must be 1"),
        ({**GOOD, "stream_options": "x"}, "stream_options must be an object"),
        (["a"], "the body must be a JSON object"),
        (5, "the body must be a JSON object"),
    ],
    ids=str,
)
def test_wrong_completions(asked: Any, words: str) -> None:
    """Each is a bad request."""
    with pytest.raises(BadRequest, match=words) as caught:
        read(asked)
    assert caught.value.status == 400


@pytest.mark.parametrize("body", [b"", b"nonsense", b"\xff"])
def test_a_body_that_is_no_json(body: bytes) -> None:
    """Likewise."""
    with pytest.raises(BadRequest, match="no JSON"):
        read_request(PATH, body)


@pytest.mark.parametrize(
    "messages",
    [
        None,
        [],
        "a",
        ["a"],
        [{"role": "user"}],
        [{"role": "user", "content": [1]}],
        [{"role": "user", "content": ""}],
    ],
    ids=str,
)
def test_wrong_chats(messages: object) -> None:
    """Likewise."""
    with pytest.raises(BadRequest, match="message"):
        read({"model": "m", "messages": messages}, CHAT)


def test_what_does_not_fit() -> None:
    """1 and 10 tokens fit into 11, and not into 10; another model is not found."""
    asked = read({**GOOD, "max_tokens": 10})
    check_fits(asked, model="m", max_model_len=11)
    with pytest.raises(BadRequest, match="maximum context length is 10 tokens"):
        check_fits(asked, model="m", max_model_len=10)
    with pytest.raises(BadRequest, match="The model `m` does not exist") as caught:
        check_fits(asked, model="other", max_model_len=11)
    assert caught.value.status == 404


def test_a_closing_without_usage() -> None:
    """Only the end; a chat opens with its role, a completion with nothing."""
    answer = Answer(read(GOOD), 0)
    assert (answer.opening, answer.closing) == (b"", b"data: [DONE]\n\n")
    assert b'"usage"' in Answer(read({**GOOD, "stream_options": {"include_usage": True}}), 0).closing
