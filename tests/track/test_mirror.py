"""An MLflow store that comes and goes while a sweep runs: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from autotune import compose
from autotune.active import activate
from autotune.cli import main
from autotune.prepare import prepare
from autotune.session import _finish
from autotune.sweep import Settings, Sweep
from autotune.track.mirror import MlflowMirror
from autotune.track.mlflow import Store
from hydra_plugins.autotune_launchers._scheduler import Scheduler
from tests.shop import until

TABLE = Path(__file__).parents[1] / "data" / "replay.csv"
BASE = ["deploy=replay", f"deploy.table={TABLE}", "gpus=h100_8x", "workload=demo"]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sweep of two trials that no store has heard of."""
    folder = tmp_path_factory.mktemp("swept") / "s"
    with compose.hydra_on(None) as hydra:
        prepared = prepare(hydra, [*BASE, "parallel=tp2,tp4"], multirun=True)
    settings = Settings(
        name="s",
        folder=folder,
        config=prepared.config,
        inventory=prepared.inventory,
        command=(),
        varied=prepared.varied,
        env={},
        candidates=prepared.candidates,
    )
    sweep = Sweep(settings)
    with activate(sweep):
        sweep.begin()
        scheduler = Scheduler(sweep)
        for candidate in settings.candidates:
            scheduler.submit(candidate)
        while scheduler.wait_any() is not None:
            pass
        _finish(sweep)
    sweep.close()
    return folder


class Growing:
    """A mirror over a copy of that sweep's journal, which grows as told; waiting takes no time."""

    def __init__(self, swept: Path, place: Path, *, uri: str, wait: Callable[[float], object]) -> None:
        self.lines = (swept / "journal.jsonl").read_bytes().splitlines(keepends=True)
        self.path = place / "growing.jsonl"
        self.path.touch()
        self.told: list[str] = []
        self.stop = threading.Event()
        self.mirror = MlflowMirror(
            Store(uri=uri, experiment="e", folder=swept),
            journal=self.path,
            tell=self.told.append,
            stop=self.stop,
            wait=wait,
        )

    def grow(self, count: int) -> None:
        """Write the next events."""
        for line in self.lines[:count]:
            with self.path.open("ab") as file:
                file.write(line)
            self.mirror.follow(json.loads(line))
        del self.lines[:count]

    def finish(self) -> None:
        """Write the rest, and end the sweep."""
        self.grow(len(self.lines))
        self.mirror.close()


def contents(database: Path) -> list[dict[str, Any]]:
    """Everything that counts of every run in a store, in the order of their names."""
    with closing(sqlite3.connect(database)) as store:
        rows = store.execute("select run_uuid, name, status, start_time, end_time from runs order by name")
        found = []
        for run_id, *run in rows.fetchall():
            tags = "select key, value from tags where run_uuid = ? and key like 'autotune.%' order by key"
            params = "select key, value from params where run_uuid = ? order by key"
            metrics = "select key, value, step, timestamp from metrics where run_uuid = ? order by 1, 3, 2"
            found.append(
                {
                    "run": run,
                    "tags": store.execute(tags, (run_id,)).fetchall(),
                    "params": store.execute(params, (run_id,)).fetchall(),
                    "metrics": store.execute(metrics, (run_id,)).fetchall(),
                }
            )
    return found


def no_wait(seconds: float) -> None:
    """A store that is there needs none."""
    raise AssertionError(seconds)


@pytest.fixture(scope="module")
def expected(
    swept: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What a store holds that was there all the time."""
    place = tmp_path_factory.mktemp("expected")
    shutil.copy(empty_store, place / "mlflow.db")
    growing = Growing(swept, place, uri=f"sqlite:///{place}/mlflow.db", wait=no_wait)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        growing.mirror.start()
        growing.finish()
    assert (growing.mirror.problem, growing.told) == (None, [])
    found = contents(place / "mlflow.db")
    assert [item["run"][:2] for item in found] == [["tp2", "FINISHED"], ["tp4", "FINISHED"]]
    assert all(item["params"] and item["metrics"] for item in found)
    return found


def test_a_store_that_comes_back_in_the_middle_is_caught_up(
    swept: Path,
    expected: list[dict[str, Any]],
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Away from the start, tried again ever more rarely, told of twice; in the end all is there, once."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "store"
    folder.write_text("a file where the store's folder should be")
    delays: list[float] = []

    def wait(seconds: float) -> None:
        delays.append(seconds)
        if len(delays) == 7:
            folder.unlink()
            folder.mkdir()
            shutil.copy(empty_store, folder / "mlflow.db")

    growing = Growing(swept, tmp_path, uri=f"sqlite:///{folder}/mlflow.db", wait=wait)
    growing.grow(5)
    growing.mirror.start()
    until(lambda: len(growing.told) == 2)
    assert growing.lines
    growing.finish()
    assert growing.mirror.problem is None
    assert delays == [2, 4, 8, 16, 32, 60, 60]
    lost, back = growing.told
    assert "cannot be written (" in lost
    assert "is tried again until the sweep ends" in lost
    assert "is back: everything so far is written" in back
    assert contents(folder / "mlflow.db") == expected


@pytest.mark.parametrize(
    ("moment", "half"),
    [
        pytest.param("insert on runs", (False, False, False), id="before the run"),
        pytest.param("insert on params", (True, False, False), id="before its parameters"),
        pytest.param("insert on metrics", (True, True, False), id="before its metrics"),
        pytest.param("update on runs", (True, True, True), id="before its end"),
    ],
)
def test_what_was_half_written_is_completed(
    moment: str,
    half: tuple[bool, ...],
    swept: Path,
    expected: list[dict[str, Any]],
    empty_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The database refuses one step of a run, then takes it: no run, parameter or metric is there twice."""
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "mlflow.db"
    shutil.copy(empty_store, database)
    found: list[tuple[bool, ...]] = []

    def sql(text: str) -> None:
        with closing(sqlite3.connect(database)) as store:
            store.execute(text)
            store.commit()

    def wait(_seconds: float) -> None:
        runs = contents(database)
        found.append((bool(runs), *(any(run[part] for run in runs) for part in ("params", "metrics"))))
        sql("drop trigger refuses")

    sql(f"create trigger refuses before {moment} begin select raise(abort, 'the disk is away'); end")
    growing = Growing(swept, tmp_path, uri=f"sqlite:///{database}", wait=wait)
    growing.mirror.start()
    growing.finish()
    assert (growing.mirror.problem, found) == (None, [half])
    assert "the disk is away" in growing.told[0]
    assert contents(database) == expected


def test_a_store_that_is_away_to_the_end_costs_no_waiting(swept: Path, tmp_path: Path) -> None:
    """It is told of once, and the problem says how the results get there."""
    (tmp_path / "store").write_text("a file where the store's folder should be")
    growing = Growing(swept, tmp_path, uri=f"sqlite:///{tmp_path}/store/mlflow.db", wait=lambda _: None)
    growing.mirror.start()
    until(lambda: len(growing.told) == 1)
    growing.finish()
    assert len(growing.told) == 1
    assert growing.mirror.problem is not None
    assert "sweep.name=s sweep.resume=true writes them once the store is back" in growing.mirror.problem


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def test_a_store_that_hangs_does_not_keep_the_sweep_from_ending(
    swept: Path, tmp_path: Path, silent_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up after a bounded time without anything written, and nothing is said after that."""
    monkeypatch.setattr("autotune.track.mirror.PATIENCE_S", 0.5)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")
    threads = set(threading.enumerate())
    growing = Growing(swept, tmp_path, uri=silent_server, wait=lambda _: None)
    growing.mirror.start()
    growing.finish()
    problem = growing.mirror.problem
    assert problem is not None
    assert "it took nothing for 0.5 s" in problem
    until(lambda: set(threading.enumerate()) <= threads)
    assert (growing.mirror.problem, growing.told) == (problem, [])


class Told(StringIO):
    """Standard output that reacts to a text."""

    def __init__(self, text: str, react: Callable[[], None]) -> None:
        super().__init__()
        self._text, self._react = text, react

    def write(self, words: str) -> int:
        """Take it, and react the first time."""
        written = super().write(words)
        if self._react is not None and self._text in self.getvalue():
            react, self._react = self._react, None  # type: ignore[assignment]
            react()
        return written


def test_the_end_of_a_sweep_tells_where_the_results_are(
    empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that was away when the sweep began and is back when it ends: no word of unwritten results."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "store"
    folder.write_text("a file where the store's folder should be")

    def restore() -> None:
        folder.unlink()
        folder.mkdir()
        shutil.copy(empty_store, folder / "mlflow.db")

    out = Told("cannot be written", restore)
    monkeypatch.setattr(sys, "stdout", out)
    words = ["-m", *BASE, "sweep.name=s", "parallel=tp2,tp4", f"tracking.uri=sqlite:///{folder}/mlflow.db"]
    assert main(words) == 0
    assert "is back: everything so far is written" in out.getvalue()
    assert "NOT WRITTEN" not in out.getvalue()
    assert [item["run"][:2] for item in contents(folder / "mlflow.db")] == [
        ["tp2", "FINISHED"],
        ["tp4", "FINISHED"],
    ]
