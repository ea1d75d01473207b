"""Engines as local processes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from autotune import failures, process_table, scratch
from autotune.benchmark.protocol import Benchmark
from autotune.deploy import probe
from autotune.deploy.elsewhere import ForeignServer, url_problems
from autotune.deploy.program import (
    Program,
    environment,
    find_program,
    prefix_problems,
    program_problems,
    unused_problems,
)
from autotune.deploy.protocol import Order, Ready, Server, Started
from autotune.deploy.readiness import await_ready, new_log, read_log
from autotune.errors import TrialError
from autotune.gpus.remains import Remains
from autotune.process_table import labels
from autotune.processes import ProcessGroup
from autotune.records import Candidate, InventoryKind, Plan
from autotune.schema import Config
from autotune.secrecy import LogMask, secrets_of

ORPHANS_S = 0.5  # between SIGTERM and SIGKILL for children that have lost their parent

NUMBERS_ONLY = {"sglang"}
"""Runtimes that read `CUDA_VISIBLE_DEVICES` as numbers.

With UUIDs SGLang starts, and logs that its custom all-reduce could not be set up: a slower engine.
Source: sglang 0.5.23, srt/distributed/device_communicators/custom_all_reduce_utils.py (list(map(int, ...))).
vLLM asks NVML for a UUID's number. Source: vllm 0.32.0, platforms/cuda.py. TensorRT-LLM leaves it to CUDA.
"""


class ProcessDeployer:
    """Starts `plan.argv` on this host, or measures `deploy.url` where that is set."""

    stand_in = False
    recorded = False

    def problems(self, candidate: Candidate, config: Config, plan: Plan) -> list[str]:
        """Return what is missing: the engine's program, its prefix, the model folder, the port, the URL."""
        if config.deploy.url is not None:
            unused = unused_problems(config, "deploy.url measures an engine that someone else started")
            return [*url_problems(config.deploy.url), *unused]
        name = plan.argv[0]
        programs = [*program_problems(name, config), *prefix_problems(name, config)]
        return [*programs, *_model_problems(config), *port_problems(config)]

    def start(self, order: Order) -> Server:
        """Start the engine in a process group of its own.

        Raises: TrialError `bad_arguments` if the program cannot be executed.
        """
        if order.config.deploy.url is not None:
            return ForeignServer(order)
        name, *words = order.plan.argv
        program = find_program(name, order.config)
        started = str(program.path if program else name)
        return start_process(order, [*order.plan.prefix, started, *words], program)


def start_process(order: Order, argv: Sequence[str], program: Program | None = None) -> EngineProcess:
    """Start `argv` as an order's engine: with `{port}` filled in, and its files in the trial's folder.

    Raises: TrialError `port_in_use`, `bad_arguments`.
    """
    port = order.config.deploy.port or probe.free_port()
    if not probe.port_is_free(port):  # else whoever listens there would be taken for the engine
        raise TrialError(
            "port_in_use",
            f"deploy.port={port} is taken by another process",
            advice="leave deploy.port unset to get a free one; trials side by side cannot share one",
        )
    order.folder.mkdir(parents=True, exist_ok=True)
    files = {name: order.folder.resolve() / name for name in order.plan.files}
    for name, path in files.items():
        path.write_text(order.plan.files[name])
    words = [str(files.get(word, word)).replace("{port}", str(port)) for word in argv]
    temporary = scratch.make(order.folder)
    env = {
        **environment(order.env, order.plan.env, program),
        **_devices(order),
        "TMPDIR": str(temporary),
        **labels(order.folder),
    }
    log = new_log(order.folder)
    try:
        group = ProcessGroup(
            words,
            env=env,
            log=log,
            keep=order.lease.locks,
            cpus=order.lease.cpus,
        )
    except OSError as error:
        shutil.rmtree(temporary)
        raise TrialError(
            "bad_arguments",
            f"cannot start {words[0]}: {error.strerror}",
            advice="set deploy.venv, deploy.bin or deploy.prefix to what can be executed",
        ) from error
    return EngineProcess(order, group, port, temporary=temporary, mask=LogMask(log, secrets_of(env)))


class EngineProcess:
    """An engine that runs as a process group; see `protocol.Server`.

    `temporary` is its folder for temporary files, removed with it: engines leave theirs behind.
    """

    image_digest = None
    doubtful = False

    def __init__(
        self, order: Order, group: ProcessGroup, port: int, *, temporary: Path, mask: LogMask
    ) -> None:
        self._order = order
        self._group = group
        self._url = f"http://127.0.0.1:{port}"
        self._temporary = temporary
        self._mask = mask
        self._serving = False
        self._stopped = False
        self._told = False
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
        """Return the cause of the engine's end, from its whole log; an end that `stop` brought is none.

        It is asked ten times a second, and hides what the log must not show by the way.
        """
        code = self._group.exit_code()
        self._mask.look()
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
        """SIGTERM to the group, SIGKILL after `deploy.stop_timeout_s`; then to what has left the group.

        Children of a leader that has ended have nothing to finish: they are not waited for that long. A
        process that SIGKILL does not end is told, and its GPUs are kept back until it has ended.
        """
        alive = self._group.exit_code() is None
        self._stopped = self._stopped or alive
        longest_s = self._order.config.deploy.stop_timeout_s
        grace_s = longest_s if alive else min(longest_s, ORPHANS_S)
        gone = self._group.terminate(grace_s)
        stubborn = process_table.end(process_table.of_trial(self._order.folder), grace_s if gone else 0.0)
        self._mask.look()
        shutil.rmtree(self._temporary, ignore_errors=True)
        if (stubborn or not gone) and not self._told:
            self._told = True
            self._leave(stubborn)

    def _leave(self, stubborn: Sequence[process_table.Process]) -> None:
        """Tell of processes that do not end, by their ids; of the group by that of its leader."""
        pids = sorted({process.pid for process in stubborn} or {self._group.pid})
        what = f"process {', '.join(map(str, pids))}"
        told = f"{what} does not end, not even by SIGKILL: look at it with ps -o stat,wchan -p {pids[0]}"
        self._order.tell(f"{told}; python -m autotune reap ends what is left of a sweep")
        runs = process_table.runs

        def gone() -> bool:
            return self._group.is_gone() and not any(runs(each.pid, each.start_ticks) for each in stubborn)

        self._order.left(Remains(what=what, gone=gone))

    def client(self, chosen: Benchmark) -> Benchmark:
        """The chosen load client."""
        return chosen


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


def _devices(order: Order) -> dict[str, str]:
    """What shows an engine the GPUs of its lease and no others; nothing on CPUs.

    Numbers are in the driver's order, as in the inventory. A UUID names the same GPU even if another one
    has fallen off the bus since, and is what a declared inventory does not have.
    """
    lease = order.lease
    if lease.kind not in {InventoryKind.DETECTED, InventoryKind.DECLARED}:
        return {}
    by_uuid = lease.kind is InventoryKind.DETECTED and order.plan.runtime not in NUMBERS_ONLY
    named = [gpu.uuid if by_uuid else str(gpu.index) for gpu in lease.gpus]
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": ",".join(named)}
