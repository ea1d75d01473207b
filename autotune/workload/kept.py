"""What took time to find, kept in the user's cache folder by the content it was found from."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from autotune.places import cache_dir

MOST = 64  # files; those that were not used for longest go first


def key_of(parts: Iterable[object]) -> str:
    """Return a name for what is made from these parts, plain data or bytes."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode())
        digest.update(b"\0")
    return digest.hexdigest()[:24]


def place_for(name: str) -> Path:
    """Return where something of this name is kept."""
    return cache_dir() / "workloads" / f"{name}.json"


def find(name: str) -> Any | None:
    """Return what is kept by this name; None if there is nothing that can be read."""
    place = place_for(name)
    try:
        content = json.loads(place.read_bytes())
    except (OSError, ValueError):
        return None
    with suppress(OSError):
        os.utime(place)
    return content


def keep(name: str, content: Any) -> Path:
    """Keep plain data by this name, as a whole or not at all, and return its place.

    Raises: OSError if the cache folder cannot be written.
    """
    place = place_for(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=place.parent, prefix=f".{name[:24]}.", suffix=".part", delete=False
    ) as part:
        json.dump(content, part)
    Path(part.name).replace(place)
    files = sorted(place.parent.glob("*.json"), key=lambda file: file.stat().st_mtime)
    for old in files[:-MOST]:
        old.unlink(missing_ok=True)
    return place
