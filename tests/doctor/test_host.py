"""Docker, the disk and the store: there, or not."""

from __future__ import annotations

import http.server
import json
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from autotune.doctor.finding import State
from autotune.doctor.host import docker_finding, place_findings
from autotune.schema import Config, TrackingConfig


class Daemon(http.server.BaseHTTPRequestHandler):
    """What Docker's daemon and an MLflow server answer to somebody who only asks whether they are there."""

    def do_GET(self) -> None:
        """Its version, and that it is there."""
        body = json.dumps({"Version": "27.5.1", "ApiVersion": "1.47"}) if self.path == "/version" else "OK"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_words: object) -> None:
        """Say nothing."""


@pytest.fixture
def daemon() -> Iterator[int]:
    """The port of one that answers."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Daemon) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_docker_daemon_that_answers(daemon: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its address and version."""
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{daemon}")
    said = docker_finding()
    assert said.text == f"a daemon answers at tcp://127.0.0.1:{daemon}, version 27.5.1"
    assert said.state is State.GOOD


@pytest.mark.parametrize("host", ["unix://{folder}/no.sock", "tcp://127.0.0.1:1"])
def test_no_docker_daemon(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it was looked for."""
    where = host.format(folder=tmp_path)
    monkeypatch.setenv("DOCKER_HOST", where)
    assert docker_finding().text == f"no Docker daemon answers at {where}"


@pytest.mark.parametrize(
    ("kind", "uri", "expected", "state"),
    [
        pytest.param("local", None, "mlruns/mlflow.db is there", State.GOOD, id="local"),
        pytest.param("local", None, "cannot be read (file is not a database)", State.MISSING, id="no database"),
        pytest.param("server", "http://127.0.0.1:{port}", "http://127.0.0.1:{port} answers", State.GOOD, id="server"),
        pytest.param("server", "http://127.0.0.1:1", "http://127.0.0.1:1 does not answer", State.MISSING, id="nobody"),
        pytest.param("server", None, "tracking=server without its address", State.MISSING, id="no address"),
        pytest.param("local", "sqlite:///x.db", "sqlite:///x.db (not opened)", State.NOTE, id="database"),
    ],
)  # fmt: skip
def test_the_store(
    kind: str,
    uri: str | None,
    expected: str,
    state: State,
    *,
    daemon: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Local, on a server that answers or not, or a database of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()
    path = tmp_path / "mlruns" / "mlflow.db"
    if state is State.MISSING and uri is None:
        path.write_text("this is not a database of MLflow's, however long it is")
    else:
        with closing(sqlite3.connect(path)) as made:
            made.execute("create table alembic_version (version_num text)")
    address = None if uri is None else uri.format(port=daemon)
    store = place_findings(Config(tracking=TrackingConfig(kind=kind, uri=address)))[-1]
    assert store.text.endswith(expected.format(port=daemon))
    assert store.state is state


def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How much is free where results go."""
    monkeypatch.chdir(tmp_path)
    outputs, mlruns, _store = place_findings(Config(tracking=TrackingConfig(kind="local")))
    assert (outputs.about, mlruns.about) == ("outputs/", "mlruns/")
    assert re.fullmatch(re.escape(f"{tmp_path}/outputs: ") + r"[\d.]+ GiB free", outputs.text)
