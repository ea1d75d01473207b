"""GPUs that running containers hold, by their labels; for a host that has Docker."""

from __future__ import annotations

import time
from collections.abc import Callable

from autotune import daemon

LABEL = "autotune.gpus"
"""Label of a container that holds GPUs: their UUIDs, joined by commas."""

AGAIN_S = 1.0  # an answer is good for so long: the pool asks several times a second
SILENT_S = 60.0  # a daemon that does not answer is not asked again before: meanwhile nothing could start
TIMEOUT_S = 5


class ContainerGpus:
    """Asks the Docker daemon, if there is one; while it does not answer, what it said last holds."""

    def __init__(self, *, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._tell, self._clock = tell, clock
        self._answer: frozenset[str] = frozenset()
        self._again_s = float("-inf")
        self._told = False

    def __call__(self) -> frozenset[str]:
        """Return the UUIDs of the GPUs that running containers are labelled with."""
        if not daemon.expected():
            return frozenset()
        if self._clock() >= self._again_s:
            answer = self._ask()
            self._again_s = self._clock() + (SILENT_S if answer is None else AGAIN_S)
            self._answer = self._answer if answer is None else answer
        return self._answer

    def _ask(self) -> frozenset[str] | None:
        from docker.errors import DockerException

        try:
            with daemon.client(TIMEOUT_S) as client:
                found = client.api.containers(filters={"label": LABEL, "status": "running"})
                return frozenset(uuid for each in found for uuid in each["Labels"][LABEL].split(",") if uuid)
        except (DockerException, OSError) as error:  # those of requests are OSErrors
            if not self._told:
                self._told = True
                self._tell(f"Docker does not answer, GPUs of its containers are not seen: {error}")
            return None
