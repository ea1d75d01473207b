"""Measured rows in place of an engine: starts nothing, answers from a table.

Source of the format: contract section 5.
"""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from autotune.benchmark.protocol import Benchmark, MeasureRequest
from autotune.deploy.program import unused_problems
from autotune.deploy.protocol import Order, Ready, Server
from autotune.errors import Interrupted, TrialError
from autotune.records import METRICS, Candidate, Endpoint, Load, Measurement, Plan
from autotune.schema import Config

Key = str | float | None

LOAD_COLUMN = "workload.concurrency"
SPECIAL = {LOAD_COLUMN, "gpu.count", "outcome", "startup_s", "duration_s"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured load: `keys` are configuration values as written, `metrics` numbers."""

    keys: Mapping[str, str]
    load: float
    gpus: int | None
    outcome: str
    startup_s: float
    duration_s: float
    metrics: Mapping[str, float]


class Table:
    """The rows of a CSV file, found by the values of their configuration keys."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        self._columns = tuple(rows[0].keys) if rows else ()
        self._found: dict[tuple[Key, ...], list[Row]] = {}
        for row in rows:
            keys = tuple(_key_of_cell(row.keys[name]) for name in self._columns)
            self._found.setdefault(keys, []).append(row)

    def matching(self, candidate: Candidate) -> list[Row]:
        """Return the rows whose configuration keys are those of the candidate."""
        wanted = tuple(_key_of_value(_value(candidate, name)) for name in self._columns)
        return self._found.get(wanted, [])


def read_table(path: Path) -> Table:
    """Return a table, read once as long as its file stays the same.

    Raises: ValueError naming the line and column that cannot be read; OSError.
    """
    about = path.stat()
    return _read(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def _read(path: Path, _changed: int, _size: int) -> Table:
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if LOAD_COLUMN not in (reader.fieldnames or []):
            raise ValueError(f"has no column {LOAD_COLUMN}")
        return Table([_row(line, _whole(line, values)) for line, values in enumerate(reader, 2)])


class ReplayDeployer:
    """Answers from `deploy.table`."""

    stand_in = True
    recorded = True

    def problems(self, candidate: Candidate, config: Config, plan: Plan) -> list[str]:
        """Return what is wrong with the table, as a whole and for this candidate."""
        if config.deploy.table is None:
            return ["deploy.table: give the CSV file of measured rows"]
        try:
            rows = read_table(Path(config.deploy.table)).matching(candidate)
        except OSError as error:
            return [f"deploy.table={config.deploy.table}: {error.strerror}"]
        except ValueError as error:
            return [f"deploy.table={config.deploy.table}: {error}"]
        wrong = sorted({row.gpus for row in rows if row.gpus not in {None, plan.gpus}}, key=str)
        unused = unused_problems(config, "deploy=replay starts no engine")
        return unused + [
            f"deploy.table: gpu.count is {count} where the plan of {' '.join(candidate.overrides)} "
            f"has {plan.gpus} GPUs"
            for count in wrong
        ]

    def start(self, order: Order) -> Server:
        """Return the rows of the candidate as a server."""
        table = Path(order.config.deploy.table or "")
        return ReplayServer(order, read_table(table).matching(order.candidate))


class ReplayServer:
    """The rows of one candidate; see `protocol.Server`."""

    started = None
    image_digest = None
    doubtful = False

    def __init__(self, order: Order, rows: Sequence[Row]) -> None:
        self._order = order
        self._rows = rows

    def ready(self) -> Ready:
        """Let the recorded start-up pass, at `deploy.time_scale`."""
        if not self._rows:
            raise TrialError("no_row", "the table has no row for this candidate", advice="check deploy.table")
        startup_s = self._rows[0].startup_s
        if self._order.cancelled.wait(startup_s * self._order.config.deploy.time_scale):
            raise Interrupted
        return Ready(
            endpoint=Endpoint(url="replay:", model=self._order.plan.served_model),
            startup_s=startup_s,
            engine_version=None,
        )

    def death(self) -> None:
        """A table does not die."""

    def stop(self) -> None:
        """Nothing was started."""

    def client(self, chosen: Benchmark) -> Benchmark:
        """The rows themselves."""
        return RowClient(self._rows, self._order.config.deploy.time_scale)


class RowClient:
    """A Benchmark that looks its measurements up."""

    def __init__(self, rows: Sequence[Row], time_scale: float) -> None:
        self._rows = {row.load: row for row in rows}
        self._time_scale = time_scale
        self._stopped = threading.Event()

    def prepare(self, request: MeasureRequest) -> None:
        """There is nothing to prepare."""

    def measure(self, request: MeasureRequest) -> Measurement:
        """Return the recorded measurement.

        Raises: TrialError `no_row`, or the recorded failure.
        """
        row = self._rows.get(request.load.value)
        if row is None:
            raise TrialError("no_row", f"the table has no row for {request.load}")
        if self._stopped.wait(row.duration_s * self._time_scale):
            raise Interrupted
        if row.outcome:
            raise TrialError(row.outcome, f"recorded as {row.outcome} at {request.load}")
        return _measurement(row, request.load, request.repeat)

    def stop(self) -> None:
        """End a measure in progress."""
        self._stopped.set()


def _measurement(row: Row, load: Load, repeat: int) -> Measurement:
    return Measurement(
        load=load,
        repeat=repeat,
        metrics={"load": load.value, **row.metrics},
        requests_completed=int(row.metrics.get("requests_completed", 0)),
        requests_failed=int(row.metrics.get("requests_failed", 0)),
        errors={},
        duration_s=row.duration_s,
    )


def _whole(line: int, values: dict[str, str]) -> dict[str, str]:
    """A row with as many cells as there are columns; csv files what is over or missing under None."""
    if any(item is None for pair in values.items() for item in pair):
        raise ValueError(f"line {line} has more or fewer cells than there are columns")
    return values


def _row(line: int, values: Mapping[str, str]) -> Row:
    metrics = {name for name in values if name in METRICS}
    derived = {name for name in values if name.removesuffix("_per_gpu") in METRICS}
    gpus = _number(line, "gpu.count", values.get("gpu.count", ""))
    return Row(
        keys={name: values[name] for name in values.keys() - metrics - derived - SPECIAL},
        load=_number(line, LOAD_COLUMN, values[LOAD_COLUMN]) or 0.0,
        gpus=None if gpus is None else int(gpus),
        outcome=(values.get("outcome") or "").strip(),
        startup_s=_number(line, "startup_s", values.get("startup_s", "")) or 0.0,
        duration_s=_number(line, "duration_s", values.get("duration_s", "")) or 0.0,
        metrics={
            name: number
            for name in sorted(metrics)
            if (number := _number(line, name, values[name])) is not None
        },
    )


def _number(line: int, name: str, cell: str | None) -> float | None:
    if cell is None or not cell.strip():
        return None
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"line {line}, column {name}: {cell!r} is not a number") from None


def _value(candidate: Candidate, key: str) -> Any:
    """A column named like a group is the preset's name; others are configuration keys."""
    if key in candidate.choices:
        return candidate.choices[key]
    value: Any = candidate.config
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _key_of_cell(cell: str) -> Key:
    """What a cell stands for: nothing, a number, else its words."""
    words = cell.strip()
    if not words:
        return None
    try:
        return float(words)
    except ValueError:
        return words.lower() if words.lower() in {"true", "false"} else words


def _key_of_value(value: Any) -> Key:
    """What a configured value is written as in a cell."""
    if value is None:
        return None
    return _key_of_cell(value if isinstance(value, str) else json.dumps(value))
