"""GPUs of containers, asked of a daemon that speaks Docker's API on a socket of its own."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from autotune.gpus.containers import AGAIN_S, LABEL, SILENT_S, ContainerGpus


class Daemon(socketserver.ThreadingUnixStreamServer):
    """Answers as dockerd does: its version, and the running containers that have the label asked for."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), Answers)
        self.labels: list[dict[str, str]] = []
        self.asked = 0


class Answers(BaseHTTPRequestHandler):
    """One request."""

    server: Daemon

    def address_string(self) -> str:
        """A Unix socket has no address."""
        return ""

    def log_message(self, *_args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Version and containers; the filters come as JSON in the query."""
        from urllib.parse import parse_qs, urlsplit

        url = urlsplit(self.path)
        content: Any = {"ApiVersion": "1.41", "Version": "20.10.24"}
        if url.path.endswith("/containers/json"):
            self.server.asked += 1
            filters = json.loads(parse_qs(url.query)["filters"][0])
            assert filters == {"label": [LABEL], "status": ["running"]}
            content = [{"Id": str(n), "Labels": labels} for n, labels in enumerate(self.server.labels)]
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that DOCKER_HOST names."""
    path = tmp_path / "docker.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    with Daemon(path) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_gpus_of_running_containers(daemon: Daemon) -> None:
    """Of every container, whoever started it; asked at most once a second."""
    now, said = [0.0], list[str]()
    held = ContainerGpus(tell=said.append, clock=lambda: now[0])
    daemon.labels = [{LABEL: "GPU-a,GPU-b"}, {LABEL: "GPU-c"}]
    assert held() == {"GPU-a", "GPU-b", "GPU-c"}
    daemon.labels = []
    assert held() == {"GPU-a", "GPU-b", "GPU-c"}
    assert daemon.asked == 1
    now[0] = AGAIN_S
    assert held() == set()
    assert said == []


def test_a_daemon_that_does_not_answer_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said last still holds; nothing is made up."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'nobody.sock'}")
    now, said = [0.0], list[str]()
    held = ContainerGpus(tell=said.append, clock=lambda: now[0])
    assert held() == set()
    now[0] = 2 * SILENT_S
    assert held() == set()
    assert len(said) == 1
    assert said[0].startswith("Docker does not answer, GPUs of its containers are not seen: ")


def test_a_daemon_that_was_silent_is_given_time(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question to one that hangs would keep trials from starting for seconds."""
    there = os.environ["DOCKER_HOST"]
    monkeypatch.setenv("DOCKER_HOST", f"{there}.gone")
    now = [0.0]
    held = ContainerGpus(tell=lambda _text: None, clock=lambda: now[0])
    assert held() == set()
    monkeypatch.setenv("DOCKER_HOST", there)
    daemon.labels = [{LABEL: "GPU-a"}]
    now[0] = SILENT_S - 1
    assert (set(held()), daemon.asked) == (set(), 0)
    now[0] = SILENT_S
    assert (set(held()), daemon.asked) == ({"GPU-a"}, 1)
