"""`doctor --install`: a whole environment or none, whoever interrupts it and however many ask for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.benchmark.environments import STAMP, folder_of, is_whole, version_in
from autotune.cli import main
from autotune.doctor.install import run_install
from tests.shop import ROOT, until
from tests.standins.client_package import GO, PACKAGE, STARTED, make_archive, offline

CALL = (
    "import sys; from autotune.doctor.install import run_install; "
    "from tests.standins.client_package import PACKAGE; "
    "sys.exit(run_install('standin', clients={'standin': PACKAGE}))"
)


class Place:
    """A cache and a folder of packages of a test's own."""

    def __init__(self, folder: Path) -> None:
        self.packages, self.cache = folder / "packages", folder / "cache"
        self.started, self.go = folder / "started", folder / "go"
        self.started.touch()

    @property
    def env(self) -> dict[str, str]:
        """Builds wait for the file `go`."""
        env = offline(self.packages, self.cache)
        return {**env, "PYTHONPATH": str(ROOT), STARTED: str(self.started), GO: str(self.go)}

    def start(self) -> subprocess.Popen[str]:
        """Start an installation as a user would; its output is a pipe, line by line."""
        argv = [sys.executable, "-u", "-c", CALL]
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, cwd=ROOT, env=self.env, stdout=pipe, stderr=pipe, text=True)

    def builders(self) -> list[int]:
        """The processes that built the package, in their order."""
        return [int(line) for line in self.started.read_text().split()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The place, also for this process."""
    made = Place(tmp_path)
    make_archive(made.packages)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in offline(made.packages, made.cache).items():
        monkeypatch.setenv(name, value)
    return made


def lines_until(process: subprocess.Popen[str], words: str) -> str:
    """Read what it prints until it says that; a process that ends without fails the test."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if words in line:
            return read
    pytest.fail(f"{words!r} was never said: {read}")


def is_gone(pid: int) -> bool:
    """Whether no such process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["--install", "guidelm"], "--install guidelm: must be one of aiperf, guidellm, genai_bench", id="unknown"),
        pytest.param(["--install"], "--install without a name: must be one of aiperf, guidellm, genai_bench", id="no name"),
        pytest.param(["--install", "native"], "native is part of autotune", id="native"),
        pytest.param(["--install", "vllm_bench"], "comes with the engine: set benchmark.venv", id="the engine's own"),
        pytest.param(["--install", "aiperf", "gpus=cpu"], "takes one client and nothing else", id="overrides"),
        pytest.param(["--install", "aiperf", "--interference"], "takes one client and nothing else", id="other options"),
        pytest.param(["-m", "--install", "aiperf"], "takes one client and nothing else", id="-m"),
    ],
)  # fmt: skip
def test_what_is_refused(
    words: list[str], expected: str, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, what is known, and nothing is made."""
    assert main(["doctor", *words]) == 2
    assert expected in capsys.readouterr().err
    assert not place.cache.exists()


@pytest.mark.usefixtures("place")
def test_a_client_is_installed_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Its program runs in an environment of its own, a half-made one is replaced, and again is nothing to do."""
    venv = folder_of(PACKAGE)
    program = venv / "bin" / PACKAGE.program
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert not is_whole(venv, PACKAGE)
    assert run_install("standin", clients={"standin": PACKAGE}) == 0
    out = capsys.readouterr().out
    assert "what is left of an earlier installation is removed" in out
    assert "installing standin-client==1.0 ..." in out
    assert f"standin-client==1.0 is ready in {venv} (" in out
    assert "use it with benchmark=standin" in out
    assert is_whole(venv, PACKAGE)
    assert version_in(venv, PACKAGE.distribution) == "1.0"
    assert subprocess.check_output([program], text=True) == "usage: standin-client\n"
    assert not (venv / "downloads").exists()
    assert "Successfully installed standin-client-1.0" in venv.with_name(f"{venv.name}.log").read_text()
    before = (venv / STAMP).stat().st_mtime_ns
    assert run_install("standin", clients={"standin": PACKAGE}) == 0
    assert f"is installed already in {venv}: nothing to do" in capsys.readouterr().out
    assert (venv / STAMP).stat().st_mtime_ns == before
    assert not is_whole(venv, replace(PACKAGE, pins=("another==2",)))


def test_two_at_once(place: Place) -> None:
    """The second waits for the first, and has nothing left to do: the package is built once."""
    with place.start() as first:
        until(lambda: len(place.builders()) == 1)
        with place.start() as second:
            lines_until(second, "another installation of standin-client==1.0 is running: waiting for it")
            place.go.touch()
            out, err = first.communicate(timeout=60)
            told, wrong = second.communicate(timeout=60)
    assert (first.returncode, err, second.returncode, wrong) == (0, "", 0, "")
    assert "is ready in" in out
    assert "was installed meanwhile" in told
    assert len(place.builders()) == 1
    assert is_whole(folder_of(PACKAGE), PACKAGE)


def test_an_interruption_leaves_nothing(place: Place) -> None:
    """Exit status 130, no process of pip's runs, and nothing is where the environment was to be."""
    with place.start() as process:
        until(lambda: len(place.builders()) == 1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopping: what is half installed is removed" in out
    assert err == "interrupted: nothing of standin-client==1.0 is left installed\n"
    until(lambda: is_gone(place.builders()[0]))
    assert not folder_of(PACKAGE).exists()


def test_who_waits_can_be_interrupted(place: Place) -> None:
    """It ends, and the installation that it waited for goes on."""
    with place.start() as first:
        until(lambda: len(place.builders()) == 1)
        with place.start() as second:
            lines_until(second, "waiting for it")
            second.send_signal(signal.SIGTERM)
            second.communicate(timeout=60)
        assert second.returncode == 130
        place.go.touch()
        first.communicate(timeout=60)
    assert first.returncode == 0
    assert is_whole(folder_of(PACKAGE), PACKAGE)


def test_a_killed_one_is_made_anew(place: Place) -> None:
    """What it started still holds the lock; once that has ended, all is made anew."""
    with place.start() as first:
        until(lambda: len(place.builders()) == 1)
        first.kill()
        first.communicate(timeout=60)
    assert not is_gone(place.builders()[0])
    with place.start() as second:
        lines_until(second, "waiting for it")
        place.go.touch()
        out, err = second.communicate(timeout=60)
    assert (second.returncode, err) == (0, "")
    assert "what is left of an earlier installation is removed" in out
    assert len(place.builders()) == 2
    assert is_whole(folder_of(PACKAGE), PACKAGE)


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        pytest.param({"PIP_FIND_LINKS": ""}, "pip finds no such packages for Python", id="not there"),
        pytest.param(
            {"PIP_NO_INDEX": "0", "PIP_INDEX_URL": "http://127.0.0.1:1/simple", "PIP_RETRIES": "1"},
            "the package index does not answer: look at the network",
            id="no network",
        ),
    ],
)
@pytest.mark.usefixtures("place")
def test_packages_that_cannot_be_had(
    index: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit status 1, why, the log's last lines, and nothing is left."""
    for name, value in {"PIP_FIND_LINKS": "", **index}.items():
        monkeypatch.setenv(name, value)
    assert run_install("standin", clients={"standin": PACKAGE}) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: standin is not installed: installing standin-client==1.0: exit status 1: ")
    assert expected in err
    assert f"the last lines of {folder_of(PACKAGE)}.log:" in err
    assert "  ERROR: No matching distribution found for standin-client==1.0" in err
    assert "Traceback" not in err
    assert not folder_of(PACKAGE).exists()


def test_a_program_that_does_not_start(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """It is not installed then, and its last words are shown."""
    make_archive(place.packages, "def main():\n    raise SystemExit('no libfoo here')\n")
    assert run_install("standin", clients={"standin": PACKAGE}) == 1
    err = capsys.readouterr().err
    assert "error: standin is not installed: starting standin-client: exit status 1" in err
    assert "  no libfoo here" in err
    assert not folder_of(PACKAGE).exists()


@pytest.mark.usefixtures("place")
def test_a_disk_that_is_too_small(capsys: pytest.CaptureFixture[str]) -> None:
    """It is told before anything is downloaded."""
    assert run_install("standin", clients={"standin": replace(PACKAGE, size_gib=1e9)}) == 1
    assert "GiB left, standin-client==1.0 needs 1000000000.5: free some" in capsys.readouterr().err
    assert not folder_of(PACKAGE).exists()
