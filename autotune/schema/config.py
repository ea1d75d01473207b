"""The whole configuration, and the one way to it from what was composed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from autotune.schema.engine import ModelConfig, ParallelConfig, QuantConfig, RuntimeConfig, ServingConfig
from autotune.schema.experiment import (
    BenchmarkConfig,
    DeployConfig,
    GpusConfig,
    LauncherConfig,
    MeasureConfig,
    ObjectiveConfig,
    QualityConfig,
    RetryConfig,
    SearchConfig,
    SweepConfig,
    TrackingConfig,
    WorkloadConfig,
)
from autotune.schema.slo import SloConfig


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
    retry: RetryConfig = field(default_factory=RetryConfig)
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
