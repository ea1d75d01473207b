"""Engines that answer: one process for each engine and kind of GPU, asked by lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from autotune.records import Inventory
from scripts.parser_check.models import model_folder
from scripts.parser_check.spaces import Planned

ROOT = Path(__file__).parents[2]
VERSIONS = {"vllm": "0.32.0", "sglang": "0.5.23"}
"""The versions that can run here; scripts/real-engine and scripts/sglang-parser install them."""
FOLDERS = {"vllm": "vllm-0.32.0", "sglang": "sglang-0.5.23-parser"}
TAIL = 2000  # characters of what an engine wrote that are shown when it dies


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredGpus:
    """The GPUs that an engine is told of."""

    name: str
    capability: float
    memory_gib: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine says of one command line; see `ask.py`."""

    accepted: bool
    stage: str
    error: str
    world_size: int | None
    world_size_across_dp: int | None
    changed: Mapping[str, Sequence[str]]


def command_of(planned: Planned, models: Path) -> tuple[str, ...]:
    """Return the command line that the engine is asked, with a model folder that exists and a port.

    What differs in names alone becomes equal.
    """
    path, plan = str(planned.model["path"]), planned.plan
    at = plan.argv.index(path) if path in plan.argv else -1
    folder = str(model_folder(planned.model, models))
    words = ["model" if word == plan.served_model else word for word in plan.argv]
    if at >= 0:
        words[at] = folder
    return tuple("8000" if word == "{port}" else word for word in words)


def ask(engine: str, gpus: DeclaredGpus, commands: Iterable[Sequence[str]]) -> Iterator[Answer]:
    """Yield an answer to each command line, in their order.

    Raises: RuntimeError if the engine dies, with the end of what it wrote.
    """
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        _process(engine, gpus, log.fileno()) as process,
    ):
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process without pipes")
        for number, argv in enumerate(commands):
            print(json.dumps({"id": number, "argv": list(argv)}), file=process.stdin, flush=True)
            line = process.stdout.readline()
            if not line:
                log.seek(0)
                raise RuntimeError(f"{engine} died over {' '.join(argv)}:\n{log.read()[-TAIL:]}")
            answer = json.loads(line)
            if answer.pop("id") != number:
                raise RuntimeError(f"{engine} answered out of order: {line}")
            yield Answer(**answer)
        process.stdin.close()


def _process(engine: str, gpus: DeclaredGpus, log: int) -> subprocess.Popen[str]:
    cache = _cache()
    python = cache / "engines" / FOLDERS[engine] / "bin" / "python"
    told = ["--gpu", gpus.name, "--capability", str(gpus.capability)]
    told += ["--memory-gib", str(gpus.memory_gib), "--count", str(gpus.count)]
    return subprocess.Popen(
        [str(python), "-m", "scripts.parser_check.ask", engine, *told],
        cwd=ROOT,
        env={**os.environ, "VLLM_CACHE_ROOT": str(cache / "engines" / "inspected"), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
    )


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("AUTOTUNE_CACHE") or home / "autotune")


def declared(inventory: Inventory) -> DeclaredGpus:
    """Return what an engine is told of a declared inventory.

    Raises: ValueError for GPUs without data-sheet figures.
    """
    gpu = inventory.gpus[0]
    if gpu.spec is None or gpu.compute_capability is None:
        raise ValueError(f"{gpu.model}: not declared with its memory and compute capability")
    return DeclaredGpus(
        name=gpu.model,
        capability=gpu.compute_capability,
        memory_gib=gpu.spec.memory_gib,
        count=len(inventory.gpus),
    )
