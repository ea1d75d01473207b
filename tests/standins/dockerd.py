"""A Docker daemon of the tests' own: its data in a temporary folder, in a network namespace of its own.

`scripts/check-docker` makes the namespace. GPU requests are accepted because of a stand-in for NVIDIA's
hook, an executable of that name on the daemon's PATH: the daemon then sets NVIDIA_VISIBLE_DEVICES.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
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

    def start(self, *, gpus: bool = True, live_restore: bool = False) -> None:
        """Start it, and wait until it answers; with `live_restore` containers outlive its end."""
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}" if gpus else os.environ["PATH"]
        places = {name: self.folder / name for name in ("data-root", "exec-root", "pidfile")}
        argv = ["dockerd", "--host", self.host, *(f"--{name}={place}" for name, place in places.items())]
        argv += ["--live-restore"] if live_restore else []
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
        try:
            with socket.socket(socket.AF_UNIX) as probe:  # else the SDK leaks its own where nobody listens
                probe.connect(str(self.folder / "docker.sock"))
            client = DockerClient(base_url=self.host, version="1.41", timeout=5)
        except (DockerException, OSError):
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

    def close(self) -> None:
        """End it for good: without the mounts that one which was killed, or had containers to keep, left."""
        self.stop()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for place in reversed([each for each in mounts if Path(each).is_relative_to(self.folder)]):
            subprocess.run(["umount", place], check=True)

    def kill(self) -> None:
        """End it as the kernel does when memory is out; its containers run on."""
        self._end(signal.SIGKILL)
        # containerd ends with it; where process 1 reaps nobody, the next daemon would take it for alive
        (self.folder / "exec-root/containerd/containerd.pid").unlink()

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
