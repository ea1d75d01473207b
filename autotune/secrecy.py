"""What no log may show: tokens and passwords of the environment that engines inherit."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

SECRET = re.compile(r"(^|_)(TOKEN|KEY|SECRET|PASSWORD)$", re.IGNORECASE)
"""Names of variables that hold a secret."""

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
"""Variables of proxies, whose URLs may hold a password."""

LEAST = 6  # characters; what is shorter is no secret, and stands in every log
BLOCK = 1 << 20  # bytes read at once


def secrets_of(env: Mapping[str, str]) -> tuple[bytes, ...]:
    """Return the secrets of an environment, the longest first: one may be a part of another."""
    tokens = [value for name, value in env.items() if SECRET.search(name)]
    passwords = [_password(env.get(name, "")) for name in PROXIES]
    texts = {text.encode() for text in (*tokens, *passwords) if len(text) >= LEAST}
    return tuple(sorted(texts, key=lambda text: (-len(text), text)))


class Redactor:
    """Replaces secrets by stars in a stream of pieces, also one that is cut in two."""

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        self._secrets = secrets
        self._kept = b""

    def feed(self, piece: bytes) -> bytes:
        """Return what can be shown by now: all but what may be the beginning of a secret."""
        text = _starred(self._kept + piece, self._secrets)
        keep = _begun(text, self._secrets)
        self._kept = text[len(text) - keep :]
        return text[: len(text) - keep]

    def rest(self) -> bytes:
        """Return what was kept back, which no secret followed."""
        rest, self._kept = self._kept, b""
        return rest


class LogMask:
    """Puts stars over secrets in a log that another process appends to; it keeps its length.

    The engine writes the log itself, so that it never waits for the controller and outlives it.
    """

    def __init__(self, log: Path, secrets: tuple[bytes, ...]) -> None:
        self._log, self._secrets = log, secrets
        self._clean = 0  # bytes from the beginning without a secret, or the beginning of one

    def look(self) -> None:
        """Mask what has come since the last look; a log that cannot be written any more is left."""
        try:
            if not self._secrets or self._log.stat().st_size <= self._clean:
                return
            with self._log.open("r+b") as file:
                self._mask(file.fileno())
        except OSError:
            return

    def _mask(self, descriptor: int) -> None:
        while len(text := os.pread(descriptor, BLOCK, self._clean)) > 0:
            starred = _starred(text, self._secrets)
            if starred != text:
                os.pwrite(descriptor, starred, self._clean)
            step = len(text) - _begun(starred, self._secrets)
            self._clean += step
            if len(text) < BLOCK:
                return


def _starred(text: bytes, secrets: tuple[bytes, ...]) -> bytes:
    for secret in secrets:
        text = text.replace(secret, b"*" * len(secret))
    return text


def _begun(text: bytes, secrets: tuple[bytes, ...]) -> int:
    """The length of the longest end of `text` that a secret begins with."""
    return max((_overlap(text, secret) for secret in secrets), default=0)


def _overlap(text: bytes, secret: bytes) -> int:
    sizes = range(min(len(text), len(secret) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(secret[:size])), 0)


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:  # no URL: nothing of it is known
        return ""
