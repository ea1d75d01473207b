"""How it is loaded, where it runs, what is measured and how the space is explored."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from autotune.schema.engine import MISSING
from autotune.schema.workload import SamplingConfig, WorkloadKind

SEED: Any = "${seed}"  # the seed of the sweep


class Direction(Enum):
    """Whether a higher or a lower value of the objective's metric is better."""

    maximize = "maximize"
    minimize = "minimize"


class LoadMode(Enum):
    """Closed loop (requests in flight) or open loop (requests/s)."""

    concurrency = "concurrency"
    rate = "rate"


class Arrival(Enum):
    """How the arrivals of an open loop are spaced; all have the mean that the rate asks for."""

    poisson = "poisson"
    constant = "constant"
    gamma = "gamma"
    trace = "trace"


class ApiEndpoint(Enum):
    """Which OpenAI endpoint the requests go to."""

    chat = "chat"
    completions = "completions"


class Pull(Enum):
    """Whether images are pulled: never, those that are not here, or all, once in a sweep."""

    never = "never"
    missing = "missing"
    always = "always"


@dataclass
class WorkloadConfig:
    """The traffic. Lengths are means in tokens; a spread is standard deviation over mean.

    `input_tokens` is the mean of a first prompt: `prefix_tokens` that it shares with others, and its own
    rest, of which the spread is. A later turn adds the answer before it and as much of its own.
    """

    kind: WorkloadKind = WorkloadKind.synthetic
    file: str | None = None  # sharegpt, jsonl: the requests
    file_sha256: str | None = None  # its content's hash; given: the file must have it
    max_tokens: int | None = None  # sharegpt, jsonl: longer requests are left out; null: the model's length
    endpoint: ApiEndpoint = ApiEndpoint.completions
    mode: LoadMode = LoadMode.concurrency
    loads: Any = MISSING  # a list of requests in flight, or of requests/s; search: the highest within the SLO
    least_load: float | None = None  # search: not below; null: 1 in flight, 0.1 requests/s
    most_load: float | None = None  # search: not above; null: 1024 in flight, 1000 requests/s
    input_tokens: int | None = MISSING  # null: the file's lengths
    output_tokens: int | None = MISSING  # likewise; given with a file: the length of every answer
    input_spread: float = 0.0
    output_spread: float = 0.0
    prefix_tokens: int = 0  # of a prompt, shared with other conversations
    prefixes: int = 1  # so many different ones, drawn by conversation; the warm-up goes through all
    turns: int = 1  # mean requests of a conversation; sharegpt: at most so many
    turns_spread: float = 0.0
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    extra_body: dict[str, Any] = field(default_factory=dict)  # more fields of each request
    ignore_eos: bool = True  # fixed output lengths
    requests_per_load: int = 8  # requests measured for each unit of load
    min_requests: int = 16  # at least so many
    seconds_per_load: float | None = (
        None  # measure what is sent within so many seconds instead; null: by count
    )
    warmup_requests: int = 4  # for each unit of load, first, not measured: the least warm-up
    warmup_max_s: float = 30.0  # it goes on until latency is steady, but not beyond; 0: only the least
    ramp_s: float = 0.0  # the load grows to its value over so many seconds of the warm-up
    arrival: Arrival = Arrival.poisson  # mode rate: poisson, constant, gamma; trace: the file's own
    burstiness: float = 1.0  # gamma: its shape; 1 is poisson, less comes in bursts, more is more even
    seed: int = SEED


@dataclass
class BenchmarkConfig:
    """The load client."""

    kind: str = MISSING  # key of benchmark: native, aiperf, guidellm, …
    venv: str | None = None  # clients of others: Python environment; null: doctor --install's
    args: dict[str, Any] = field(default_factory=dict)  # likewise: more options of its own command
    request_timeout_s: float | None = None  # a request without an end by then has failed; null: 300 or longer
    processes: int | None = None  # native: of the client; null: by the load and the cores it may use


@dataclass
class DeployConfig:
    """Where the engine runs. A field that a deployer does not use is null in its preset."""

    kind: str = MISSING  # key of deploy: docker, process, simulated, replay
    startup_timeout_s: float = 900.0
    stop_timeout_s: float = 15.0  # between SIGTERM and SIGKILL
    url: str | None = None  # measure this engine, which someone else runs and stops
    port: int | None = None  # null: any free one
    venv: str | None = None  # process: Python environment that the engine is in and runs in
    bin: str | None = None  # process: folder of a program that needs none; null: prepared ones, then PATH
    prefix: list[str] = field(default_factory=list)  # process: words before the engine's command
    pull: Pull = Pull.never  # docker: images that are pulled
    daemon_timeout_s: float = 30.0  # docker: for one answer of the daemon
    hub_cache: str | None = None  # docker: this host's folder of hub models; null: HF_HOME, or the usual one
    compile_cache: bool = True  # docker: keep what engines compile, by image and kind of GPU
    memory_gib: float | None = None  # docker: host memory of a container; null: no limit
    ulimits: list[str] = field(default_factory=list)  # docker: [memlock:-1]; -1 is unlimited
    cap_add: list[str] = field(default_factory=list)  # docker: capabilities, such as SYS_NICE
    table: str | None = None  # replay: CSV of measured rows
    time_scale: float = 0.0  # replay: real seconds for a recorded second
    startup_s: float = 1.0  # simulated: seconds until the engine is ready


@dataclass
class GpuSpecConfig:
    """Data-sheet figures of a declared GPU; see `records.GpuSpec` for the units."""

    tflops_16bit: float = MISSING
    tflops_8bit: float | None = None
    memory_gib: float = MISSING
    memory_gb_per_s: float = MISSING
    link_gb_per_s: float = MISSING
    compute_capability: float | None = None


@dataclass
class GpusConfig:
    """The inventory."""

    kind: str = MISSING  # key of gpus: nvml, declared, cpu
    model: str | None = None  # declared: GPU model
    count: int | None = None  # declared, cpu: how many; with deploy.url: how many the engine has
    ids: list[str] | None = None  # nvml: use only these (indices or UUIDs)
    min_free_fraction: float = 0.9  # nvml: a GPU with less of its memory free is in use
    wait_for_free: bool = False  # nvml: wait for GPUs that others use, instead of leaving them out
    settle_timeout_s: float = 60.0  # nvml: within this a trial's memory must be free again
    island: int | None = None  # declared: GPUs that NVLink joins; null: all of them
    usd_per_hour: float | None = None  # price of one GPU
    spec: GpuSpecConfig | None = None


@dataclass
class BudgetConfig:
    """What a search may spend; null is unlimited."""

    trials: int | None = None


@dataclass
class SearchConfig:
    """How the space is explored."""

    kind: str = MISSING  # auto, grid
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    space: dict[str, dict[str, str]] = field(default_factory=dict)  # runtime: {argument: its values}


@dataclass
class ObjectiveConfig:
    """What `best` means."""

    metric: str = MISSING  # a metric of contract section 3
    direction: Direction = MISSING
    load: str = "best"  # best: the load with the best value; else the load's number


@dataclass
class QualityConfig:
    """Bounds on the answers; none in this version's presets."""


@dataclass
class TrackingConfig:
    """The MLflow store."""

    kind: str = MISSING  # local, or server (which needs uri)
    uri: str | None = None  # null: mlruns/mlflow.db in the working directory
    experiment: str = "autotune"


@dataclass
class SweepConfig:
    """Identity and continuation of a sweep."""

    name: str | None = None  # null: date and time
    resume: bool = False  # continue the sweep of this name
    retry: str | None = None  # on resume: `failed`, or a failure kind, to run those again
    max_failures: int | None = 5  # when so many trials ended, all as one kind, no more start; null: go on


@dataclass
class LauncherConfig:
    """How trials share the inventory."""

    max_parallel: int | None = None  # trials side by side; null: as many as fit
    exclusive: bool = False  # one trial at a time, undisturbed by others
    acquire_timeout_s: float | None = None  # longest wait for GPUs that others hold; null: no limit
    lookahead: int = 3  # trials that wait for GPUs while a search still chooses
    overtake: float = 3.0  # mean trials for which a wide trial may be overtaken while a search chooses
    island_wait: float = 0.5  # mean trials for which a trial waits for one NVLink island then
    pin_cpus: bool = True  # nvml: engines on the cores of their GPUs' NUMA node
    client_cores: int = 2  # cores of each NUMA node kept for load clients; 0: clients run anywhere


@dataclass
class RetryConfig:
    """Bounds on further attempts at a trial; whether a failure is worth one stands in `failures.KINDS`."""

    attempts: int = 3  # at a trial, all together; 1: none but the first
    backoff_s: float = 5.0  # before the second; doubles each time, up to 60; the GPUs are free meanwhile
    within_s: float = (
        600.0  # no other attempt so long after the first began; other GPUs are waited for so long
    )


@dataclass
class MeasureConfig:
    """How each load is measured."""

    repeats: int = 3  # measurements at each load; the mean is ranked
    until: float | None = (
        None  # then more, until the score is known to this share: 0.02 is ± 2 %; null: no more
    )
    max_repeats: int = 20  # with until: not more than so many
    max_points: int = 8  # workload.loads=search: loads measured at the most
    shuffle: bool = True  # loads in a repeat, and candidates as packing allows, in an order drawn from seed
    sample_s: float | None = 1.0  # between two looks at the engine's metrics and its GPUs; null: never
    stall_timeout_s: float = 300.0  # an engine has hung from which nothing came for so long; not in a replay
    trial_timeout_s: float | None = None  # longest trial, start-up included; null: no limit; not in a replay
