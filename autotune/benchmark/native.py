"""The native load client's adapter: starts it as a process of its own, and reads what it measured."""

from __future__ import annotations

import json
import os
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any

from autotune.benchmark.protocol import MeasureRequest, Progress
from autotune.errors import Interrupted, TrialError
from autotune.process_table import labels
from autotune.processes import ProcessGroup
from autotune.records import Measurement

GRACE_S = 1.0  # between SIGTERM and SIGKILL


class NativeClient:
    """Measures with `autotune.benchmark.client`; see `protocol.Benchmark`."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._process: ProcessGroup | None = None
        self._guard = threading.Lock()

    def measure(self, request: MeasureRequest) -> Measurement:
        """Run the client to its end; nothing of it is left, however it ends."""
        request.out_dir.mkdir(parents=True, exist_ok=True)
        load = f"{request.load.mode.value}-{request.load.value:g}-{request.repeat}"
        out = request.out_dir / f"client-{load}"
        spec = out.with_name(f"{out.name}.spec.json")
        spec.write_text(json.dumps(_specification(request, out)))
        log = out.with_name(f"{out.name}.log")
        process = self._start(spec, log, request.cpus)
        try:
            for line in process.stdout:
                request.on_progress(_progress(json.loads(line)))
            code = process.wait(GRACE_S)
        finally:
            process.terminate(GRACE_S)
            with self._guard:
                self._process = None  # its id may soon be another's
        if self._stopped.is_set():
            raise Interrupted
        if code != 0:
            raise TrialError("benchmark_failed", _ended(code), evidence=_last_line(log))
        for file in (spec, log):
            file.unlink()
        return _measurement(request, out)

    def stop(self) -> None:
        """End a measure in progress, and refuse later ones."""
        with self._guard:
            self._stopped.set()
            if self._process is not None:
                self._process.kill()

    def _start(self, spec: Path, log: Path, cpus: tuple[int, ...]) -> ProcessGroup:
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        argv = [sys.executable, "-m", "autotune.benchmark.client", str(spec)]
        with self._guard:
            if self._stopped.is_set():
                raise Interrupted
            env = {**os.environ, "PYTHONPATH": path, **labels(spec.parent)}
            self._process = ProcessGroup(argv, env=env, log=log, piped=True, cpus=cpus)
            return self._process


def _specification(request: MeasureRequest, out: Path) -> dict[str, Any]:
    return {
        "endpoint": asdict(request.endpoint),
        "traffic": asdict(request.traffic),
        "load": {"mode": request.load.mode.value, "value": request.load.value},
        "repeat": request.repeat,
        "timeout_s": request.timeout_s,
        "out": str(out),
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
    summary_file = out.with_name(f"{out.name}.summary.json")
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
        raw=out.with_name(f"{out.name}.requests.json"),
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
