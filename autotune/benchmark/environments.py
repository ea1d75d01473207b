"""Where the load clients of others are: each in a Python environment of its own.

`benchmark.venv` names one that the user made; without it the one counts that `doctor --install` made in the
user's cache. vLLM's client is a command of the engine's own program, and is where the engine is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from autotune.places import cache_dir
from autotune.schema import BenchmarkConfig

NATIVE = "native"
VLLM_BENCH = "vllm_bench"
VLLM = "vllm"

STAMP = "autotune-client.json"
"""Written last into a prepared environment: without it nothing in there counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientPackage:
    """A load client that can be installed: `name` as in `benchmark.kind`, `program` its console script.

    `pins` are what it does not run without. `size_gib` and `minutes` are what an installation takes.
    """

    name: str
    requirement: str
    program: str
    size_gib: float
    minutes: str
    pins: tuple[str, ...] = ()

    @property
    def version(self) -> str:
        """The pinned version."""
        return self.requirement.partition("==")[2]

    @property
    def distribution(self) -> str:
        """The name under which it is published."""
        return self.requirement.partition("==")[0]


CLIENTS: Mapping[str, ClientPackage] = {
    package.name: package
    for package in (
        ClientPackage(
            name="aiperf", requirement="aiperf==0.13.0", program="aiperf", size_gib=1.2, minutes="2 to 6"
        ),
        ClientPackage(
            name="guidellm",
            requirement="guidellm==0.8.1",
            program="guidellm",
            size_gib=5.9,
            minutes="5 to 20",
        ),
        ClientPackage(
            name="genai_bench",
            requirement="genai-bench==0.0.5",
            program="genai-bench",
            size_gib=1.3,
            minutes="3 to 10",
        ),
    )
}
"""The load clients that `doctor --install` makes environments for."""


def environment_of(kind: str) -> Path:
    """Return the folder of a client's prepared environment, whether it exists or not.

    Raises: KeyError for a client that has none.
    """
    return folder_of(CLIENTS[kind])


def folder_of(package: ClientPackage) -> Path:
    """Return where the prepared environment of that very version is."""
    return cache_dir() / "clients" / f"{package.distribution}-{package.version}"


def is_installed(venv: Path, kind: str) -> bool:
    """Whether a prepared environment is whole, and holds what is asked for today."""
    return is_whole(venv, CLIENTS[kind])


def is_whole(venv: Path, package: ClientPackage) -> bool:
    """Whether an environment was made for that package to its end, and its program is there."""
    try:
        stamp = json.loads((venv / STAMP).read_text())
    except (OSError, ValueError):
        return False
    return stamp == stamp_of(package) and os.access(venv / "bin" / package.program, os.X_OK)


def stamp_of(package: ClientPackage) -> dict[str, object]:
    """Return what the stamp of a whole environment says."""
    return {"v": 1, "requirements": [package.requirement, *package.pins]}


def version_in(venv: Path, distribution: str) -> str | None:
    """Return the version of a package in an environment, from its metadata's name; None: not there."""
    name = distribution.replace("-", "_")
    found = sorted(venv.glob(f"lib/python3*/site-packages/{name}-*.dist-info"))
    return found[-1].name.removesuffix(".dist-info").rpartition("-")[2] if found else None


def program_of(config: BenchmarkConfig) -> Path | None:
    """Return the program of a client in its environment; None: not there, or `native`, which has none."""
    if config.kind == VLLM_BENCH:
        return _vllm(config)
    if config.kind not in CLIENTS:
        return None
    package = CLIENTS[config.kind]
    venv = environment_of(config.kind) if config.venv is None else given_venv(config.venv)
    program = venv / "bin" / package.program
    if config.venv is None and not is_whole(venv, package):
        return None
    return program if os.access(program, os.X_OK) else None


def given_venv(folder: str) -> Path:
    """Return a user's environment as a path; not resolved: it knows itself by the path it is called under."""
    return Path(folder).expanduser().absolute()


def problems_of(config: BenchmarkConfig) -> list[str]:
    """Return why the load client cannot be run here, and how it can."""
    if config.kind == NATIVE:
        unused = f"benchmark.venv={config.venv}: benchmark=native is part of autotune: leave it out"
        return [] if config.venv is None else [unused]
    if config.kind not in {*CLIENTS, VLLM_BENCH} or program_of(config) is not None:
        return []  # an unknown one is refused with the known ones elsewhere
    if config.venv is not None:
        return [_not_in(config.venv, config.kind)]
    if config.kind == VLLM_BENCH:
        return [
            f"benchmark.kind={VLLM_BENCH}: no program {VLLM!r} in {cache_dir() / 'engines'} or on PATH: it "
            "comes with vLLM: set benchmark.venv to the environment that vLLM is in"
        ]
    package = CLIENTS[config.kind]
    half = environment_of(config.kind).exists()
    state = "is not whole" if half else "is not installed"
    return [
        f"benchmark.kind={config.kind}: {package.requirement} {state} in {environment_of(config.kind)}: "
        f"python -m autotune doctor --install {config.kind} makes it ({package.size_gib:g} GiB), or give "
        "benchmark.venv=FOLDER of a Python environment that has it"
    ]


def _not_in(folder: str, kind: str) -> str:
    """What a user's environment lacks."""
    if not os.access(given_venv(folder) / "bin" / "python", os.X_OK):
        return (
            f"benchmark.venv={folder}: no Python environment, bin/python is missing: give the folder that "
            "python -m venv made"
        )
    what = "vllm" if kind == VLLM_BENCH else CLIENTS[kind].requirement
    program = VLLM if kind == VLLM_BENCH else CLIENTS[kind].program
    make = "" if kind == VLLM_BENCH else f", or leave it out: python -m autotune doctor --install {kind}"
    return f"benchmark.venv={folder}: no program bin/{program}: install {what} there{make}"


def _vllm(config: BenchmarkConfig) -> Path | None:
    """The engine's program: in the given environment, else in the newest prepared one, else on PATH."""
    if config.venv is not None:
        places = [given_venv(config.venv) / "bin" / VLLM]
    else:
        found = (cache_dir() / "engines").glob(f"vllm-*/bin/{VLLM}")
        prepared = sorted(found, key=_release, reverse=True)
        on_path = shutil.which(VLLM)
        places = [*prepared, *([Path(on_path)] if on_path else [])]
    return next((place for place in places if os.access(place, os.X_OK)), None)


def _release(program: Path) -> list[int]:
    """The numbers in the name of its environment: 0.32.0 is newer than 0.9.2."""
    return [int(number) for number in re.findall(r"\d+", program.parents[1].name)]
