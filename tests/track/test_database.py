"""The local store is there as a whole or not at all."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.shop import until

PROGRAM = "import sys; from pathlib import Path; from autotune.track.database import ensure_database; ensure_database(Path(sys.argv[1]))"


def test_a_store_whose_maker_was_killed_is_made_anew(tmp_path: Path) -> None:
    """MLflow could never open the half of one; a whole one is left as it is."""
    root = tmp_path / "mlruns"
    argv = [sys.executable, "-c", PROGRAM, str(root)]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with subprocess.Popen(argv, env=env) as maker:
        until((root / "mlflow.db.part").exists)
        maker.kill()
    assert not (root / "mlflow.db").exists()
    (root / "mlflow.db.part").write_bytes(b"half of a database")
    subprocess.run(argv, env=env, check=True)
    assert {path.name for path in root.iterdir()} == {"mlflow.db", "mlflow.db.lock"}
    store = sqlite3.connect(root / "mlflow.db")
    assert store.execute("select name from experiments").fetchall() == [("Default",)]
    store.close()
    before = (root / "mlflow.db").stat().st_mtime_ns
    subprocess.run(argv, env=env, check=True)
    assert (root / "mlflow.db").stat().st_mtime_ns == before
