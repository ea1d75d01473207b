"""Folders for an engine's temporary files, which can be told from everyone else's after a crash.

The trial is in the folder's name, so there is no moment at which one exists that nobody can find.
The name is short, because engines put sockets there, whose paths have at most 107 characters.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path


def make(trial: Path) -> Path:
    """Return a new folder in the system's place for temporary files."""
    return Path(tempfile.mkdtemp(prefix=_prefix(trial)))


def left_of(trial: Path, *, recorded: Iterable[Path] = ()) -> set[Path]:
    """Return the folders of a trial: this user's, by their names, where they are now put and as recorded."""
    prefix = _prefix(trial)
    found = {*Path(tempfile.gettempdir()).glob(f"{prefix}*"), *recorded}
    return {path for path in found if path.name.startswith(prefix) and _own_folder(path)}


def _prefix(trial: Path) -> str:
    return f"autotune-{hashlib.sha256(os.fsencode(trial.resolve())).hexdigest()[:10]}-"


def _own_folder(path: Path) -> bool:
    """Whether it is a folder of this user's, and no link to one."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
