"""What `reap` prints of what it found."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from autotune.cli import main
from autotune.process_table import CONTROLLER, labels


def test_a_line_tells_start_locks_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """GPUs whose locks the process inherited are named; a long command is shortened."""
    monkeypatch.chdir(tmp_path)
    trial = tmp_path / "outputs" / "s" / "trial-0"
    trial.mkdir(parents=True)
    (trial.parent / "locks").mkdir()
    env = {**os.environ, **labels(trial), CONTROLLER: "999999999.1"}
    with (trial.parent / "locks" / "GPU-7.lock").open("w") as lock:
        argv = ["sh", "-c", f"echo ready; exec sleep 600 # {'x' * 200}"]
        with subprocess.Popen(argv, env=env, pass_fds=[lock.fileno()], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            status = main(["reap", "outputs/s"])
            process.kill()
    assert status == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == str(trial)
    moment = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    assert re.match(
        rf"  process {process.pid}, {moment}, holds the lock of GPU-7: (sh -c .*\.\.\.|sleep 600)$", second
    )
    assert last == "to end these: python -m autotune reap --yes outputs/s"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        pytest.param(["--all"], "--all: no such option", id="unknown option"),
        pytest.param(["outputs/none"], "outputs/none: no such folder: give that of a sweep", id="no folder"),
    ],
)
def test_wrong_words_are_told(
    words: list[str],
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit status 2."""
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["reap", *words])
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2
    assert problem in capsys.readouterr().err
