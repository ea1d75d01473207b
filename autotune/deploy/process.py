"""Engines as local processes."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from autotune import failures, process_table, scratch
from autotune.benchmark.protocol import Benchmark
from autotune.deploy import probe
from autotune.deploy.elsewhere import ForeignServer, url_problems
from autotune.deploy.protocol import Order, Ready, Server, Started
from autotune.deploy.readiness import await_ready, read_log
from autotune.errors import TrialError
from autotune.places import cache_dir
from autotune.process_table import labels
from autotune.processes import ProcessGroup
from autotune.records import Candidate, InventoryKind, Plan
from autotune.schema import Config


class ProcessDeployer:
    """Starts `plan.argv` on this host, or measures `deploy.url` where that is set."""

    stand_in = False
    recorded = False

    def problems(self, candidate: Candidate, config: Config, plan: Plan) -> list[str]:
        """Return what is missing: the engine's program, the model folder, the port, the URL."""
        if config.deploy.url is not None:
            return url_problems(config.deploy.url)
        program = program_problems(plan.argv[0], config)
        return [*program, *_model_problems(config), *port_problems(config)]

    def start(self, order: Order) -> Server:
        """Start the engine in a process group of its own.

        Raises: TrialError `bad_arguments` if the program cannot be executed.
        """
        if order.config.deploy.url is not None:
            return ForeignServer(order)
        program = find_program(order.plan.argv[0], order.config)
        return start_process(order, [str(program or order.plan.argv[0]), *order.plan.argv[1:]])


def start_process(order: Order, argv: Sequence[str]) -> EngineProcess:
    """Start `argv` as an order's engine: with `{port}` filled in, and its files in the trial's folder."""
    port = order.config.deploy.port or probe.free_port()
    order.folder.mkdir(parents=True, exist_ok=True)
    files = {name: order.folder.resolve() / name for name in order.plan.files}
    for name, path in files.items():
        path.write_text(order.plan.files[name])
    words = [str(files.get(word, word)).replace("{port}", str(port)) for word in argv]
    temporary = scratch.make(order.folder)
    try:
        group = ProcessGroup(
            words,
            env={**_environment(order, words[0]), "TMPDIR": str(temporary), **labels(order.folder)},
            log=order.folder / "engine.log",
            keep=order.lease.locks,
            cpus=order.lease.cpus,
        )
    except OSError as error:
        shutil.rmtree(temporary)
        raise TrialError(
            "bad_arguments", f"cannot start {words[0]}: {error.strerror}", advice="set deploy.bin"
        ) from error
    return EngineProcess(order, group, port, temporary)


class EngineProcess:
    """An engine that runs as a process group; see `protocol.Server`.

    `temporary` is its folder for temporary files, removed with it: engines leave theirs behind.
    """

    def __init__(self, order: Order, group: ProcessGroup, port: int, temporary: Path) -> None:
        self._order = order
        self._group = group
        self._url = f"http://127.0.0.1:{port}"
        self._temporary = temporary
        self._serving = False
        self._stopped = False
        self._oom_kills = failures.oom_kills()
        self._began = time.monotonic()
        stat = process_table.stat_of(group.pid)
        self.started = Started(
            pid=group.pid,
            start_ticks=stat.start_ticks if stat else 0,
            boot_id=process_table.boot_id(),
            scratch=temporary,
        )

    def ready(self) -> Ready:
        """Watch exit, cancellation and the readiness path at once."""
        ready = await_ready(self._order, self._url, death=self.death, began_s=self._began)
        self._serving = True
        return ready

    def death(self) -> TrialError | None:
        """Return the cause of the engine's end, from its whole log; an end that `stop` brought is none."""
        code = self._group.exit_code()
        if code is None or self._stopped:
            return None
        return failures.classify(
            failures.Evidence(
                log=read_log(self._order),
                exit_code=code,
                oom_killed=failures.oom_kills() > self._oom_kills,
                runtime=self._order.config.runtime.kind,
                serving=self._serving,
            )
        )

    def stop(self) -> None:
        """SIGTERM to the group, SIGKILL after `deploy.stop_timeout_s`; then to what has left the group."""
        self._stopped = self._stopped or self._group.exit_code() is None
        grace_s = self._order.config.deploy.stop_timeout_s
        self._group.terminate(grace_s)
        process_table.end(process_table.of_trial(self._order.folder), grace_s)
        shutil.rmtree(self._temporary, ignore_errors=True)

    def client(self, chosen: Benchmark) -> Benchmark:
        """The chosen load client."""
        return chosen


def find_program(name: str, config: Config) -> Path | None:
    """Return the engine's program: in `deploy.bin`, else a prepared environment, else on PATH."""
    if config.deploy.bin is not None:
        places = [Path(config.deploy.bin) / name]
    else:
        version = f"{config.runtime.kind}-{config.runtime.version}"
        on_path = shutil.which(name)
        places = [
            cache_dir() / "engines" / version / "bin" / name,
            *([Path(on_path)] if on_path else []),
        ]
    return next((place for place in places if os.access(place, os.X_OK)), None)


def program_problems(name: str, config: Config) -> list[str]:
    """Return that the engine's program is missing, where it was looked for, and how to get it."""
    if find_program(name, config) is not None:
        return []
    where = config.deploy.bin or f"{cache_dir() / 'engines'} and PATH"
    made = "; sh scripts/real-engine prepares vLLM 0.32.0 for a CPU" if config.runtime.kind == "vllm" else ""
    return [
        f"runtime={config.runtime.kind}: no program {name!r} (version {config.runtime.version}) in {where}: "
        f"install the engine and set deploy.bin to its folder{made}"
    ]


def _model_problems(config: Config) -> list[str]:
    path = Path(config.model.path)
    looks_local = path.is_absolute() or config.model.path.startswith((".", "~"))
    if not looks_local or path.is_dir():
        return []
    made = "; sh scripts/real-engine makes it" if path.name == "tiny" else ""
    return [f"model.path={config.model.path}: no such folder: give a folder or a hub name{made}"]


def port_problems(config: Config) -> list[str]:
    """Return that `deploy.port` is taken.

    A resumed sweep may find its own engine there, which it ends before it starts another.
    """
    port = config.deploy.port
    if port is None or config.sweep.resume or probe.port_is_free(port):
        return []
    return [f"deploy.port={port}: already taken: end what listens there, or leave it unset"]


def _environment(order: Order, program: str) -> Mapping[str, str]:
    """What the engine inherits, then the plan's, then the GPUs it holds."""
    env = {**order.env, **order.plan.env}
    if PurePath(program).is_absolute():  # helpers of the engine's own environment (ninja, nvcc)
        env["PATH"] = f"{PurePath(program).parent}{os.pathsep}{env.get('PATH', os.defpath)}"
    if order.lease.kind in {InventoryKind.DETECTED, InventoryKind.DECLARED}:
        env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # the driver's order, as in the inventory
        env["CUDA_VISIBLE_DEVICES"] = ",".join(str(gpu.index) for gpu in order.lease.gpus)
    return env
