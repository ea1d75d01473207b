"""The database of the local MLflow store."""

from __future__ import annotations

import fcntl
from pathlib import Path

NAME = "mlflow.db"


def ensure_database(root: Path) -> None:
    """Ensure that `root` has the database, whole.

    MLflow makes it in dozens of steps, and one that was killed between them can never be opened again.
    So it is made under another name first, by one process at a time.
    """
    from mlflow.tracking import MlflowClient

    database, part = root / NAME, root / f"{NAME}.part"
    if database.exists():
        return
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{NAME}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if database.exists():  # another process was faster
            return
        for rest in root.glob(f"{part.name}*"):  # of a killed one, with SQLite's own files beside it
            rest.unlink()
        MlflowClient(tracking_uri=f"sqlite:///{part}").search_experiments()
        part.replace(database)
