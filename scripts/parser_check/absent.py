"""Modules that are not here and whose insides nothing uses: kernels, pictures."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import types
from collections.abc import Sequence
from typing import Any


class Absent(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports empty modules in place of those named, whose insides nothing here uses."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return a specification for a named module or anything below it."""
        mine = any(f"{fullname}.".startswith(f"{name}.") for name in self._names)
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True) if mine else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return the empty module."""
        return _Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Leave it empty."""


class _Empty(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012 (a package without a folder)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})
