"""One engine in a container: ready, dead, and nothing of it left after the stop."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from docker.errors import DockerException, NotFound

from autotune import daemon, failures
from autotune.benchmark.protocol import Benchmark
from autotune.deploy.docker.complaints import failure_of
from autotune.deploy.docker.container import PORT
from autotune.deploy.docker.follower import PATIENCE_S, POLL_S, Follower
from autotune.deploy.docker.image import Image
from autotune.deploy.docker.operations import end, remove
from autotune.deploy.docker.remover import leave
from autotune.deploy.protocol import Order, Ready
from autotune.deploy.readiness import LOG, await_ready, read_log
from autotune.errors import TrialError

if TYPE_CHECKING:
    from docker import DockerClient


class ContainerServer:
    """An engine in a container that runs; see `protocol.Server`.

    `client` is its own, so that containers side by side do not wait for each other.
    """

    started = None  # found by its labels after a crash

    def __init__(self, order: Order, client: DockerClient, container_id: str, image: Image) -> None:
        self._order, self._client, self._id, self._image = order, client, container_id, image
        self.image_digest = image.digest
        self._began_s = time.monotonic()
        self._death: TrialError | None = None
        self._ready_s: float | None = None
        self._stopped = False
        self._guard = threading.Lock()
        timeout_s = order.config.deploy.daemon_timeout_s
        self._follower = Follower(
            client, container_id, log=order.folder / LOG, env=order.env, timeout_s=timeout_s
        )

    def ready(self) -> Ready:
        """Watch the container's end, cancellation and the readiness path at once."""
        url = f"http://127.0.0.1:{self._port()}"
        ready = await_ready(self._order, url, death=self.death, began_s=self._began_s)
        self._ready_s = time.monotonic()
        return replace(ready, simulated=ready.simulated or self._image.stand_in)

    @property
    def doubtful(self) -> bool:
        """Whether its log has ended and the daemon has not told yet what became of it."""
        return self._follower.doubtful and not self._stopped

    def death(self) -> TrialError | None:
        """Return why the container ended by itself, as soon as the thread that follows it has seen that.

        One that serves on through an outage of the daemon is dead as well: its clients were cut off.
        """
        with self._guard:
            if self._death is None and not self._stopped:
                if self._follower.ended.is_set():
                    self._death = self._judge()
                elif self._ready_s is not None and self._follower.outage_s > self._ready_s:
                    self._death = _cut_off()
            return self._death

    def stop(self) -> None:
        """SIGTERM, SIGKILL after `deploy.stop_timeout_s`; removed once its log is safe.

        Where the daemon does not do it, that goes on in a thread, and the order's `left` has the container.
        """
        self.death()  # an end of its own, before this one
        with self._guard:
            if self._stopped:
                return
            self._stopped = True
            try:
                self._end_patiently()
            except (DockerException, OSError) as error:
                leave(self._order, self._id[:12], self._end, error=error)
            finally:
                self._client.close()

    def client(self, chosen: Benchmark) -> Benchmark:
        """The chosen load client."""
        return chosen

    def _end_patiently(self) -> None:
        """A daemon that is restarted just now is waited for; one that hangs has had its time.

        Raises: DockerException, OSError.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self._end(self._client)
            except (DockerException, OSError) as error:
                if not daemon.is_away(error) or time.monotonic() > deadline:
                    raise
            else:
                return
            time.sleep(POLL_S)

    def _end(self, client: DockerClient) -> bool:
        """Return that the container is gone.

        Raises: DockerException, OSError.
        """
        end(client, self._id, self._order.config.deploy.stop_timeout_s)
        self._follower.leave(PATIENCE_S)
        remove(client, self._id)
        self._follower.close()
        return True

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
        self._follower.ended.wait(PATIENCE_S)  # it has ended already: nothing is published any more
        raise self.death() or TrialError("infrastructure", "the container publishes no port")

    def _judge(self) -> TrialError:
        """Why it ended, by the daemon's word and the whole log."""
        state, lost = self._follower.state, self._follower.lost
        if isinstance(lost, NotFound):
            return TrialError(
                "infrastructure",
                "somebody removed the container while the engine ran",
                evidence=failures.last_line(read_log(self._order)),
                advice="leave containers with the label autotune.trial to autotune",
            )
        if lost is not None:
            return failure_of(lost, "the Docker daemon went away with the engine")
        if state is None:
            return TrialError("unknown", "how the container ended could not be found out")
        if self._follower.away:
            return TrialError(
                "infrastructure",
                "the Docker daemon was restarted and took the container with it",
                evidence=f"docker: exit code {state['ExitCode']} at {state['FinishedAt']}",
                advice="keep the daemon up during a sweep; live-restore in its configuration helps",
            )
        return self._classified(state)

    def _classified(self, state: Mapping[str, Any]) -> TrialError:
        log = read_log(self._order)
        not_executed = re.search(r"^\[FATAL tini.*", log, re.MULTILINE)  # by the container's init
        if not_executed:
            return failure_of(RuntimeError(not_executed.group()), "starting the engine")
        evidence = failures.Evidence(
            log=log,
            exit_code=exit_code(int(state["ExitCode"])),
            oom_killed=bool(state.get("OOMKilled")),
            runtime=self._order.plan.runtime,
            serving=self._ready_s is not None,
        )
        return failures.classify(evidence)


def _cut_off() -> TrialError:
    """An outage of the daemon. Ports at 127.0.0.1 are served by docker-proxy, which ends with the daemon.

    Source: Docker Engine 20.10, where open connections broke.
    """
    return TrialError(
        "infrastructure",
        "the Docker daemon went away while the engine served, and with it the way to the engine's port",
        advice="keep the daemon up during a sweep",
    )


def exit_code(told: int) -> int:
    """Return an exit status as Python gives it: a container's 128 + N means signal N."""
    return 128 - told if told > 128 else told
