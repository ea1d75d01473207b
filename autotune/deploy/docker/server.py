"""One container: its log followed to a file, its end noticed at once, nothing of it left after the stop."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

from docker.errors import APIError, DockerException, NotFound

from autotune import daemon, failures
from autotune.benchmark.protocol import Benchmark
from autotune.deploy.docker.complaints import failure_of
from autotune.deploy.docker.container import PORT, SECRET
from autotune.deploy.docker.image import Image
from autotune.deploy.docker.operations import end
from autotune.deploy.protocol import Order, Ready
from autotune.deploy.readiness import LOG, await_ready, read_log
from autotune.errors import TrialError

if TYPE_CHECKING:
    from docker import DockerClient

PATIENCE_S = 20.0  # how long a daemon that went away may take to come back
POLL_S = 0.2
ENDED = frozenset({"exited", "dead"})


class ContainerServer:
    """An engine in a container that runs; see `protocol.Server`.

    `client` is its own, so that containers side by side do not wait for each other.
    """

    started = None  # found by its labels after a crash

    def __init__(self, order: Order, client: DockerClient, container_id: str, image: Image) -> None:
        self._order, self._client, self._id, self._image = order, client, container_id, image
        self._began_s = time.monotonic()
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._death: TrialError | None = None
        self._ready = False
        self._follower = threading.Thread(target=self._follow, name=f"log-{container_id[:12]}", daemon=True)
        self._follower.start()

    def ready(self) -> Ready:
        """Watch the container's end, cancellation and the readiness path at once."""
        url = f"http://127.0.0.1:{self._port()}"
        ready = await_ready(self._order, url, death=self.death, began_s=self._began_s)
        self._ready = True
        return replace(
            ready,
            simulated=ready.simulated or self._image.stand_in,
            image_digest=self._image.digest,
        )

    def death(self) -> TrialError | None:
        """Return why the container ended; the thread that follows its log has noticed."""
        return self._death if self._ended.is_set() else None

    def stop(self) -> None:
        """SIGTERM, SIGKILL after `deploy.stop_timeout_s`, the whole log kept, then the container removed.

        Raises: TrialError if the daemon does not do it: the container may still hold its GPUs.
        """
        if self._stopping.is_set():
            return
        self._stopping.set()
        try:
            self._end_patiently()
        except (DockerException, OSError) as error:
            failure = failure_of(error, f"container {self._id[:12]} could not be ended and may still run")
            failure.advice = f"{failure.advice}; then: docker rm -f {self._id[:12]}"
            raise failure from error
        finally:
            self._follower.join(PATIENCE_S)
            self._client.close()

    def _end_patiently(self) -> None:
        """A daemon that is restarted just now is waited for: else the container would stay.

        Raises: DockerException, OSError.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not self._try_to_end(last=time.monotonic() > deadline):
            time.sleep(POLL_S)

    def _try_to_end(self, *, last: bool) -> bool:
        """Raises: DockerException, OSError, where another attempt is of no use or it is the last."""
        try:
            end(self._client, self._id, self._order.config.deploy.stop_timeout_s, keep=self._keep_log)
        except APIError:
            raise
        except (DockerException, OSError):
            if last:
                raise
            return False
        return True

    def client(self, chosen: Benchmark) -> Benchmark:
        """The chosen load client."""
        return chosen

    def _port(self) -> int:
        """The port of this host at which the engine listens; its end is told by `death`.

        Raises: TrialError.
        """
        try:
            state = self._client.api.inspect_container(self._id)
        except (DockerException, OSError) as error:
            raise self.death() or failure_of(error, "looking for the engine's port") from error
        published = (state["NetworkSettings"]["Ports"] or {}).get(f"{PORT}/tcp")
        if published:
            return int(published[0]["HostPort"])
        self._ended.wait(PATIENCE_S)  # it has ended already: nothing is published any more
        raise self.death() or TrialError("infrastructure", "the container publishes no port")

    def _follow(self) -> None:
        """Write what the engine says while it says it; then find out how it ended."""
        lost: Exception | None = None
        with (self._order.folder / LOG).open("ab") as sink:
            try:
                self._copy(sink)
            except (DockerException, OSError) as error:
                lost = error
        try:
            state, away = self._end_state()
            self._death = self._judge(state, away=away)
        except (DockerException, OSError) as error:
            self._death = failure_of(lost or error, "the Docker daemon went away with the engine")
        finally:
            self._ended.set()

    def _copy(self, sink: IO[bytes]) -> None:
        """Raises: DockerException, OSError where the daemon goes away."""
        with contextlib.closing(daemon.connect(None)) as waiting:  # an engine may be silent for hours
            for chunk in waiting.api.logs(self._id, stream=True, follow=True):
                sink.write(redacted(chunk, self._order.env))
                sink.flush()

    def _end_state(self) -> tuple[Mapping[str, Any], bool]:
        """The container's state once it has ended, and whether the daemon was away meanwhile.

        Raises: DockerException, OSError if the daemon stays away.
        """
        away, deadline = False, time.monotonic() + PATIENCE_S
        while True:
            try:
                state: Mapping[str, Any] = self._client.api.inspect_container(self._id)["State"]
            except NotFound:
                raise
            except (DockerException, OSError):
                if self._stopping.is_set() or time.monotonic() > deadline:
                    raise
                away = True
            else:
                deadline = time.monotonic() + PATIENCE_S
                if state["Status"] in ENDED or self._stopping.is_set():
                    return state, away
            self._stopping.wait(POLL_S)

    def _judge(self, state: Mapping[str, Any], *, away: bool) -> TrialError | None:
        """Return why it ended; None where that was asked for."""
        if self._stopping.is_set():
            return None
        if away:
            return TrialError(
                "infrastructure",
                "the Docker daemon was restarted and took the container with it",
                evidence=f"docker: exit code {state['ExitCode']} at {state['FinishedAt']}",
                advice="keep the daemon up during a sweep; live-restore in its configuration helps",
            )
        log = read_log(self._order)
        not_executed = re.search(r"^\[FATAL tini.*", log, re.MULTILINE)  # by the container's init
        if not_executed:
            return failure_of(RuntimeError(not_executed.group()), "starting the engine")
        evidence = failures.Evidence(
            log=log,
            exit_code=exit_code(int(state["ExitCode"])),
            oom_killed=bool(state.get("OOMKilled")),
            runtime=self._order.plan.runtime,
            serving=self._ready,
        )
        return failures.classify(evidence)

    def _keep_log(self, chunks: Iterator[bytes]) -> None:
        """Replace what was followed by the whole log, if the daemon still has more of it."""
        file = self._order.folder / LOG
        self._follower.join(PATIENCE_S)
        part = file.with_name(f"{LOG}.part")
        with part.open("wb") as sink:
            for chunk in chunks:
                sink.write(redacted(chunk, self._order.env))
        if part.stat().st_size > (file.stat().st_size if file.exists() else 0):
            part.replace(file)
        else:
            part.unlink()


def exit_code(told: int) -> int:
    """Return an exit status as Python gives it: a container's 128 + N means signal N."""
    return 128 - told if told > 128 else told


def redacted(chunk: bytes, env: Mapping[str, str]) -> bytes:
    """Return a piece of a log without tokens; the daemon cuts lines of over 16 KiB only."""
    for value in _secrets(env):
        chunk = chunk.replace(value, b"***")
    return chunk


def _secrets(env: Mapping[str, str]) -> Sequence[bytes]:
    return [env[name].encode() for name in SECRET if env.get(name)]
