"""The contract of `conf/`: one mutable dataclass for each node, as OmegaConf accepts them.

A `kind` names a key of the registry that its stage keeps (`plan.runtimes`, `deploy`, `benchmark`,
`gpus`); presets never name import paths. `config_from` is the one way from composed configuration
to these classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from typing import Any

MISSING: Any = "???"  # OmegaConf's mark of a value that must be given
SEED: Any = "${seed}"  # the seed of the sweep


class Direction(Enum):
    """Whether a higher or a lower value of the objective's metric is better."""

    maximize = "maximize"
    minimize = "minimize"


class LoadMode(Enum):
    """Closed loop (requests in flight) or open loop (requests/s)."""

    concurrency = "concurrency"
    rate = "rate"


class ApiEndpoint(Enum):
    """Which OpenAI endpoint the requests go to."""

    chat = "chat"
    completions = "completions"


class GemmDtype(Enum):
    """Weights and activations of the linear layers."""

    auto = "auto"
    bf16 = "bf16"
    fp16 = "fp16"
    fp8 = "fp8"
    int8 = "int8"
    w4a16 = "w4a16"
    int4 = "w4a16"  # noqa: PIE796 (another name of it)
    w4afp8 = "w4afp8"
    nvfp4 = "nvfp4"
    mxfp8 = "mxfp8"
    mxfp4 = "mxfp4"


class KvCacheDtype(Enum):
    """Storage type of the KV cache."""

    auto = "auto"
    bf16 = "bf16"
    fp8 = "fp8"
    fp8_e4m3 = "fp8"  # noqa: PIE796 (another name of it)
    fp8_e5m2 = "fp8_e5m2"
    nvfp4 = "nvfp4"


class AttentionDtype(Enum):
    """Compute type of attention."""

    auto = "auto"
    fp8 = "fp8"


class MoeDtype(Enum):
    """Weights and activations of the experts."""

    auto = "auto"
    fp8 = "fp8"
    w4afp8 = "w4afp8"
    mxfp4 = "mxfp4"
    nvfp4 = "nvfp4"


@dataclass
class RuntimeConfig:
    """An inference engine, its version and its own arguments."""

    kind: str = MISSING  # key of plan.runtimes: vllm, sglang, tensorrt_llm
    version: str = MISSING  # engine version; its flag list must be known
    image: str = MISSING  # container image; {version} is filled in
    args: dict[str, Any] = field(default_factory=dict)  # engine arguments by name, underscores
    env: dict[str, str] = field(default_factory=dict)  # environment of the engine


@dataclass
class StoredConfig:
    """Number formats of the checkpoint as it is stored: bf16, fp8, w4a16, mxfp4, ...; null: unknown."""

    method: str | None = None  # as its config.json names it: fp8, awq, mxfp4, ...; none: not quantized
    gemm_dtype: str | None = None  # linear layers, attention included
    moe_dtype: str | None = None  # experts
    kvcache_dtype: str | None = None  # what its KV scales are for
    block_size: int | None = None  # rows and columns of FP8 weights that share a scale


@dataclass
class ModelConfig:
    """What is served, and the architecture facts that bound validity; null: unknown, or has none."""

    path: str = MISSING  # local folder, GGUF file or hub name
    served_name: str | None = None  # name in the API; null: the path
    trust_remote_code: bool = False
    describes: str | None = None  # whose facts these are; null: of `path`
    model_type: str | None = None  # the family, as config.json names it: llama, qwen3_moe, ...
    params: int | None = None  # parameters in all
    layers: int | None = None
    hidden_size: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    intermediate_size: int | None = None  # of a dense layer
    vocab_size: int | None = None
    max_model_len: int | None = None  # longest context the model was made for, tokens
    tied_embeddings: bool = False  # input and output embeddings are one matrix
    experts: int | None = None  # routed experts in a layer
    experts_per_token: int | None = None
    moe_intermediate_size: int | None = None  # of one expert
    dense_layers: int = 0  # layers without experts, in a model that has them
    kv_lora_rank: int | None = None  # MLA: width of the latent that is cached
    qk_rope_head_dim: int | None = None  # MLA: cached beside it
    index_topk: int | None = None  # sparse attention: tokens that each one looks at (DeepSeek-V3.2)
    sliding_window: int | None = None  # tokens that a sliding layer sees
    sliding_layers: int = 0  # layers that see no more than the window
    dtype: str | None = None  # what is not quantized: bf16, fp16
    stored: StoredConfig = field(default_factory=StoredConfig)


@dataclass
class QuantConfig:
    """Normalized quantization; `auto` leaves the choice to the checkpoint and the engine."""

    gemm_dtype: GemmDtype = GemmDtype.auto
    kvcache_dtype: KvCacheDtype = KvCacheDtype.auto
    attention_dtype: AttentionDtype = AttentionDtype.auto
    moe_dtype: MoeDtype = MoeDtype.auto


@dataclass
class ParallelConfig:
    """Normalized parallelism; every field is a number of ranks, 1 is off."""

    tp: int = 1  # tensor parallel
    pp: int = 1  # pipeline parallel
    dp: int = 1  # replicas
    attn_dp: int = 1  # attention data parallel
    ep: int = 1  # expert parallel
    dcp: int = 1  # decode context parallel
    cp: int = 1  # (prefill) context parallel
    moe_tp: int | None = None  # tensor parallel inside the experts; null: the engine's
    moe_dense_tp: int | None = None  # tensor parallel of dense layers in MoE models; null: the engine's


@dataclass
class ServingConfig:
    """Engine knobs that every runtime has; null leaves the engine's default."""

    max_running_requests: int | None = None
    max_batched_tokens: int | None = None
    max_model_len: int | None = None  # tokens
    prefix_caching: bool | None = None
    chunked_prefill: bool | None = None


@dataclass
class WorkloadConfig:
    """The traffic. Lengths are means in tokens; a spread is standard deviation over mean."""

    endpoint: ApiEndpoint = ApiEndpoint.completions
    mode: LoadMode = LoadMode.concurrency
    loads: list[float] = MISSING  # requests in flight, or requests/s; measured one after another
    input_tokens: int = MISSING
    output_tokens: int = MISSING
    input_spread: float = 0.0
    output_spread: float = 0.0
    ignore_eos: bool = True  # fixed output lengths
    requests_per_load: int = 8  # requests measured for each unit of load
    min_requests: int = 16  # at least so many
    warmup_requests: int = 4  # for each unit of load, first, not measured
    seed: int = SEED


@dataclass
class BenchmarkConfig:
    """The load client."""

    kind: str = MISSING  # key of benchmark: native
    request_timeout_s: float = 300.0  # a request without an end by then has failed


@dataclass
class DeployConfig:
    """Where the engine runs. A field that a deployer does not use is null in its preset."""

    kind: str = MISSING  # key of deploy: simulated, process, replay
    startup_timeout_s: float = 900.0
    stop_timeout_s: float = 15.0  # between SIGTERM and SIGKILL
    url: str | None = None  # measure this engine, which someone else runs and stops
    port: int | None = None  # null: any free one
    bin: str | None = None  # process: folder of the engine's program; null: prepared ones, then PATH
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
class SloConfig:
    """Bounds on latency; none in this version's presets."""


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


@dataclass
class LauncherConfig:
    """How trials share the inventory."""

    max_parallel: int | None = None  # trials side by side; null: as many as fit


@dataclass
class MeasureConfig:
    """How each load is measured."""

    repeats: int = 3  # measurements at each load; the median is ranked


@dataclass
class Config:
    """The whole composed configuration."""

    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    quant: QuantConfig = field(default_factory=QuantConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    serving: ServingConfig = field(default_factory=ServingConfig)
    workload: WorkloadConfig = field(default_factory=WorkloadConfig)
    benchmark: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    deploy: DeployConfig = field(default_factory=DeployConfig)
    gpus: GpusConfig = field(default_factory=GpusConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    slo: SloConfig = field(default_factory=SloConfig)
    quality: QualityConfig = field(default_factory=QualityConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    launcher: LauncherConfig = field(default_factory=LauncherConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    seed: int = 0


def config_from(container: Any) -> Config:
    """Return the typed configuration of a composed (or recorded) one.

    Nodes that were seen before are shared between configurations: nobody changes them.

    Raises: omegaconf.errors.OmegaConfBaseException for a key or type that the schema lacks.
    """
    from omegaconf.errors import OmegaConfBaseException

    if not _complete(container):
        return _whole(container)
    try:
        return Config(**{name: _node(name, content) for name, content in container.items()})
    except OmegaConfBaseException:
        return _whole(container)  # whose error names the whole key


def _complete(container: Any) -> bool:
    """Whether every key is there, as composition leaves it, so that no default refers to another node."""
    if not isinstance(container, dict) or container.keys() != _NODES.keys():
        return False
    return isinstance(container["seed"], int) and all(
        isinstance(container[name], dict) and container[name].keys() == keys for name, keys in _KEYS.items()
    )


def _whole(container: Any) -> Config:
    from omegaconf import OmegaConf

    merged = OmegaConf.merge(OmegaConf.structured(Config), container)
    config = OmegaConf.to_object(merged)
    if not isinstance(config, Config):
        raise TypeError(f"composed configuration became {type(config).__name__}, expected Config")
    return config


_NODES: dict[str, Any] = {item.name: item.default_factory for item in fields(Config)}
_KEYS = {
    name: frozenset(item.name for item in fields(kind)) for name, kind in _NODES.items() if is_dataclass(kind)
}
_nodes: dict[tuple[str, str], Any] = {}
_values: dict[tuple[str, str, str], Any] = {}


def _node(name: str, content: Any) -> Any:
    """Return one node; the free arguments of a runtime, of which each candidate has its own, are added.

    Raises: omegaconf.errors.OmegaConfBaseException.
    """
    node_type = _NODES[name]
    if not isinstance(node_type, type) or not isinstance(content, dict):
        return content
    free = {key: content[key] for key in ("args", "env") if name == "runtime" and key in content}
    fixed = {key: value for key, value in content.items() if key not in free} if free else content
    key = (name, repr(fixed))
    if key not in _nodes:
        _nodes[key] = node_type(**{field: _value(node_type, field, value) for field, value in fixed.items()})
    return replace(_nodes[key], **free) if free else _nodes[key]


def _value(node_type: type, name: str, value: Any) -> Any:
    """Return the value of one field, converted and checked; each value once."""
    key = (node_type.__name__, name, repr(value))
    if key not in _values:
        from omegaconf import OmegaConf

        node: Any = OmegaConf.merge(OmegaConf.structured(node_type), {name: value})
        inner = node[name]
        _values[key] = OmegaConf.to_object(inner) if OmegaConf.is_config(inner) else inner
    return _values[key]
