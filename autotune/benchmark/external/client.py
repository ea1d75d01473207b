"""Runs a load client of others as a process of its own, and reads what it reported."""

from __future__ import annotations

import math
import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from autotune import scratch
from autotune.benchmark.external.results import measurement_of
from autotune.benchmark.external.tool import REPORTS, Command, Report, Task, Tool, UnreadableReport
from autotune.benchmark.external.usage import Usage
from autotune.benchmark.protocol import MeasureRequest, Progress
from autotune.errors import ConfigError, Interrupted, TrialError
from autotune.process_table import labels
from autotune.processes import ProcessGroup
from autotune.records import Measurement
from autotune.secrecy import LogMask, secrets_of

GRACE_S = 1.0  # between SIGTERM and SIGKILL
TICK_S = 1.0  # between two looks at how far it is
POLL_S = 0.05  # how soon its end is seen
AROUND_S = 300.0  # for its start and for its report
OURS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
"""Variables of the environment that autotune runs in: they would lead another environment astray."""
UNREADABLE = (UnreadableReport, LookupError, TypeError, ValueError, OSError, AttributeError)


class ExternalClient:
    """Measures with a client of others; see `protocol.Benchmark`."""

    def __init__(
        self, tool: Tool, *, program: Callable[[], Path], args: Mapping[str, Any] | None = None
    ) -> None:
        """`program` says where it is, once it is needed; `args` are more words for its command."""
        self._tool, self._program, self._args = tool, program, dict(args or {})
        self._stopped = threading.Event()
        self._process: ProcessGroup | None = None
        self._guard = threading.Lock()

    def prepare(self, request: MeasureRequest) -> None:
        """Nothing: a client of others begins to send as soon as it is started."""

    def measure(self, request: MeasureRequest) -> Measurement:
        """Run the client to its end; nothing of it runs on, however it ends."""
        task, used = self._task(request), Usage()
        try:
            process = self._start(task, self._tool.command(task))
            try:
                code, last = self._follow(process, task, used)
            finally:
                process.terminate(GRACE_S)
                with self._guard:
                    self._process = None  # its id may soon be another's
        finally:
            shutil.rmtree(task.scratch, ignore_errors=True)
        if self._stopped.is_set():
            raise Interrupted
        measured = self._judge(task, code, used)
        done = Progress(
            phase="measure",
            requests_completed=measured.requests_completed,
            requests_failed=measured.requests_failed,
            requests_total=task.measured,
        )
        if done != last:  # once told, it is known when the load ended: a client takes its time to sum up
            request.on_progress(done)
        return measured

    def stop(self) -> None:
        """End a measure in progress, and refuse later ones."""
        with self._guard:
            self._stopped.set()
            if self._process is not None:
                self._process.kill()

    def _task(self, request: MeasureRequest) -> Task:
        if self._stopped.is_set():
            raise Interrupted
        try:
            program = self._program()
        except ConfigError as error:
            raise TrialError("benchmark_failed", str(error)) from error
        name = f"{self._tool.kind}-{request.load.mode.value}-{request.load.value:g}-{request.repeat}"
        folder = request.out_dir.resolve() / REPORTS / name
        shutil.rmtree(folder, ignore_errors=True)  # an attempt before this one must not be read as this one
        folder.mkdir(parents=True)
        temporary = scratch.make(request.out_dir)
        return Task(request=request, folder=folder, scratch=temporary, program=program, args=self._args)

    def _start(self, task: Task, command: Command) -> ProcessGroup:
        env = {name: value for name, value in os.environ.items() if name not in {*OURS, *command.unset}}
        env |= {"TMPDIR": str(task.scratch), "PYTHONUNBUFFERED": "1", **command.env}
        env |= labels(task.request.out_dir)
        with self._guard:
            if self._stopped.is_set():
                raise Interrupted
            try:
                self._process = ProcessGroup(
                    command.argv, env=env, log=task.log, cwd=task.folder, cpus=task.request.cpus
                )
            except OSError as error:
                raise TrialError(
                    "benchmark_failed",
                    f"{command.argv[0]} cannot be started: {error.strerror}",
                    advice=self._install(),
                ) from error
            return self._process

    def _follow(self, process: ProcessGroup, task: Task, used: Usage) -> tuple[int, Progress]:
        """Tell about once a second how far it is; return the status it ended with, and what was told last."""
        limit_s = bound_s(task)
        began_s = told_s = changed_s = time.monotonic()
        last = self._progress(task)
        task.request.on_progress(last)
        mask = LogMask(task.log, secrets_of(os.environ))
        while (code := process.wait(POLL_S)) is None:
            now_s = time.monotonic()
            if now_s - began_s > limit_s:
                raise TrialError(
                    "benchmark_failed",
                    f"{self._tool.kind} did not end within {limit_s:.0f} s",
                    evidence=_last_words(task),
                    advice=f"read {_shown(task)}; lower benchmark.request_timeout_s or what is sent: "
                    "workload.requests_per_load",
                )
            if now_s - told_s >= TICK_S:
                told_s = now_s
                mask.look()
                before, last = last, _later(last, self._progress(task))
                changed_s = now_s if last != before else changed_s
                used.look(process.pid, measuring=last.phase == "measure")
                task.request.on_progress(_patient(last, in_time=now_s - changed_s < task.request.timeout_s))
        mask.look()
        return code, last

    def _progress(self, task: Task) -> Progress:
        try:
            return self._tool.progress(task)
        except UNREADABLE:  # a file that is just being written; how it ended says what counts
            return Progress(
                phase="warmup", requests_completed=0, requests_failed=0, requests_total=task.measured
            )

    def _judge(self, task: Task, code: int, used: Usage) -> Measurement:
        """What it reported, if it ended well or at least left a whole report."""
        try:
            report: Report = self._tool.read(task)
            notes = notes_of(self._tool, task)
            measured = measurement_of(task, report, used=used.metrics(), notes=notes)
        except UNREADABLE as error:
            raise self._failed(task, code, error) from error
        if code != 0:
            raise self._failed(task, code, None)
        return measured

    def _failed(self, task: Task, code: int, error: Exception | None) -> TrialError:
        kind = self._tool.kind
        if code != 0:
            return TrialError(
                "benchmark_failed",
                f"{kind} ended with status {code}",
                evidence=_last_words(task),
                advice=f"read {_shown(task)} of the trial",
            )
        what = str(error) if isinstance(error, UnreadableReport) else f"{type(error).__name__}: {error}"
        return TrialError(
            "benchmark_failed",
            f"the report of {kind} cannot be read: {what}",
            evidence=_last_words(task),
            advice=f"autotune reads that of {kind} {self._tool.version}: {self._install()}",
        )

    def _install(self) -> str:
        return (
            f"python -m autotune doctor --install {self._tool.kind}, or set benchmark.venv to an environment "
            f"that has {self._tool.kind} {self._tool.version}"
        )


def bound_s(task: Task) -> float:
    """Return how long a measurement may take: each request its time-out, in turn where it must be."""
    value = task.request.load.value
    many = task.warmup + task.measured
    rounds = math.ceil(many / value) if task.closed else 2
    spread_s = 0.0 if task.closed else 2 * many / value
    return AROUND_S + rounds * task.request.timeout_s + spread_s


def notes_of(tool: Tool, task: Task) -> list[str]:
    """Return what of the workload a client of others does in another way."""
    traffic = task.request.traffic
    notes = []
    if traffic.warmup_max_s > 0:
        notes.append(
            f"{tool.kind} warms up with {task.warmup} requests and does not wait until latency is steady "
            f"(workload.warmup_max_s={traffic.warmup_max_s:g})"
        )
    return notes


def _later(last: Progress, now: Progress) -> Progress:
    """Progress never falls back, whatever a file that is being written looks like."""
    if (last.phase, now.phase) == ("measure", "warmup"):
        return last
    fewer = now.requests_completed + now.requests_failed < last.requests_completed + last.requests_failed
    return last if fewer and last.phase == now.phase else now


def _patient(progress: Progress, *, in_time: bool) -> Progress:
    """A client that tells of ended requests only is not taken for hung while one of them may still end."""
    ended = progress.phase == "measure" and (
        progress.requests_completed + progress.requests_failed >= progress.requests_total
    )
    return replace(progress, in_flight=0) if in_time and not ended else progress


def _shown(task: Task) -> str:
    return f"{REPORTS}/{task.folder.name}/{task.log.name}"


def _last_words(task: Task) -> str:
    try:
        lines = [line.strip(" \t│╭╰─╮╯") for line in task.log.read_text(errors="replace").splitlines()]
    except OSError:
        return ""
    said = [line for line in lines if line]
    return f"{task.log.name}: {said[-1]}" if said else ""
