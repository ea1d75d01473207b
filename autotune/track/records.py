"""Plans and outcomes as the journal writes them, and the parameters that MLflow shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autotune.deploy.protocol import Ready, Started
from autotune.failures.retry import kind_of
from autotune.records import (
    Candidate,
    Inventory,
    Lease,
    Load,
    Measurement,
    Memory,
    Outcome,
    Plan,
)
from autotune.schema import Config
from autotune.track.judged import asked_record, verdict_record
from autotune.track.noise import noise_record

GROUPS = ("runtime", "model", "quant", "parallel", "serving", "workload", "benchmark", "deploy")
"""Groups whose preset's name is a parameter; the fields of the middle four are parameters too."""

DETAILED = ("quant", "parallel", "serving", "workload")


def beginning_record(config: Config, inventory: Inventory, *, simulated: bool) -> dict[str, Any]:
    """Return the fields of `sweep_started` that stay the same over the whole sweep."""
    return {
        "objective": {
            "metric": config.objective.metric,
            "direction": config.objective.direction.value,
            "load": config.objective.load,
        },
        "inventory": {
            "kind": inventory.kind.value,
            "gpus": [{"uuid": g.uuid, "model": g.model, "node": g.node} for g in inventory.gpus],
        },
        "simulated": simulated,
        "slo": asked_record(config.slo),
    }


def plan_record(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain data."""
    return {
        "runtime": plan.runtime,
        "runtime_version": plan.runtime_version,
        "prefix": list(plan.prefix),
        "argv": list(plan.argv),
        "env": dict(plan.env),
        "files": dict(plan.files),
        "gpus": plan.gpus,
        "world_size": plan.world_size,
        "image": plan.image,
        "signature": plan.signature,
        "memory": memory_record(plan.memory),
        "notes": list(plan.notes),
    }


def memory_record(memory: Memory | None) -> dict[str, Any]:
    """Return a memory estimate as plain data; null is unknown."""
    unknown = Memory(weights_gib=None, kv_cache_gib=None, per_gpu_gib=None, fits=None)
    record = asdict(memory or unknown)
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in record.items()}


def server_record(started: Started) -> dict[str, Any]:
    """Return the fields of `server_started`."""
    return {**asdict(started), "scratch": str(started.scratch)}


def ready_record(ready: Ready) -> dict[str, Any]:
    """Return the fields of `server_ready`."""
    return {
        "startup_s": ready.startup_s,
        "phases": dict(ready.phases),
        "engine_version": ready.engine_version,
        "simulated": ready.simulated,
        "url": ready.endpoint.url,
    }


def measured_record(measurement: Measurement) -> dict[str, Any]:
    """Return the fields of `measured`."""
    return {
        "load": load_record(measurement.load),
        "repeat": measurement.repeat,
        "metrics": dict(measurement.metrics),
        "requests_completed": measurement.requests_completed,
        "requests_failed": measurement.requests_failed,
        "errors": dict(measurement.errors),
        "duration_s": measurement.duration_s,
        "client_bound": list(measurement.client_bound),
    }


def finished_record(outcome: Outcome) -> dict[str, Any]:
    """Return the fields of `trial_finished`."""
    best = outcome.best
    return {
        "status": outcome.status.value,
        "failure": asdict(outcome.failure) if outcome.failure else None,
        "infeasible": outcome.failure is not None and kind_of(outcome.failure.kind).infeasible,
        "load": load_record(best.load) if best else None,
        "metrics": dict(best.metrics) if best else {},
        **noise_record(best),
        "slo": verdict_record(best),
        "score": best.score if best and best.ranks else None,
        "by_load": [
            {
                "load": load_record(item.load),
                "score": item.score,
                "metrics": dict(item.metrics),
                **noise_record(item),
                "slo": verdict_record(item),
            }
            for item in outcome.results
        ],
        "startup_s": outcome.startup_s,
        "trial_s": outcome.trial_s,
        "gpu_seconds": outcome.gpu_seconds,
        "engine_version": outcome.engine_version,
        "image_digest": outcome.image_digest,
        "notes": list(outcome.notes),
    }


def started_record(attempt: int, lease: Lease) -> dict[str, Any]:
    """Return the fields of `trial_started`."""
    uuids, indices = [gpu.uuid for gpu in lease.gpus], [gpu.index for gpu in lease.gpus]
    return {"attempt": attempt, "lease": {"node": lease.node, "gpus": uuids, "indices": indices}}


def attempt_record(attempt: int, outcome: Outcome, again_in_s: float) -> dict[str, Any]:
    """Return the fields of `attempt_failed`; its evidence is in the log as the next attempt renames it."""
    failure = asdict(outcome.failure) if outcome.failure else None
    if failure is not None:
        failure["evidence"] = failure["evidence"].replace("engine.log:", f"engine.attempt-{attempt}.log:", 1)
    return {
        "attempt": attempt,
        "failure": failure,
        "again_in_s": again_in_s,
        "trial_s": outcome.trial_s,
        "gpu_seconds": outcome.gpu_seconds,
    }


def trial_params(candidate: Candidate, config: Config, plan: Plan, inventory: Inventory) -> dict[str, str]:
    """Return the resolved choices, by the names of contract section 3."""
    params = {group: candidate.choices[group] for group in GROUPS if group in candidate.choices}
    for group in DETAILED:
        params |= _flat(group, candidate.config[group])
    for inner in ("sampling", "extra_body"):
        params.pop(f"workload.{inner}", None)
        params |= _flat(f"workload.{inner}", candidate.config["workload"].get(inner, {}))
    params |= _flat("runtime.args", config.runtime.args)
    return params | {
        "runtime.version": plan.runtime_version,
        "model.path": config.model.path,
        "workload.lengths": plan.wording.lengths.value,
        **_flat("workload", {"file_sha256": config.workload.file_sha256}),
        "gpu.model": inventory.model,
        "gpu.count": str(plan.gpus),
        "gpu.world_size": str(plan.world_size),
        "argv": " ".join(plan.argv),
    }


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, str]:
    return {f"{prefix}.{name}": str(value) for name, value in values.items() if value is not None}


def label_of(candidate: Candidate, varied: Sequence[str]) -> str:
    """Return the values that vary, `vllm · tp2 · default`; a swept argument with its name."""
    values = {
        key.lstrip("+"): value
        for key, _, value in (override.partition("=") for override in candidate.overrides)
    }
    names = [key for key in varied if key in values] or [
        key for key in ("runtime", "parallel") if key in candidate.choices
    ]
    return " · ".join(_label(key, values.get(key) or candidate.choices.get(key, "")) for key in names)


def _label(key: str, value: str) -> str:
    return f"{key.rpartition('.')[2]}={value}" if "." in key else value


def load_record(load: Load) -> dict[str, Any]:
    """Return a load as plain data."""
    return {"mode": load.mode.value, "value": load.value}


def write_measurements(folder: Path, measurements: Sequence[Measurement]) -> None:
    """Write `measurements.json`: every measurement with the per-request records, which it replaces.

    It is there as a whole or not at all.
    """
    if not measurements:
        return
    rows = [
        {
            "load": load_record(item.load),
            "repeat": item.repeat,
            "metrics": dict(item.metrics),
            "errors": dict(item.errors),
            "duration_s": item.duration_s,
            "client_bound": list(item.client_bound),
            "requests": json.loads(item.raw.read_text()) if item.raw else [],
        }
        for item in measurements
    ]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "measurements.json"
    part = file.with_suffix(".part")
    part.write_text(json.dumps(rows))
    part.replace(file)
    for item in measurements:
        if item.raw is not None:
            item.raw.unlink()
