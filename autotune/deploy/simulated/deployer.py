"""Starts the stand-in engine as a process, with the plan's own argv."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from autotune.deploy.process import start_process
from autotune.deploy.program import unused_problems
from autotune.deploy.protocol import Order, Server
from autotune.records import Candidate, Gpu, Plan
from autotune.schema import Config, ModelConfig

FACTS = (
    "params",
    "layers",
    "hidden_size",
    "heads",
    "kv_heads",
    "head_dim",
    "intermediate_size",
    "vocab_size",
    "max_model_len",
)


UNTIMED = ("attn_dp", "ep", "dcp", "cp")
"""Parallelism that the simulated engine accepts and whose times it does not know."""


class SimulatedDeployer:
    """Runs the simulated engine; everything it yields is marked simulated."""

    stand_in = True
    recorded = False

    def problems(self, candidate: Candidate, config: Config, plan: Plan) -> list[str]:
        """Return what the cost model lacks: a model of its kind, architecture facts, data-sheet figures."""
        problems = _beyond(config.model)
        missing = [name for name in FACTS if getattr(config.model, name) is None]
        if missing and not problems:
            keys = ", ".join(f"model.{name}" for name in missing)
            problems.append(f"deploy=simulated needs {keys}: choose a model preset that gives them")
        untimed = [name for name in UNTIMED if getattr(config.parallel, name) > 1]
        if untimed:
            keys = ", ".join(f"parallel.{name}" for name in untimed)
            problems.append(
                f"deploy=simulated: the cost model has no times for {keys}: every value would tie"
            )
        if config.gpus.spec is None:
            problems.append(
                "deploy=simulated needs data-sheet figures of the GPUs: choose a declared "
                "inventory such as gpus=h100_8x"
            )
        if config.deploy.url is not None:
            problems.append("deploy.url: measures an engine that someone else runs: use deploy=process")
        return [*problems, *unused_problems(config, "deploy=simulated starts no engine's program")]

    def start(self, order: Order) -> Server:
        """Start the stand-in engine with the engine's own command line."""
        order.folder.mkdir(parents=True, exist_ok=True)
        spec = order.folder / "simulated.json"
        spec.write_text(json.dumps(specification(order.config, order.plan, order.lease.gpus)))
        wrapper = [sys.executable, "-m", "autotune.deploy.simulated", "--spec", str(spec), "--"]
        return start_process(_importable(order), [*wrapper, *order.plan.argv])


def _beyond(model: ModelConfig) -> list[str]:
    """What the model has that the cost model does not know."""
    stored = model.stored.method
    kinds = [
        f"{model.experts} experts" if model.experts else "",
        "one latent for all KV heads (MLA)" if model.kv_lora_rank is not None else "",
        f"{stored} weights" if stored not in {None, "none"} else "",
    ]
    beyond = ", ".join(filter(None, kinds))
    if not beyond:
        return []
    return [
        "deploy=simulated: the cost model knows dense models with 16-bit weights only; "
        f"{model.path} has {beyond}: choose another, such as model=llama3_1_8b"
    ]


def specification(config: Config, plan: Plan, gpus: tuple[Gpu, ...]) -> dict[str, Any]:
    """Return what stands for the hardware and the model files: facts, never our mapping."""
    spec = gpus[0].spec if gpus else None
    return {
        "engine": plan.runtime,
        "version": plan.runtime_version,
        "gpu": asdict(spec) if spec else {},
        "gpu_model": gpus[0].model if gpus else "",
        "gpus_visible": len(gpus),
        "model": model_facts(config.model),
        "startup_s": config.deploy.startup_s,
    }


def model_facts(model: ModelConfig) -> dict[str, int]:
    """Return the architecture facts that the cost model needs."""
    return {name: getattr(model, name) for name in FACTS}


def _importable(order: Order) -> Order:
    """A bare checkout is found by the child as well."""
    root = str(Path(__file__).resolve().parents[3])
    path = os.pathsep.join(filter(None, [root, order.env.get("PYTHONPATH", "")]))
    return replace(order, env={**order.env, "PYTHONPATH": path})
