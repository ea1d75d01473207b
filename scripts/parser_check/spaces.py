"""What is asked: all combinations of presets, the values of every field, the corners of search spaces."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from autotune.candidates import Composer
from autotune.compose import compose, presets
from autotune.gpus.inventory import take_inventory
from autotune.plan.resolve import resolve
from autotune.records import Inventory, Plan
from autotune.schema import Config, QuantConfig, config_from
from autotune.space import own_dimensions

Words = tuple[str, ...]
NONE = "none"  # the preset of search/space without dimensions
DEGREES: Mapping[str, Sequence[int]] = {
    "tp": (1, 2, 4, 8),
    "pp": (1, 2),
    "dp": (1, 2),
    "attn_dp": (1, 2, 8),
    "ep": (1, 4, 8),
    "dcp": (1, 2),
    "cp": (1, 2),
}
SERVING: Mapping[str, Sequence[str]] = {
    "max_running_requests": ("null", "1", "4096"),
    "max_batched_tokens": ("null", "2048", "65536"),
    "max_model_len": ("null", "4096"),
    "prefix_caching": ("null", "true", "false"),
    "chunked_prefill": ("null", "true", "false"),
}
SEARCHED = (("model=llama3_1_8b", "parallel=tp2"), ("model=qwen3_30b_a3b", "parallel=moe-optimized"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A candidate: what the user would type, and what becomes of it."""

    words: Words
    model: Mapping[str, Any]
    parallel: Mapping[str, Any]
    plan: Plan


class Planner:
    """Plans candidates for one engine version on one inventory, as `python -m autotune` does.

    The inventory's memory is left unknown: what does not fit is no question for an argument parser, and
    would hide layouts from it.
    """

    def __init__(self, app: Hydra, runtime: str, version: str, gpus: str) -> None:
        self.fixed = (f"runtime={runtime}", f"runtime.version={version}", f"gpus={gpus}")
        self._composer = Composer(app, self.fixed)
        self.inventory = _without_memory(take_inventory(self._config(()).gpus, {}))

    def planned(self, points: Iterable[Words]) -> Iterator[Planned]:
        """Yield the plan of each point, valid or not."""
        for point in points:
            candidate = self._composer.candidate(point)
            plan = resolve(config_from(candidate.config), self.inventory)
            words = (*self.fixed, *(word.lstrip("+") for word in point))
            node = candidate.config
            yield Planned(words=words, model=node["model"], parallel=node["parallel"], plan=plan)

    def _config(self, point: Words) -> Config:
        return config_from(self._composer.candidate(point).config)


def points(app: Hydra, runtime: str) -> Iterator[Words]:
    """Yield everything that is asked of one runtime."""
    groups = presets(app)
    yield from combined(groups, "model", "quant", "parallel", "serving")
    for model in groups["model"]:
        for point in (*quant_values(), *degrees(), *serving_values()):
            yield (f"model={model}", *point)
    for own, base in itertools.product(corners(app, runtime), SEARCHED):
        yield (*base, *own)


def quant_points(app: Hydra) -> Iterator[Words]:
    """Yield what is asked of kinds of GPU: presets and every value of number formats."""
    groups = presets(app)
    yield from combined(groups, "model", "quant")
    for model in groups["model"]:
        for point in quant_values():
            yield (f"model={model}", *point)


def combined(groups: Mapping[str, Sequence[str]], *names: str) -> Iterator[Words]:
    """Yield every combination of the presets of some groups."""
    yield from itertools.product(*([f"{name}={preset}" for preset in groups[name]] for name in names))


def quant_values() -> Iterator[Words]:
    """Yield every value of the quantization fields: weights with experts, cache with attention."""
    values = {item.name: [member.value for member in _enum(item.name)] for item in fields(QuantConfig)}
    for pair in (("gemm_dtype", "moe_dtype"), ("kvcache_dtype", "attention_dtype")):
        for chosen in itertools.product(*(values[name] for name in pair)):
            words = (f"quant.{name}={value}" for name, value in zip(pair, chosen, strict=True))
            yield ("parallel=tp8", *words)


def degrees() -> Iterator[Words]:
    """Yield combinations of the degrees of parallelism, then those of the experts' own."""
    for sizes in itertools.product(*DEGREES.values()):
        yield tuple(f"parallel.{name}={size}" for name, size in zip(DEGREES, sizes, strict=True))
    for name, size in itertools.product(("moe_tp", "moe_dense_tp"), (1, 4, 8)):
        yield ("parallel=tp8", f"parallel.{name}={size}")
        yield ("parallel=ep8", f"parallel.{name}={size}")


def serving_values() -> Iterator[Words]:
    """Yield every combination of the serving knobs' ends."""
    for values in itertools.product(*SERVING.values()):
        yield tuple(f"serving.{name}={value}" for name, value in zip(SERVING, values, strict=True))


def corners(app: Hydra, runtime: str) -> Iterator[Words]:
    """Yield the corners of every search space of a runtime: both ends of a range, each value of a choice."""
    parser = OverridesParser.create(config_loader=app.config_loader)
    for name in presets(app)["search/space"]:
        if name == NONE:
            continue
        texts: Any = OmegaConf.to_container(compose(app, [f"search/space={name}"]).search.space)
        own = own_dimensions(texts, parser).get(runtime, ())
        yield from itertools.product(*(dimension.ends() for dimension in own))


def _enum(field: str) -> type[Enum]:
    return type(getattr(QuantConfig(), field))


def _without_memory(inventory: Inventory) -> Inventory:
    gpus = tuple(replace(gpu, memory_gib=None) for gpu in inventory.gpus)
    return replace(inventory, gpus=gpus)
