"""`resolve(config, inventory) -> Plan`: what would run, or every reason why it cannot. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

from autotune.errors import ConfigError
from autotune.plan import arguments, rules
from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.flags import FlagList, load_flags
from autotune.plan.runtimes.protocol import Mapped
from autotune.records import Inventory, Plan, Readiness
from autotune.schema import Config

# Set by autotune itself for each start; a user who sets one of them would measure another engine.
OWN_ARGS = {
    "host": "engines listen on 127.0.0.1",
    "port": "set deploy.port",
    "served_model_name": "set model.served_name",
    "model": "set model.path",
    "model_path": "set model.path",
}


def resolve(config: Config, inventory: Inventory) -> Plan:
    """Return the plan of a candidate; one that cannot run carries all its reasons.

    Raises: ConfigError if the runtime or its version is unknown.
    """
    if config.deploy.url is not None:
        return _foreign(config, inventory)
    if config.runtime.kind not in RUNTIMES:
        raise ConfigError([f"runtime.kind={config.runtime.kind}: must be one of {', '.join(RUNTIMES)}"])
    runtime = RUNTIMES[config.runtime.kind]
    flags = load_flags(config.runtime.kind, config.runtime.version)
    layout = runtime.layout(config.parallel)
    mapped = runtime.mapped(config, inventory)
    args, notes = _with_explicit(mapped, config.runtime.args)
    own = [f"runtime.args.{name}: {why}" for name, why in OWN_ARGS.items() if name in args]
    wrong = arguments.check(args, flags)
    layout_wrong = rules.layout_reasons(config, layout, inventory)
    return Plan(
        runtime=config.runtime.kind,
        runtime_version=config.runtime.version,
        argv=_argv(runtime.command(config.model.path), config, {} if own else args, flags),
        env=_environment(mapped, config),
        files={},
        gpus=layout.gpus,
        world_size=layout.world_size,
        image=config.runtime.image,
        readiness=runtime.readiness,
        served_model=served_name(config),
        signature=_signature(config, args, layout.gpus, inventory),
        reasons=(*mapped.reasons, *own, *wrong, *layout_wrong),
        notes=(*mapped.notes, *notes),
    )


def served_name(config: Config) -> str:
    """Return the model's name in the API: `model.served_name`, else its path."""
    return config.model.served_name or config.model.path


def _foreign(config: Config, inventory: Inventory) -> Plan:
    """The plan for an engine that someone else runs: nothing is started, so nothing is mapped."""
    gpus = config.gpus.count or 0
    return Plan(
        runtime=config.runtime.kind,
        runtime_version="unknown",
        argv=(),
        env={},
        files={},
        gpus=gpus,
        world_size=gpus,
        image="",
        readiness=Readiness(path="/v1/models"),
        served_model="",
        signature=_signature(config, {}, gpus, inventory),
        notes=(f"{config.deploy.url} is run by someone else: runtime, presets and version are theirs",),
    )


def _with_explicit(mapped: Mapped, explicit: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Explicit arguments win over mapped ones, and a note says so."""
    notes = [
        f"runtime.args.{name}={value} wins over {mapped.origin[name]} ({mapped.args[name]})"
        for name, value in explicit.items()
        if name in mapped.args and mapped.args[name] != value
    ]
    return {**mapped.args, **explicit}, notes


def _argv(
    command: Sequence[str], config: Config, args: Mapping[str, Any], flags: FlagList
) -> tuple[str, ...]:
    known = {name: value for name, value in args.items() if flags.find(arguments.option(name))}
    own: dict[str, Any] = {"served_model_name": served_name(config)}
    if config.model.trust_remote_code:
        own["trust_remote_code"] = True
    network = ["--host", "127.0.0.1", "--port", "{port}"]
    return (
        *command,
        *network,
        *arguments.command_line(own, flags),
        *arguments.command_line(known, flags),
    )


def _environment(mapped: Mapped, config: Config) -> dict[str, str]:
    """A local model needs no hub: the engine is told not to ask one."""
    local = PurePath(config.model.path).is_absolute()
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if local else {}
    return {**mapped.env, **offline, **config.runtime.env}


def _signature(config: Config, args: Mapping[str, Any], gpus: int, inventory: Inventory) -> str:
    """Equal exactly if the same engine runs on the same GPUs under the same traffic.

    Ports and paths of this host do not count; the order of arguments does not either.
    """
    local = PurePath(config.model.path).is_absolute()
    facts = {
        "engine": config.deploy.url or [config.runtime.kind, config.runtime.version],
        "image": config.runtime.image,
        "args": {name: value for name, value in args.items() if value is not None},
        "env": dict(config.runtime.env),
        "model": [
            PurePath(config.model.path).name if local else config.model.path,
            config.model.served_name,
        ],
        "trust_remote_code": config.model.trust_remote_code,
        "gpus": [inventory.model, gpus],
        "traffic": asdict(config.workload),
    }
    text = json.dumps(facts, sort_keys=True, default=lambda value: getattr(value, "value", str(value)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
