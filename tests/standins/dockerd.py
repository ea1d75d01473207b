"""A Docker daemon of the tests' own: its data in a temporary folder, in a network namespace of its own.

`scripts/check-docker` makes the namespace. GPU requests are accepted because of a stand-in for NVIDIA's
hook, an executable of that name on the daemon's PATH: the daemon then sets NVIDIA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from docker import DockerClient
from docker.errors import DockerException

MARK = "AUTOTUNE_DOCKER_TESTS"
"""Set by `scripts/check-docker`: this process is in a network namespace of its own, and nothing is skipped."""

HOOK = "nvidia-container-runtime-hook"
START_S = 60.0


def why_not() -> str | None:
    """Return why there can be no daemon here."""
    if MARK not in os.environ:
        return "needs a network namespace of its own: sh scripts/check-docker"
    return None if shutil.which("dockerd") else "needs dockerd"


class Dockerd:
    """The daemon's process, and the GPU hook that it finds or does not find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder / 'docker.sock'}"
        self._process: subprocess.Popen[bytes] | None = None
        hook = folder / "bin" / HOOK
        hook.parent.mkdir(parents=True)
        hook.write_text("#!/bin/sh\nexit 0\n")
        hook.chmod(0o755)

    def start(self, *, gpus: bool = True) -> None:
        """Start it, and wait until it answers."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}" if gpus else os.environ["PATH"]
        places = {name: self.folder / name for name in ("data-root", "exec-root", "pidfile")}
        argv = ["dockerd", "--host", self.host, *(f"--{name}={place}" for name, place in places.items())]
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, env={**os.environ, "PATH": path}, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_S
        while not self.answers():
            assert self._process.poll() is None, (self.folder / "dockerd.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "dockerd does not answer"
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it can be used."""
        if not (self.folder / "docker.sock").exists():
            return False
        try:
            client = DockerClient(base_url=self.host, version="1.41", timeout=5)
        except DockerException:
            return False
        try:
            return bool(client.ping())
        except (DockerException, OSError):
            return False
        finally:
            client.close()

    def stop(self) -> None:
        """End it as an operator does; it ends the containers."""
        self._end(signal.SIGTERM)

    def pause(self) -> None:
        """Let it hang: connections are taken, nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End the hanging."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None
