"""A disk that is full, before a sweep and in the middle of one. Needs root, for a file system of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.shop import Shop, until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small file system")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount an empty file system of so many MiB."""
    mounted: list[Path] = []

    def mount(mib: int) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", place], check=True)
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


def test_too_little_space_is_told_before_anything_starts(disk: Callable[[int], Path]) -> None:
    """Exit status 2, with the free space and the least that is needed."""
    shop = Shop(disk(20))
    status, out, err = shop.run(shop.words("sweep.name=s"))
    assert (status, out) == (2, "")
    assert "MiB left, at least 64 are needed: free some, or call autotune in another folder" in err
    assert not (shop.folder / "outputs").exists()


def test_a_disk_that_fills_ends_the_sweep_in_order(disk: Callable[[int], Path], empty_store: Path) -> None:
    """Exit status 1, one clear message, nothing left running, and what was written can be read."""
    shop = Shop(disk(80))
    (shop.folder / "mlruns").mkdir()
    shutil.copy(empty_store, shop.folder / "mlruns" / "mlflow.db")
    words = shop.words("sweep.name=s", "workload.requests_per_load=2000", "runtime.env.STANDIN_PAUSE=0.05")
    with shop.start(words) as process:
        until(lambda: any(event["event"] == "server_ready" for event in shop.events("s")))
        _fill(shop.folder)
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.match(r"error: (cannot write )?outputs/s/\S+: No space left on device", err)
    assert "sweep.name=s sweep.resume=true" in err
    assert "Traceback" not in err
    assert shop.left_over() == []
    assert [event["event"] for event in shop.events("s")][:2] == ["sweep_started", "trial_queued"]


def _fill(folder: Path) -> None:
    """Take all the space that is left, to the last byte."""
    with (folder / "filler").open("wb", buffering=0) as file:
        for size in (2**20, 2**12, 1):
            while _written(file.fileno(), size):
                pass


def _written(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, b"x" * size) == size
    except OSError:
        return False
