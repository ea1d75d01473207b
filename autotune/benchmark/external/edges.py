"""Asks an engine how its answers begin and end, then becomes the load client.

A script of the standard library alone: `edges.py OUT URL BODY PROGRAM ARGUMENT…` sends the request that the
file BODY holds, writes to OUT how many chunks before its first text and after its last one hold none, and
executes PROGRAM in its own place. It leaves no OUT behind where nothing could be found out.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

ATTEMPTS = 3
PATIENCE_S = 120.0


def edges_of(lines: Iterable[bytes]) -> dict[str, int]:
    """Return how many chunks of an answer are empty before its first text and after its last.

    Raises: ValueError if no chunk holds any.
    """
    texts = list(_texts(lines))
    if not any(texts):
        raise ValueError("no chunk with text")
    full = [place for place, text in enumerate(texts) if text]
    return {"leading": full[0], "trailing": len(texts) - 1 - full[-1]}


def _texts(lines: Iterable[bytes]) -> Iterator[bool]:
    for line in lines:
        content = line.strip().removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or content == b"[DONE]":
            continue
        choices = json.loads(content).get("choices")
        if choices:
            delta = choices[0].get("delta", {})
            yield any(
                isinstance(text, str) and text for text in (choices[0].get("text"), *delta_texts(delta))
            )


def delta_texts(delta: dict[str, object]) -> list[object]:
    """What of a chat's chunk is an answer, by any of the names that engines have for it."""
    return [delta.get(name) for name in ("content", "reasoning_content", "reasoning")]


def _ask(url: str, body: bytes) -> dict[str, int]:
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=PATIENCE_S) as reply:
        return edges_of(reply)


def main() -> None:
    """Ask, write, and become the client."""
    out, url, body, *argv = sys.argv[1:]
    for _ in range(ATTEMPTS):
        try:
            Path(out).write_text(json.dumps(_ask(url, Path(body).read_bytes())))
            break
        except (OSError, ValueError) as error:
            sys.stderr.write(f"autotune: how answers begin and end is unknown: {error}\n")
    os.execv(argv[0], argv)  # noqa: S606  (an argument list, no shell)


if __name__ == "__main__":
    main()
