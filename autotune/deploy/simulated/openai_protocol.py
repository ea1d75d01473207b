"""What a client asks in the OpenAI protocol and the bytes it gets: no sockets, no time.

One whitespace-separated word counts as one token, a token id of a prompt of numbers as well. Chats have no
template. Every answer has as many tokens as were asked for (there is no end of sequence): the token ` a`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHAT = "/v1/chat/completions"
PATHS = ("/v1/completions", CHAT)
DONE = b"data: [DONE]\n\n"

DEFAULT_TOKENS = 16
"""Source: the OpenAI protocol's default of completions; assumed for chats, which end by themselves."""


class BadRequest(Exception):
    """The engine refuses a request; `status` is 400 or 404."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request; `max_tokens` is how many tokens its answer has."""

    chat: bool
    model: str
    words: tuple[str, ...]
    max_tokens: int
    stream: bool
    include_usage: bool

    @property
    def usage(self) -> dict[str, int]:
        """Tokens as the answer counts them."""
        prompt = len(self.words)
        total = prompt + self.max_tokens
        return {"prompt_tokens": prompt, "completion_tokens": self.max_tokens, "total_tokens": total}


def read_request(path: str, body: bytes) -> Asked:
    """Return what is asked.

    Raises: BadRequest for whatever is not the protocol, or more than the stand-in can do.
    """
    try:
        content = json.loads(body)
    except ValueError as error:
        raise BadRequest(400, f"the body is no JSON: {error}") from error
    if not isinstance(content, Mapping):
        raise BadRequest(400, "the body must be a JSON object")
    options = content.get("stream_options") or {}
    if not isinstance(options, Mapping):
        raise BadRequest(400, "stream_options must be an object")
    if content.get("n") not in {None, 1}:
        raise BadRequest(400, "the simulated engine answers with one choice: n must be 1")
    words = _chat_words(content.get("messages")) if path == CHAT else _prompt_words(content.get("prompt"))
    return Asked(
        chat=path == CHAT,
        model=str(content.get("model")),
        words=words,
        max_tokens=_max_tokens(content),
        stream=bool(content.get("stream")),
        include_usage=bool(options.get("include_usage")),
    )


def check_fits(asked: Asked, *, model: str, max_model_len: int) -> None:
    """Ensure that the engine serves this model and length.

    Raises: BadRequest. Source of the words: vLLM's API server; used for both engines.
    """
    if asked.model != model:
        raise BadRequest(404, f"The model `{asked.model}` does not exist.")
    prompt, output = len(asked.words), asked.max_tokens
    if prompt + output > max_model_len:
        raise BadRequest(
            400,
            f"This model's maximum context length is {max_model_len} tokens. However, you requested {output} "
            f"output tokens and your prompt contains at least {prompt} input tokens, for a total of at least "
            f"{prompt + output} tokens.",
        )


class Answer:
    """The bytes of one answer, encoded before its first token is due."""

    def __init__(self, asked: Asked, number: int) -> None:
        kind = "chat.completion" if asked.chat else "text_completion"
        self._asked = asked
        self._head = {
            "id": f"{'chatcmpl' if asked.chat else 'cmpl'}-{number}",
            "object": kind + (".chunk" if asked.chat and asked.stream else ""),
            "created": int(time.time()),
            "model": asked.model,
        }
        token = {"delta": {"content": " a"}} if asked.chat else {"text": " a"}
        self.opening = self._chunk({"delta": {"role": "assistant", "content": ""}}) if asked.chat else b""
        self.token = self._chunk(token)
        self.last_token = self._chunk(token, finish_reason="length")

    @property
    def closing(self) -> bytes:
        """What follows the last token: usage if it was asked for, and the end."""
        if not self._asked.include_usage:
            return DONE
        return _event({**self._head, "choices": [], "usage": self._asked.usage}) + DONE

    def whole(self) -> dict[str, Any]:
        """The answer that is not streamed."""
        text = " a" * self._asked.max_tokens
        said = {"message": {"role": "assistant", "content": text}} if self._asked.chat else {"text": text}
        choice = {"index": 0, **said, "finish_reason": "length"}
        return {**self._head, "choices": [choice], "usage": self._asked.usage}

    def _chunk(self, said: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        return _event({**self._head, "choices": [{"index": 0, **said, "finish_reason": finish_reason}]})


def error_content(status: int, message: str) -> dict[str, Any]:
    """Return the body of a refusal. Source: vLLM's ErrorResponse."""
    kind = {400: "BadRequestError", 404: "NotFoundError"}.get(status, "ServiceUnavailableError")
    return {"error": {"message": message, "type": kind, "param": None, "code": status}}


def _event(content: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _max_tokens(content: Mapping[str, Any]) -> int:
    asked = content.get("max_completion_tokens")
    asked = content.get("max_tokens") if asked is None else asked
    if asked is None:
        return DEFAULT_TOKENS
    if isinstance(asked, bool) or not isinstance(asked, int):
        raise BadRequest(400, f"max_tokens must be an integer, got {asked!r}.")
    if asked < 1:
        raise BadRequest(400, f"max_tokens must be at least 1, got {asked}.")
    return asked


def _prompt_words(prompt: object) -> tuple[str, ...]:
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt.strip():
        return tuple(prompt.split())
    if isinstance(prompt, list) and prompt and all(type(token) is int for token in prompt):
        return tuple(map(str, prompt))
    raise BadRequest(400, "prompt must be one text, or one list of token ids, that is not empty")


def _chat_words(messages: object) -> tuple[str, ...]:
    if not isinstance(messages, list) or not messages:
        raise BadRequest(400, "messages must be a list that is not empty")
    words = tuple(word for message in messages for word in _message_text(message).split())
    if not words:
        raise BadRequest(400, "messages must have text")
    return words


def _message_text(message: object) -> str:
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        return " ".join(str(part.get("text", "")) for part in content)
    raise BadRequest(400, "the content of a message must be a text or a list of parts")
