"""The files of a sweep, written as text."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from autotune.errors import InfrastructureError

MANY = 10_000  # nodes that are remembered

DISK_FULL_BYTES = 2**20
"""With less than this the files of a trial cannot be written."""


class ConfigText:
    """Writes configurations as YAML; nodes that candidates share, most of them, are written out once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[Any, str]] = {}  # the node too, so that no id is used again

    def __call__(self, config: Mapping[str, Any]) -> str:
        """Return a configuration as YAML."""
        return "".join(self._node(name, node) for name, node in config.items())

    def _node(self, name: str, node: Any) -> str:
        if not isinstance(node, dict):
            return to_yaml({name: node})
        key = (name, id(node))
        if key not in self._known:
            if len(self._known) >= MANY:
                self._known.clear()
            self._known[key] = (node, to_yaml({name: node}))
        return self._known[key][1]


def to_yaml(content: Any) -> str:
    """Return plain data as YAML, by libyaml where it is there: ten times as fast."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(content, Dumper=dumper, sort_keys=False))


def keep(path: Path, text: str) -> None:
    """Write a file of the sweep, whole or not at all.

    Raises: InfrastructureError if it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}") from error


def check_disk(folder: Path) -> None:
    """A trial that failed on a full disk failed for that, whatever it looks like; the next one would too."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if shutil.disk_usage(there).free < DISK_FULL_BYTES:
        raise InfrastructureError(f"{folder}: No space left on device: free some space")
