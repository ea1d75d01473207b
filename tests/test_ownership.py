"""One process at a time works on a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autotune.errors import ConfigError, InfrastructureError
from autotune.ownership import held, own

HOLD = (
    "import sys, time; from pathlib import Path; from autotune.ownership import own;"
    "own(Path(sys.argv[1])); print('held', flush=True); time.sleep(600)"
)


def test_the_lock_goes_with_the_process(tmp_path: Path) -> None:
    """Held while it runs, refused to others, free after kill -9."""
    folder = tmp_path / "s"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    argv = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert held(folder)
        with pytest.raises(ConfigError, match="another process works on this sweep: wait for its end"):
            own(folder)
        other.kill()
    assert not held(folder)
    os.close(own(folder))


def test_nobody_works_on_what_is_not_there(tmp_path: Path) -> None:
    """Neither without a folder nor without a lock in it."""
    assert not held(tmp_path / "none")
    assert not held(tmp_path)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """The operator can mend it."""
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match=r"cannot write .*file"):
        own(tmp_path / "file")
