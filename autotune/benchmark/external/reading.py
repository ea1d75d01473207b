"""Reports as files: what is missing or not whole is said in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autotune.benchmark.external.tool import UnreadableReport


def read_object(file: Path) -> dict[str, Any]:
    """Return the JSON object that a file holds. Raises: UnreadableReport."""
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise UnreadableReport(f"it left no {file.name}") from error
    except ValueError as error:
        raise UnreadableReport(f"{file.name} is not whole: {error}") from error
    if not isinstance(content, dict):
        raise UnreadableReport(f"{file.name} holds no object")
    return content
