"""Follows one container in a thread: its log into a file while it runs, and how it ended."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, DockerException, NotFound

from autotune import daemon
from autotune.secrecy import Redactor, secrets_of

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.types import CancellableStream

PATIENCE_S = 20.0  # how long a daemon that went away may take to come back
POLL_S = 0.2
ENDED = frozenset({"exited", "dead"})


class Follower:
    """What is known of a container that runs; `secrets` of `env` are stars in `log`.

    Once `ended` is set: `state` is the container's last one (None: it is gone, or the daemon is), `away`
    says that the daemon went away and the container did not outlive that, `lost` why nothing more is known.
    `doubtful`: the log has ended, and the daemon has not told yet whether the container has.
    `outage_s` is when the daemon was last found away (monotonic), whatever became of the container.
    """

    def __init__(
        self,
        client: DockerClient,
        container_id: str,
        *,
        log: Path,
        env: Mapping[str, str],
        timeout_s: float = daemon.TIMEOUT_S,
    ) -> None:
        """`timeout_s` is for one answer of the daemon; between two lines of the log any time may pass."""
        self.ended = threading.Event()
        self.state: Mapping[str, Any] | None = None
        self.away = False
        self.lost: Exception | None = None
        self.outage_s = float("-inf")
        self.doubtful = False
        self._client, self._id, self._log = client, container_id, log
        self._timeout_s = timeout_s
        self._secrets = secrets_of(env)
        self._stream: CancellableStream[bytes] | None = None
        self._left_alone = threading.Event()
        self._thread = threading.Thread(target=self._follow, name=f"log-{container_id[:12]}", daemon=True)
        self._thread.start()

    def leave(self, timeout_s: float) -> None:
        """Wait until the end was seen; give up after `timeout_s`."""
        self._left_alone.set()
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Wait no longer: the container is gone, and a log that has not ended by now never does."""
        self.leave(0)
        if self._thread.is_alive() and self._stream is not None:
            with contextlib.suppress(DockerException, OSError, AttributeError):  # closed meanwhile
                self._stream.close()

    def _follow(self) -> None:
        try:
            while True:
                whole = self._copy()
                self.doubtful = True
                self.state, unanswered = self._settled()
                self.away = self.away or unanswered or not whole
                if self.state["Status"] in ENDED or self._left_alone.is_set():
                    if not whole:
                        self._copy()
                    return
                self.away = self.doubtful = False  # it has outlived that: its log is followed anew
        except (DockerException, OSError) as error:
            self.lost = error
        finally:
            self.ended.set()
            self.doubtful = False

    def _copy(self) -> bool:
        """Write the log from its beginning until the container ends; return whether that was all of it.

        What cannot be written or read at all ends the copy, not the engine.
        """
        with contextlib.ExitStack() as opened:
            try:
                waiting = opened.enter_context(daemon.client(self._timeout_s))
                chunks = self._stream = waiting.api.logs(self._id, stream=True, follow=True)
            except APIError:  # gone, or a log driver that cannot be read
                return True
            except (DockerException, OSError):
                return False
            try:
                sink = opened.enter_context(self._log.open("wb", buffering=0))
            except OSError:
                return True
            stars = Redactor(self._secrets)
            while True:
                try:
                    chunk = next(chunks, None)
                except (DockerException, OSError):
                    return False
                try:
                    sink.write(stars.rest() if chunk is None else stars.feed(chunk))
                except OSError:
                    return True
                if chunk is None:
                    return True

    def _settled(self) -> tuple[Mapping[str, Any], bool]:
        """The container's state once the daemon knows it, and whether nobody listened there meanwhile.

        After a log that came to its end this is the end of the container; else it may run on.
        Raises: DockerException, OSError if the daemon stays away, or the container is gone.
        """
        unanswered, deadline = False, time.monotonic() + PATIENCE_S
        while True:
            try:
                state: Mapping[str, Any] = self._client.api.inspect_container(self._id)["State"]
            except NotFound:
                raise
            except (DockerException, OSError) as error:
                if daemon.is_away(error):
                    unanswered, self.outage_s = True, time.monotonic()
                if self._left_alone.is_set() or time.monotonic() > deadline:
                    raise
            else:
                if state["Status"] in ENDED or unanswered or self._left_alone.is_set():
                    return state, unanswered
                if time.monotonic() > deadline:  # the log ended, the container did not
                    return state, unanswered
            self._left_alone.wait(POLL_S)
