"""What the requests of a workload are made of, and how their answers are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class WorkloadKind(Enum):
    """Where requests are from: drawn from distributions, or a file that the user gives."""

    synthetic = "synthetic"
    sharegpt = "sharegpt"
    jsonl = "jsonl"


@dataclass
class SamplingConfig:
    """How the engine draws tokens: fields of a request; null is left out, and is the engine's default."""

    temperature: float | None = 0.0
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None  # of each request, the same for all
