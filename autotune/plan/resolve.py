"""`resolve(config, inventory) -> Plan`: what would run, or every reason why it cannot. Pure."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

import yaml

from autotune.errors import ConfigError
from autotune.plan import arguments, consistency, rules, traffic
from autotune.plan.facts import Found
from autotune.plan.known import facts_of
from autotune.plan.memory import Judged, estimate
from autotune.plan.runtimes import RUNTIMES
from autotune.plan.runtimes.flags import FlagList, load_flags
from autotune.plan.runtimes.protocol import Mapped, Setup
from autotune.records import Inventory, Plan, Readiness, Wording
from autotune.schema import Config

# Set by autotune itself for each start; a user who sets one of them would measure another engine.
OWN_ARGS = {
    "host": "engines listen on 127.0.0.1",
    "port": "set deploy.port",
    "served_model_name": "set model.served_name",
    "model": "set model.path",
    "model_path": "set model.path",
}
PLAIN = Wording()  # without a tokenizer
# Without these an engine does not tell its metrics. Source: SGLang 0.5.23 entrypoints/http_server.py:314.
# TensorRT-LLM's return_perf_metrics is not among them: it collects times of every request.
TELLING = {"sglang": {"enable_metrics": True}}
OPTIONS_FILE = "options.yaml"  # beside the engine: it is started in the folder of its trial


def resolve(
    config: Config, inventory: Inventory, found: Found | None = None, wording: Wording = PLAIN
) -> Plan:
    """Return the plan of a candidate; one that cannot run carries all its reasons.

    `found` is what its checkpoint says (`checkpoint.read_checkpoint`), None where none can be read; `wording`
    what its requests are made of (`wordings.Wordings`, which also gives the configuration).
    """
    plan = _resolved(config, inventory, found, wording)
    reasons, notes = (*plan.reasons, *wording.problems), (*plan.notes, *wording.notes)
    return replace(plan, reasons=reasons, notes=notes, wording=wording)


def _resolved(config: Config, inventory: Inventory, found: Found | None, wording: Wording) -> Plan:
    if config.deploy.url is not None:
        return _foreign(config, inventory, wording)
    if config.runtime.kind not in RUNTIMES:
        kinds = ", ".join(RUNTIMES)
        return _unplanned(config, [f"runtime.kind={config.runtime.kind}: must be one of {kinds}"])
    sizes = rules.size_problems(config)
    try:
        flags = load_flags(config.runtime.kind, config.runtime.version)
    except ConfigError as error:
        return _unplanned(config, [*error.problems, *sizes, *rules.contradictions(config)])
    if sizes:
        config = replace(config, parallel=rules.whole_sizes(config.parallel))
    known = facts_of(config.model, found)
    setup = Setup(config=config, facts=known.facts, inventory=inventory, flags=flags)
    plan = _planned(setup, wording)
    notes = (*_unread(config, found), *_prefixed(config), *known.notes, *plan.notes)
    return replace(plan, reasons=(*sizes, *known.problems, *plan.reasons), notes=notes)


def _planned(setup: Setup, wording: Wording) -> Plan:
    """The plan of what the runtime is asked for, with its own reasons and notes."""
    config, flags, runtime = setup.config, setup.flags, RUNTIMES[setup.config.runtime.kind]
    layout = runtime.layout(config.parallel)
    mapped = runtime.mapped(setup)
    explicit, twice = arguments.canonical(config.runtime.args, flags)
    args, notes = _with_explicit(mapped, explicit)
    args = {**_telling(config), **args}
    refused = {**OWN_ARGS, **runtime.layout_args}
    own = [f"runtime.args.{name}: {refused[name]}" for name in explicit if name in refused]
    wrong = [*arguments.check(args, flags), *consistency.argument_reasons(setup, args)]
    layout_wrong = rules.layout_reasons(setup, layout)
    judgeable = not (own or wrong)  # a wrong value has no size
    memory = estimate(runtime, setup, layout, args) if judgeable else Judged(estimate=None)
    options = arguments.options_file(args, flags)
    return Plan(
        runtime=config.runtime.kind,
        runtime_version=config.runtime.version,
        argv=_argv(
            runtime.command(config.model.path), config, {} if own else args, flags, options=bool(options)
        ),
        env=_environment(mapped, config),
        files={OPTIONS_FILE: yaml.safe_dump(options)} if options else {},
        gpus=layout.gpus,
        world_size=layout.world_size,
        image=config.runtime.image,
        readiness=runtime.readiness,
        served_model=served_name(config),
        signature=_signature(config, args, inventory=setup.inventory, gpus=layout.gpus, wording=wording),
        memory=memory.estimate,
        prefix=tuple(config.deploy.prefix),
        reasons=(*mapped.reasons, *twice, *own, *wrong, *layout_wrong, *memory.reasons),
        notes=(*mapped.notes, *notes, *memory.notes, *traffic.notes(setup, args, wording)),
    )


def _unread(config: Config, found: Found | None) -> list[str]:
    """A path that can be no hub name should lead to a checkpoint."""
    path = config.model.path
    if found is not None or config.deploy.kind == "replay" or not path.startswith(("/", "~", "./", "../")):
        return []
    return [f"model.path={path}: no checkpoint can be read there; facts are the model preset's"]


def _prefixed(config: Config) -> list[str]:
    """What stands before the argv of the plan."""
    prefix = list(config.deploy.prefix)
    return [f"deploy.prefix: the engine is started by {shlex.join(prefix)}"] if prefix else []


def served_name(config: Config) -> str:
    """Return the model's name in the API: `model.served_name`, else its path."""
    return config.model.served_name or config.model.path


def _foreign(config: Config, inventory: Inventory, wording: Wording) -> Plan:
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
        signature=_signature(config, {}, inventory=inventory, gpus=gpus, wording=wording),
        notes=(f"{config.deploy.url} is run by someone else: runtime, presets and version are theirs",),
    )


def _unplanned(config: Config, reasons: Sequence[str]) -> Plan:
    """The plan of an engine that nothing is known about: nothing but the reasons."""
    return Plan(
        runtime=config.runtime.kind,
        runtime_version=config.runtime.version,
        argv=(),
        env={},
        files={},
        gpus=0,
        world_size=0,
        image=config.runtime.image,
        readiness=Readiness(path=""),
        served_model=served_name(config),
        signature="",
        reasons=tuple(reasons),
    )


def _with_explicit(mapped: Mapped, explicit: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Explicit arguments win over mapped ones, and a note says so."""
    notes = [
        f"runtime.args.{name}={value} wins over {mapped.origin[name]} ({mapped.args[name]})"
        for name, value in explicit.items()
        if name in mapped.args and mapped.args[name] != value
    ]
    return {**mapped.args, **explicit}, notes


def _telling(config: Config) -> Mapping[str, Any]:
    """What lets an engine be sampled, where it will be; an explicit argument wins."""
    sampled = config.measure.sample_s is not None and config.deploy.kind != "replay"
    return TELLING.get(config.runtime.kind, {}) if sampled else {}


def _argv(
    command: Sequence[str], config: Config, args: Mapping[str, Any], flags: FlagList, *, options: bool
) -> tuple[str, ...]:
    own: dict[str, Any] = {}
    if flags.spelling("served_model_name"):
        own["served_model_name"] = served_name(config)
    if config.model.trust_remote_code:
        own["trust_remote_code"] = True
    host = "0.0.0.0" if config.deploy.kind == "docker" else "127.0.0.1"  # noqa: S104  (inside a container)
    network = ["--host", host, "--port", "{port}"]
    file = [flags.options_flag, OPTIONS_FILE] if options and flags.options_flag else []
    return (
        *command,
        *network,
        *arguments.command_line(own, flags),
        *arguments.command_line(args, flags),
        *file,
    )


def _environment(mapped: Mapped, config: Config) -> dict[str, str]:
    """A local model needs no hub: the engine is told not to ask one."""
    local = PurePath(config.model.path).is_absolute()
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"} if local else {}
    return {**mapped.env, **offline, **config.runtime.env}


def _signature(
    config: Config, args: Mapping[str, Any], *, inventory: Inventory, gpus: int, wording: Wording
) -> str:
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
        "traffic": traffic.identity(config.workload, wording),
    }
    if config.deploy.prefix:  # cores and memory that it binds make another engine
        facts["prefix"] = list(config.deploy.prefix)
    text = json.dumps(facts, sort_keys=True, default=lambda value: getattr(value, "value", str(value)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
