"""Who works on a sweep: a kernel-held lock on its folder, which goes with the process, however that ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from autotune.errors import ConfigError, InfrastructureError

NAME = "lock"
PATIENCE_S = 0.5  # `held` has the lock for a moment, and a killed process for as long as it is taken down


def own(folder: Path) -> int:
    """Return the descriptor of the lock; the folder is this process's until it is closed.

    Raises: ConfigError if another process works on it; InfrastructureError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InfrastructureError(f"cannot write {folder}: {error.strerror}") from error
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                time.sleep(0.05)
                continue
            os.close(descriptor)
            raise ConfigError(
                [f"{folder}: another process works on this sweep: wait for its end, or choose another name"]
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise InfrastructureError(f"cannot lock {folder}: {error.strerror}") from error
        return descriptor


def held(folder: Path) -> bool:
    """Whether a process works on the sweep; nobody does on one whose folder is gone."""
    try:
        descriptor = os.open(folder / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # another user's: not ours to judge
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
