"""autotune: the inference-engine configuration that serves best under an SLO, with proof."""

from __future__ import annotations

import sys
from pathlib import Path

__version__ = "0.1.0"

# A bare checkout (nothing installed) finds its Hydra plugins beside the package.
_launchers = Path(__file__).resolve().parent.parent / "launchers"
if (_launchers / "hydra_plugins").is_dir() and str(_launchers) not in sys.path:
    sys.path.append(str(_launchers))
