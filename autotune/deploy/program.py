"""The program of an engine: which one, in whose Python environment, behind which prefix.

* `deploy.venv` is a Python environment: the engine runs in it, as after `activate`.
* `deploy.bin` is a folder with a program that brings what it needs: a wrapper, a build.
* With neither, an environment that autotune prepared, else what is on PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autotune.places import cache_dir
from autotune.schema import Config

PYTHON_OF_OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""What says where the controller's Python finds its modules; an environment of its own has its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """An engine's program; `venv` is the Python environment that it belongs to, None: none that is known."""

    path: Path
    venv: Path | None = None


def find_program(name: str, config: Config) -> Program | None:
    """Return the engine's program; None if there is none, or it cannot be executed."""
    if config.deploy.venv is not None:
        venv = _absolute(config.deploy.venv)
        places = [Program(path=venv / "bin" / name, venv=venv)]
    elif config.deploy.bin is not None:
        places = [Program(path=_absolute(config.deploy.bin) / name)]
    else:
        prepared = cache_dir() / "engines" / f"{config.runtime.kind}-{config.runtime.version}"
        on_path = shutil.which(name)
        places = [
            Program(path=prepared / "bin" / name, venv=prepared),
            *([Program(path=Path(on_path))] if on_path else []),
        ]
    return next((place for place in places if os.access(place.path, os.X_OK)), None)


def program_problems(name: str, config: Config) -> list[str]:
    """Return that the engine's program is missing, where it was looked for, and how to get it."""
    deploy = config.deploy
    if deploy.venv is not None and deploy.bin is not None:
        return [
            f"deploy.venv={deploy.venv} and deploy.bin={deploy.bin}: both say where the engine's program is: "
            "give deploy.venv for a Python environment, deploy.bin for a program that needs none"
        ]
    if deploy.venv is not None and not os.access(_absolute(deploy.venv) / "bin" / "python", os.X_OK):
        return [
            f"deploy.venv={deploy.venv}: no Python environment, bin/python is missing: "
            "give the folder that python -m venv made"
        ]
    if find_program(name, config) is not None:
        return []
    where = deploy.venv or deploy.bin or f"{cache_dir() / 'engines'} and PATH"
    key = "deploy.bin to its folder" if deploy.bin is not None else "deploy.venv to its environment"
    made = "; sh scripts/real-engine prepares vLLM 0.32.0 for a CPU" if config.runtime.kind == "vllm" else ""
    return [
        f"runtime={config.runtime.kind}: no program {name!r} (version {config.runtime.version}) in {where}: "
        f"install the engine and set {key}{made}"
    ]


def prefix_problems(name: str, config: Config) -> list[str]:
    """Return that the first word of `deploy.prefix` is no program, looked for as the engine's start will."""
    prefix = list(config.deploy.prefix)
    path = environment(os.environ, config.runtime.env, find_program(name, config)).get("PATH")
    if not prefix or shutil.which(prefix[0], path=path) is not None:
        return []
    return [
        f"deploy.prefix={prefix}: no program {prefix[0]!r} on PATH: install it, give its full path, "
        "or leave deploy.prefix empty"
    ]


def unused_problems(config: Config, why: str) -> list[str]:
    """Return that fields about the engine's program are given where none is started from them, and `why`."""
    given = [name for name in ("prefix", "venv") if getattr(config.deploy, name)]
    return [f"deploy.{name}={getattr(config.deploy, name)}: {why}: leave it out" for name in given]


def environment(ours: Mapping[str, str], own: Mapping[str, str], program: Program | None) -> dict[str, str]:
    """Return an engine's environment: ours, its `own` over it; in a Python environment as after `activate`.

    Helpers that come with the engine (ninja, nvcc) are found first.
    """
    env = dict(ours)
    if program is not None and program.venv is not None:
        env = {name: value for name, value in env.items() if name not in PYTHON_OF_OURS}
        env["VIRTUAL_ENV"] = str(program.venv)
    env |= own
    if program is not None:
        env["PATH"] = f"{program.path.parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    return env


def _absolute(folder: str) -> Path:
    """Not resolved: a Python environment knows itself by the path under which it is called."""
    return Path(folder).expanduser().absolute()
