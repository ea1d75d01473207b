"""The suite of `Runtime`: what it maps is known to its engine, and nothing is dropped in silence."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from autotune.plan import arguments
from autotune.plan.runtimes.flags import known_versions, load_flags
from autotune.plan.runtimes.protocol import Runtime
from autotune.records import Gpu, Inventory, InventoryKind
from autotune.schema import (
    AttentionDtype,
    Config,
    GemmDtype,
    KvCacheDtype,
    MoeDtype,
    ParallelConfig,
    QuantConfig,
    ServingConfig,
)

INVENTORY = Inventory(
    kind=InventoryKind.DECLARED,
    gpus=tuple(Gpu(uuid=f"g{i}", index=i, model="H100", node="n") for i in range(8)),
)
QUANT = [
    QuantConfig(gemm_dtype=gemm, kvcache_dtype=kv, attention_dtype=attention, moe_dtype=moe)
    for gemm in GemmDtype
    for kv in KvCacheDtype
    for attention in AttentionDtype
    for moe in MoeDtype
]
PARALLEL = [replace(ParallelConfig(), **{item.name: 2}) for item in fields(ParallelConfig)]
SERVING = [
    ServingConfig(max_running_requests=8, max_batched_tokens=4096, max_model_len=2048),
    ServingConfig(prefix_caching=True, chunked_prefill=True),
    ServingConfig(prefix_caching=False, chunked_prefill=False),
]
CONFIGS = [
    *(Config(quant=quant) for quant in QUANT),
    *(Config(parallel=parallel) for parallel in PARALLEL),
    *(Config(serving=serving) for serving in SERVING),
]


class RuntimeContract:
    """Every runtime passes these; a subclass names its `engine` and overrides `runtime`."""

    engine: str

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The adapter."""
        raise NotImplementedError(self.engine)

    def test_defaults_emit_nothing(self, runtime: Runtime) -> None:
        """Neutral presets leave everything to the engine."""
        mapped = runtime.mapped(Config(), INVENTORY)
        assert (mapped.args, mapped.reasons) == ({}, ())

    def test_one_rank_is_one_gpu(self, runtime: Runtime) -> None:
        """Without parallelism an engine takes one GPU."""
        layout = runtime.layout(ParallelConfig())
        assert (layout.gpus, layout.world_size) == (1, 1)

    @pytest.mark.parametrize("config", CONFIGS, ids=range(len(CONFIGS)))
    def test_what_is_mapped_is_known_to_every_version(self, config: Config, runtime: Runtime) -> None:
        """No flag that the engine lacks, no value outside its choices, and an origin for each."""
        mapped = runtime.mapped(config, INVENTORY)
        assert set(mapped.origin) == set(mapped.args)
        for version in known_versions(self.engine):
            assert arguments.check(mapped.args, load_flags(self.engine, version)) == []

    @pytest.mark.parametrize("parallel", PARALLEL, ids=[item.name for item in fields(ParallelConfig)])
    def test_no_field_is_dropped_in_silence(self, parallel: ParallelConfig, runtime: Runtime) -> None:
        """A field becomes an argument or a reason."""
        mapped = runtime.mapped(Config(parallel=parallel), INVENTORY)
        assert mapped.args or mapped.reasons

    def test_a_model_starts_the_command(self, runtime: Runtime) -> None:
        """The program first, the model somewhere."""
        assert "some/model" in runtime.command("some/model")
        assert runtime.readiness.path.startswith("/")
