"""What an interference measurement has found so far, as a file that is whole at every moment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autotune.doctor.study import Run, load_of
from autotune.records import Measurement
from autotune.score.objective import summarize
from autotune.sweep import Settings
from autotune.track.files import keep


@dataclass(slots=True, kw_only=True)
class Notebook:
    """What is known so far, in `interference.json`: written anew with every measurement."""

    path: Path
    settings: Settings
    gpus: int
    facts: dict[str, Any]
    runs: list[Run] = field(default_factory=list)

    def add(self, run: Run) -> None:
        """Take one measurement."""
        self.runs.append(run)
        self.write()

    def write(self, **more: Any) -> None:
        """Write everything. Raises: InfrastructureError."""
        runs = [{"condition": condition(n), "pair": n // 2 + 1} | asdict(r) for n, r in enumerate(self.runs)]
        for run, known in zip(runs, self.runs, strict=True):
            run["metrics"] = self.metrics(known)
        keep(self.path, json.dumps({"v": 1, **self.facts, **more, "runs": runs}, indent=1))

    def metrics(self, run: Run) -> Mapping[str, float]:
        """The metrics of a measurement as they are scored: per GPU too."""
        config = self.settings.config
        measured = Measurement(
            load=load_of(config),
            repeat=0,
            metrics=run.metrics,
            requests_completed=run.requests_completed,
            requests_failed=run.requests_failed,
            errors={},
            duration_s=run.duration_s,
        )
        price = config.gpus.usd_per_hour
        return summarize([measured], config.objective, self.gpus, price=price)[0].metrics

    def pairs(self) -> list[tuple[Mapping[str, float], Mapping[str, float]]]:
        """The metrics of every pair that is complete."""
        metrics = [self.metrics(run) for run in self.runs]
        return list(zip(metrics[::2], metrics[1::2], strict=False))

    def lost_requests(self) -> list[str]:
        """What is to be known of requests that failed."""
        alone, beside = (sum(run.requests_failed for run in self.runs[n::2]) for n in (0, 1))
        others = sum(each.requests_failed for run in self.runs for each in run.neighbours)
        if not alone + beside + others:
            return []
        return [
            f"requests failed: {alone} alone, {beside} beside neighbours, {others} of the neighbours' own"
        ]


def condition(number: int) -> str:
    """Return how the measurement of that number is made: alone and beside neighbours in turn."""
    return "beside" if number % 2 else "alone"
