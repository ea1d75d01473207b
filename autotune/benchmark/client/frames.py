"""A whole HTTP answer taken apart, after the run."""

from __future__ import annotations

import httptools


class Frames:
    """Finds the body in the reads of one answer, fed in their order."""

    def __init__(self) -> None:
        self.complete = False
        self.between = False  # two chunks: what was fed ends with a whole one
        self._broken = False
        self._pieces: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> bytes:
        """Return what a read brought of the body; nothing once it is no HTTP, or the answer is complete."""
        self._pieces.clear()
        if not (self._broken or self.complete):
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserError:
                self._broken = True
        self.between = self.between and data.endswith(b"\r\n") and not self._broken
        return b"".join(self._pieces)

    def on_chunk_header(self) -> None:
        """Called by the parser."""
        self.between = False

    def on_chunk_complete(self) -> None:
        """Called by the parser."""
        self.between = not self.complete

    def on_body(self, body: bytes) -> None:
        """Called by the parser."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.complete = True
        self.between = False
