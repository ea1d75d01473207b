"""Output goes on without its terminal."""

from __future__ import annotations

import os

from autotune.report.lasting import Lasting


def test_what_nobody_reads_is_dropped() -> None:
    """Writing and flushing after the reader has gone raise nothing."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(os.dup(writing), "w") as stream:
        out = Lasting(stream)
        assert out.write("text") == 4
        out.flush()
        out.flush()
        assert out.encoding == stream.encoding
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())  # what is still buffered goes there
    os.close(null)
    os.close(writing)
