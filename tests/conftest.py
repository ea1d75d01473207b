"""What tests share: a shop for whole sweeps, and a store that is made once and copied, as that takes seconds."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shop import Shop

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


@pytest.fixture
def shop(tmp_path: Path, with_store: Callable[[Path], Path]) -> Shop:
    """A working directory of its own, with a stand-in engine."""
    return Shop(with_store(tmp_path))
