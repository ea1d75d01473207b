"""Standard output that outlives its terminal: a sweep does not fail because nobody can watch it."""

from __future__ import annotations

import contextlib
from typing import Any, TextIO


class Lasting:
    """A stream whose errors are passed over: what its terminal, pipe or disk does not take is not shown."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with contextlib.suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
