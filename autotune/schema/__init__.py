"""The contract of `conf/`: one mutable dataclass for each node, as OmegaConf accepts them.

A `kind` names a key of the registry that its stage keeps (`plan.runtimes`, `deploy`, `benchmark`,
`gpus`); presets never name import paths. `config_from` is the one way from composed configuration
to these classes.
"""

from autotune.schema.config import Config, config_from
from autotune.schema.engine import (
    AttentionDtype,
    GemmDtype,
    KvCacheDtype,
    ModelConfig,
    MoeDtype,
    ParallelConfig,
    QuantConfig,
    RuntimeConfig,
    ServingConfig,
    StoredConfig,
)
from autotune.schema.experiment import (
    ApiEndpoint,
    Arrival,
    BenchmarkConfig,
    BudgetConfig,
    DeployConfig,
    Direction,
    GpusConfig,
    GpuSpecConfig,
    LauncherConfig,
    LoadMode,
    MeasureConfig,
    ObjectiveConfig,
    Pull,
    QualityConfig,
    RetryConfig,
    SearchConfig,
    SweepConfig,
    TrackingConfig,
    WorkloadConfig,
)
from autotune.schema.slo import SloConfig, SloMode
from autotune.schema.workload import SamplingConfig, WorkloadKind

__all__ = [
    "ApiEndpoint",
    "Arrival",
    "AttentionDtype",
    "BenchmarkConfig",
    "BudgetConfig",
    "Config",
    "DeployConfig",
    "Direction",
    "GemmDtype",
    "GpuSpecConfig",
    "GpusConfig",
    "KvCacheDtype",
    "LauncherConfig",
    "LoadMode",
    "MeasureConfig",
    "ModelConfig",
    "MoeDtype",
    "ObjectiveConfig",
    "ParallelConfig",
    "Pull",
    "QualityConfig",
    "QuantConfig",
    "RetryConfig",
    "RuntimeConfig",
    "SamplingConfig",
    "SearchConfig",
    "ServingConfig",
    "SloConfig",
    "SloMode",
    "StoredConfig",
    "SweepConfig",
    "TrackingConfig",
    "WorkloadConfig",
    "WorkloadKind",
    "config_from",
]
