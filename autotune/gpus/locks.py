"""One kernel-held file lock for each GPU: whoever has a descriptor of it open holds the GPU."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from autotune.errors import InfrastructureError


class GpuLocks:
    """Locks in `folder`, for every process of this host that looks there.

    A lock belongs to the open file, not to the process: an engine that inherited the descriptor keeps
    its GPUs taken while it lives, also after the controller was killed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def take(self, uuid: str) -> int | None:
        """Return the descriptor that holds a GPU, or None if somebody else does.

        Raises: InfrastructureError if the lock cannot be used.
        """
        descriptor = self._opened(f"{uuid}.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise InfrastructureError(f"cannot lock {uuid}: {error.strerror}") from error
        return descriptor

    def _opened(self, name: str) -> int:
        """Open a lock file that every user of this host can open, whatever the umask says."""
        path = self.folder / name
        try:
            if not self.folder.exists():
                self.folder.mkdir(parents=True, exist_ok=True)
                self.folder.chmod(0o777)
            new = not path.exists()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if new:
                os.fchmod(descriptor, 0o666)
        except OSError as error:
            raise InfrastructureError(f"cannot open the lock {path}: {error.strerror}") from error
        return descriptor
