"""One kernel-held file lock for each GPU: whoever has a descriptor of it open holds the GPU."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
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
        while True:
            descriptor = self._opened(f"{uuid}.lock")
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return None
            except OSError as error:
                os.close(descriptor)
                raise InfrastructureError(f"cannot lock {uuid}: {error.strerror}") from error
            if self._is_current(uuid, descriptor):
                return descriptor
            os.close(descriptor)  # somebody removed the file: others lock a new one

    def _is_current(self, uuid: str, descriptor: int) -> bool:
        """Whether a locked file is the one that others find under its name."""
        try:
            return os.path.samestat(os.fstat(descriptor), (self.folder / f"{uuid}.lock").stat())
        except OSError:
            return False

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
                with suppress(PermissionError):  # another user made it at the same moment
                    os.fchmod(descriptor, 0o666)
        except OSError as error:
            raise InfrastructureError(f"cannot open the lock {path}: {error.strerror}") from error
        return descriptor

    def is_held(self, uuid: str) -> bool:
        """Whether somebody holds a GPU; nothing is written, and no lock is kept.

        Raises: InfrastructureError if the lock cannot be looked at.
        """
        try:
            descriptor = os.open(self.folder / f"{uuid}.lock", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise InfrastructureError(f"cannot open the lock of {uuid}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def holders(self, uuid: str) -> tuple[int, ...]:
        """Return the processes that have the lock open, as far as this user may see them."""
        path = os.fspath((self.folder / f"{uuid}.lock").resolve())
        found = {int(link.parts[2]) for link in Path("/proc").glob("[0-9]*/fd/*") if _leads_to(link, path)}
        return tuple(sorted(found))


def _leads_to(link: Path, path: str) -> bool:
    try:
        return os.readlink(link) == path  # noqa: PTH115  (a path object for each of thousands is slow)
    except OSError:
        return False
