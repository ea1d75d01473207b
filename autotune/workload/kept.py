"""What took time to find, kept in the user's cache folder by the content it was found from."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from autotune.places import cache_dir

MOST = 64  # files; those that were not used for longest go first
IN_USE_S = 24 * 3600.0  # what was used so lately stays, however many there are: a sweep may need it again


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
    used(place)
    return content


def used(place: Path) -> bool:
    """Note that a kept file is used now, so that it stays; return whether it is there."""
    with suppress(OSError):
        os.utime(place)
    return place.is_file()


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
    _make_room(place.parent)
    return place


def _make_room(folder: Path) -> None:
    """Remove what is too much and was not used lately; another process may do the same."""
    used_s = {}
    for file in folder.glob("*.json"):
        with suppress(FileNotFoundError):
            used_s[file] = file.stat().st_mtime
    for old in sorted(used_s, key=used_s.__getitem__)[:-MOST]:
        if time.time() - used_s[old] > IN_USE_S:
            old.unlink(missing_ok=True)
