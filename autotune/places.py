"""Where things are on this machine; imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

OUTPUTS = Path("outputs")
"""The folders of sweeps, in the working directory."""


def conf_dir() -> Path:
    """Return the folder of the presets: packaged, else the checkout's."""
    package = Path(__file__).resolve().parent
    return next(path for path in (package / "conf", package.parent / "conf") if path.is_dir())


def cache_dir() -> Path:
    """Return the user's cache of autotune: prepared engines and generated models."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("AUTOTUNE_CACHE") or f"{base}/autotune")


def local_store() -> Path:
    """Return the folder of the local MLflow store, in the working directory."""
    return Path("mlruns").resolve()
