"""`python -m autotune ui`: MLflow's own UI on the store that sweeps write to."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from autotune.places import local_store


def open_ui(port: int, uris: Sequence[str]) -> str | None:
    """Serve the UI on 127.0.0.1 until Ctrl-C; return what is wrong instead, if something is."""
    uri = uris[-1] if uris else f"sqlite:///{local_store()}/mlflow.db"
    if uri.startswith(("http://", "https://")):
        return f"tracking.uri={uri} is a server: open it in a browser"
    if not uris and not (local_store() / "mlflow.db").exists():
        return (
            f"{local_store()}/mlflow.db: no store yet: run a sweep first, in this folder, "
            "or name a store with tracking.uri=URI"
        )
    where = ["--backend-store-uri", uri, "--host", "127.0.0.1", "--port", str(port)]
    print(f"MLflow on http://127.0.0.1:{port} (about 20 s to start; Ctrl-C ends it)")  # noqa: T201
    try:
        subprocess.run([sys.executable, "-m", "mlflow", "ui", *where, "--workers", "1"], check=False)
    except KeyboardInterrupt:
        return None
    return None
