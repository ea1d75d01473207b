"""The native load client's adapter: starts it as a process of its own, and reads what it measured."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autotune.benchmark.protocol import MeasureRequest, Progress
from autotune.errors import Interrupted, TrialError
from autotune.process_table import labels
from autotune.processes import ProcessGroup
from autotune.records import Load, Measurement, Mode

GRACE_S = 1.0  # between SIGTERM and SIGKILL
MOST_PROCESSES = 16
UNITS_OF_A_PROCESS = {Mode.CONCURRENCY: 768, Mode.RATE: 1500}


class NativeClient:
    """Measures with `autotune.benchmark.client`; see `protocol.Benchmark`."""

    def __init__(self, *, processes: int | None = None) -> None:
        """`processes` of the client; None: as many as its load and its cores want."""
        self._processes = processes
        self._stopped = threading.Event()
        self._process: ProcessGroup | None = None
        self._prepared: _Prepared | None = None
        self._guard = threading.Lock()

    def prepare(self, request: MeasureRequest) -> None:
        """Start the client: it imports what it needs, builds its requests, and waits for the endpoint."""
        with self._guard:
            if not self._stopped.is_set() and self._prepared is None:
                self._prepared = _start(request, self._size(request))

    def measure(self, request: MeasureRequest) -> Measurement:
        """Run the client to its end; nothing of it is left, however it ends."""
        prepared = self._take(request)
        process = prepared.process
        try:
            prepared.tell(asdict(request.endpoint))
            for line in process.stdout:
                request.on_progress(_progress(json.loads(line)))
            code = process.wait(GRACE_S)
        finally:
            process.terminate(GRACE_S)
            with self._guard:
                self._process = None  # its id may soon be another's
        if self._stopped.is_set():
            raise Interrupted
        log = prepared.log
        if code != 0:
            raise TrialError("benchmark_failed", _ended(code), evidence=_last_line(log))
        log.unlink()
        return _measurement(request, prepared.out)

    def stop(self) -> None:
        """End a measure in progress and a client that waits, and refuse later ones."""
        with self._guard:
            self._stopped.set()
            if self._process is not None:
                self._process.kill()
            unused, self._prepared = self._prepared, None
        if unused is not None:
            unused.discard()

    def _take(self, request: MeasureRequest) -> _Prepared:
        """The client that was prepared for this very measurement, if it still waits; else a new one."""
        with self._guard:
            if self._stopped.is_set():
                raise Interrupted
            found, self._prepared = self._prepared, None
            size = self._size(request)
            if found is not None and not found.fits(request, size):
                found.discard()
                found = None
            found = found or _start(request, size)
            self._process = found.process
            return found

    def _size(self, request: MeasureRequest) -> int:
        most = int(request.load.value) if request.load.mode is Mode.CONCURRENCY else MOST_PROCESSES
        return min(most, self._processes or automatic_processes(request.load, request.cpus))


def automatic_processes(load: Load, cpus: Sequence[int]) -> int:
    """Return how many processes offer a load best on the cores `cpus`; empty: on any, with the engine.

    One process reads some 50,000 chunks a second and more; each of several needs a core of its own, or they
    only take it from each other and from the engine.
    """
    own = len(cpus) if cpus else (os.cpu_count() or 1) // 2
    wanted = math.ceil(load.value / UNITS_OF_A_PROCESS[load.mode])
    return max(1, min(own, wanted, MOST_PROCESSES))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """A client that was told what to send and not yet where to; `out` is the stem of its files."""

    process: ProcessGroup
    out: Path
    specification: Mapping[str, Any]
    cpus: tuple[int, ...]

    @property
    def log(self) -> Path:
        return _beside(self.out, "log")

    def fits(self, request: MeasureRequest, size: int) -> bool:
        """Whether it waits for such a measurement; the client itself looks at the model."""
        same = (self.out, self.cpus) == (_out(request), request.cpus)
        return (
            same and self.specification == _specification(request, size) and self.process.exit_code() is None
        )

    def tell(self, content: Mapping[str, Any]) -> None:
        """Send one line; whether it still reads is known by how it ends."""
        with suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(content).encode() + b"\n")
            self.process.stdin.flush()

    def discard(self) -> None:
        """End it unused: nothing is left of it."""
        self.process.kill()
        self.process.terminate(GRACE_S)
        self.log.unlink(missing_ok=True)


def _start(request: MeasureRequest, size: int) -> _Prepared:
    """Start a client and tell it what to send."""
    request.out_dir.mkdir(parents=True, exist_ok=True)
    out = _out(request)
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    argv = [sys.executable, "-m", "autotune.benchmark.client"]
    env = {**os.environ, "PYTHONPATH": path, **labels(request.out_dir)}
    process = ProcessGroup(argv, env=env, log=_beside(out, "log"), piped=True, cpus=request.cpus)
    told = _specification(request, size)
    prepared = _Prepared(process=process, out=out, specification=told, cpus=request.cpus)
    prepared.tell({**prepared.specification, "model": request.endpoint.model, "out": str(out)})
    return prepared


def _out(request: MeasureRequest) -> Path:
    load = f"{request.load.mode.value}-{request.load.value:g}-{request.repeat}"
    return request.out_dir / f"client-{load}"


def _beside(out: Path, kind: str) -> Path:
    """A file of a measurement; loads have points in their names."""
    return out.with_name(f"{out.name}.{kind}")


def _specification(request: MeasureRequest, size: int) -> dict[str, Any]:
    """What is sent and by how many processes, without to whom."""
    return {
        "traffic": asdict(request.traffic),
        "load": {"mode": request.load.mode.value, "value": request.load.value},
        "repeat": request.repeat,
        "timeout_s": request.timeout_s,
        "limits": asdict(request.limits),
        "processes": size,
    }


def _progress(line: dict[str, Any]) -> Progress:
    return Progress(
        phase=line["phase"],
        requests_completed=line["completed"],
        requests_failed=line["failed"],
        requests_total=line["total"],
        received=line["received"],
        in_flight=line["in_flight"],
    )


def _measurement(request: MeasureRequest, out: Path) -> Measurement:
    summary_file = _beside(out, "summary.json")
    summary: dict[str, Any] = json.loads(summary_file.read_text())
    summary_file.unlink()
    metrics = summary["metrics"]
    if summary["aborted"] or metrics["requests_completed"] == 0:
        raise _all_failed(summary)
    return Measurement(
        load=request.load,
        repeat=request.repeat,
        metrics=metrics,
        requests_completed=int(metrics["requests_completed"]),
        requests_failed=int(metrics["requests_failed"]),
        errors=summary["errors"],
        duration_s=summary["duration_s"],
        raw=_beside(out, "requests.json"),
        client_bound=tuple(summary["client_bound"]),
        notes=_notes(request, metrics),
    )


def _notes(request: MeasureRequest, metrics: Mapping[str, float]) -> tuple[str, ...]:
    """Return what is worth a note: alike in every repeat, so that a trial says it once a load."""
    if metrics.get("warmup_steady", 1.0):
        return ()
    return (
        f"{request.load}: latency was not steady when the warm-up had to end "
        f"(workload.warmup_max_s={request.traffic.warmup_max_s:g}); measured all the same",
    )


def _all_failed(summary: dict[str, Any]) -> TrialError:
    first = summary["first_error"] or {"kind": "unknown", "detail": ""}
    errors: dict[str, int] = summary["errors"] or {first["kind"]: 0}
    phase = "warm-up" if summary["aborted"] else "measured"
    most = max(errors, key=lambda kind: errors[kind])
    return TrialError(
        "all_requests_failed",
        f"all {sum(errors.values())} {phase} requests failed, {errors[most]} of them with {most}",
        evidence=" ".join(str(first["detail"]).split()),
        advice="read engine.log of the trial; model.served_name must be the name that the engine serves",
    )


def _ended(code: int | None) -> str:
    return "the load client did not end" if code is None else f"the load client ended with status {code}"


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{log.name}: {lines[-1]}" if lines else ""
