"""What tests share: whole sweeps in a shop, an MLflow store made once and copied, a stand-in driver."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autotune.gpus.nvml import DRIVER
from tests.shop import Shop
from tests.standins.nvml.driver import VARIABLE, StandInDriver, build, load

pytest.register_assert_rewrite("tests.contracts")

MAKE = "from mlflow.tracking import MlflowClient; MlflowClient(tracking_uri='sqlite:///mlflow.db').search_experiments()"


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a new store, without a run."""
    folder = tmp_path_factory.mktemp("store")
    subprocess.run([sys.executable, "-c", MAKE], cwd=folder, check=True, capture_output=True)
    return folder / "mlflow.db"


@pytest.fixture
def with_store(empty_store: Path) -> Callable[[Path], Path]:
    """Give a working directory an empty store."""

    def give(folder: Path) -> Path:
        (folder / "mlruns").mkdir()
        shutil.copy(empty_store, folder / "mlruns" / "mlflow.db")
        return folder

    return give


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a stand-in `libnvidia-ml.so.1`, built once."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def nvml(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInDriver]:
    """A stand-in driver for this process and, by its `env`, for others; no GPU until it is told of some."""
    driver = StandInDriver(folder=nvml_library, state=tmp_path / "nvml-state")
    monkeypatch.setenv(VARIABLE, str(driver.state))
    load(nvml_library)
    yield driver
    DRIVER.close()


@pytest.fixture
def shop(tmp_path: Path, with_store: Callable[[Path], Path]) -> Shop:
    """A working directory of its own, with a stand-in engine."""
    return Shop(with_store(tmp_path))
