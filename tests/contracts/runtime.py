"""The suite of `Runtime`: what it maps is known to its engine, and nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import pytest

from autotune.plan import arguments
from autotune.plan.facts import ModelFacts, Stored
from autotune.plan.runtimes.flags import known_versions, load_flags
from autotune.plan.runtimes.protocol import Mapped, Runtime, Setup
from autotune.records import Gpu, Inventory, InventoryKind
from autotune.schema import (
    AttentionDtype,
    Config,
    GemmDtype,
    KvCacheDtype,
    MoeDtype,
    ParallelConfig,
    QuantConfig,
    RuntimeConfig,
    ServingConfig,
)

PLAIN = Stored(method="none", gemm_dtype="bf16", moe_dtype="bf16")
DENSE = ModelFacts(
    source="the test",
    params=8_030_261_248,
    layers=32,
    hidden_size=4096,
    heads=32,
    kv_heads=8,
    head_dim=128,
    intermediate_size=14336,
    vocab_size=128256,
    max_model_len=131072,
    dtype="bf16",
    stored=Stored(method="none", gemm_dtype="bf16"),
)
"""Llama 3.1 8B."""
MOE = ModelFacts(
    source="the test",
    params=235_093_634_560,
    layers=94,
    hidden_size=4096,
    heads=64,
    kv_heads=4,
    head_dim=128,
    vocab_size=151936,
    max_model_len=40960,
    experts=128,
    experts_per_token=8,
    moe_intermediate_size=1536,
    dtype="bf16",
    stored=PLAIN,
)
"""Qwen3 235B A22B."""
MLA = ModelFacts(
    source="the test",
    params=671_026_419_200,
    layers=61,
    hidden_size=7168,
    heads=128,
    kv_heads=128,
    intermediate_size=18432,
    vocab_size=129280,
    max_model_len=163840,
    experts=256,
    experts_per_token=8,
    moe_intermediate_size=2048,
    dense_layers=3,
    kv_lora_rank=512,
    qk_rope_head_dim=64,
    dtype="bf16",
    stored=Stored(method="fp8", gemm_dtype="fp8", moe_dtype="fp8", block_size=128),
)
"""DeepSeek R1."""


def gpus(
    count: int = 8,
    *,
    capability: float | None = 9.0,
    model: str = "H100",
    kind: InventoryKind = InventoryKind.DECLARED,
) -> Inventory:
    """`count` GPUs of one node."""
    return Inventory(
        kind=kind,
        gpus=tuple(
            Gpu(
                uuid=f"g{index}",
                index=index,
                model=model,
                node="n",
                memory_gib=80,
                compute_capability=capability,
            )
            for index in range(count)
        ),
    )


def setup(
    config: Config,
    *,
    engine: str,
    version: str | None = None,
    facts: ModelFacts = DENSE,
    inventory: Inventory | None = None,
) -> Setup:
    """What a runtime is asked for; the newest version with a flag list, eight H100 and a dense model."""
    version = version or known_versions(engine)[-1]
    image = "image:{version}"
    runtime = RuntimeConfig(kind=engine, version=version, image=image, args=config.runtime.args)
    config = replace(config, runtime=runtime)
    return Setup(
        config=config,
        facts=facts,
        inventory=inventory or gpus(),
        flags=load_flags(engine, version),
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
LAYOUTS = [
    ParallelConfig(),
    ParallelConfig(tp=8),
    ParallelConfig(pp=2),
    ParallelConfig(tp=2, dp=2),
    ParallelConfig(tp=4, pp=2, dp=2),
    ParallelConfig(tp=8, attn_dp=8, ep=8),
    ParallelConfig(tp=8, dcp=2),
]


class RuntimeContract:
    """Every runtime passes these; a subclass names its `engine` and overrides `runtime`."""

    engine: str

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The adapter."""
        raise NotImplementedError(self.engine)

    @pytest.fixture(params=["dense", "experts", "latent", "unknown"])
    def facts(self, request: pytest.FixtureRequest) -> ModelFacts:
        """A model of each kind that the rules tell apart."""
        kinds = {"dense": DENSE, "experts": MOE, "latent": MLA, "unknown": ModelFacts(source="nowhere")}
        return kinds[request.param]

    def test_defaults_emit_nothing(self, runtime: Runtime, facts: ModelFacts) -> None:
        """Neutral presets leave everything to the engine."""
        mapped = runtime.mapped(setup(Config(), engine=self.engine, facts=facts))
        assert (mapped.args, mapped.reasons) == ({}, ())

    def test_one_rank_is_one_gpu(self, runtime: Runtime) -> None:
        """Without parallelism an engine takes one GPU, which holds the whole model."""
        layout = runtime.layout(ParallelConfig())
        assert (layout.gpus, layout.world_size) == (1, 1)
        shards = {getattr(layout.sharding, item.name) for item in fields(layout.sharding)}
        assert shards == {1}

    def test_what_is_mapped_is_known_to_every_version(self, runtime: Runtime, facts: ModelFacts) -> None:
        """No flag that the engine lacks, no value outside its choices, and an origin for each."""
        for version in known_versions(self.engine):
            flags = load_flags(self.engine, version)
            for config in CONFIGS:
                mapped = runtime.mapped(setup(config, engine=self.engine, version=version, facts=facts))
                assert set(mapped.origin) == set(mapped.args)
                assert arguments.check(mapped.args, flags) == []
                assert arguments.canonical(mapped.args, flags) == (dict(mapped.args), [])

    def test_no_field_is_dropped_in_silence(self, runtime: Runtime, facts: ModelFacts) -> None:
        """A field becomes an argument, a reason, or a note that names it; so does each of several."""
        for version in known_versions(self.engine):
            for config in CONFIGS:
                mapped = runtime.mapped(setup(config, engine=self.engine, version=version, facts=facts))
                for key in _set_keys(config):
                    assert _told(key, mapped), (key, config)

    @pytest.mark.parametrize("parallel", LAYOUTS, ids=map(str, range(len(LAYOUTS))))
    def test_parts_are_not_split_over_more_gpus_than_there_are(
        self, parallel: ParallelConfig, runtime: Runtime
    ) -> None:
        """Each part of the model and each cache has a whole number of GPUs."""
        layout = runtime.layout(parallel)
        sharding = layout.sharding
        for ranks in (sharding.attention, sharding.dense, sharding.experts, sharding.kv_heads):
            assert 1 <= ranks * sharding.layers <= layout.gpus
        assert sharding.layers == parallel.pp
        assert layout.gpus % layout.world_size == 0
        assert layout.gpus % sharding.caches == 0

    def test_layout_arguments_are_known_to_a_version(self, runtime: Runtime) -> None:
        """By the canonical name, else an alias would slip through; each says what to set instead."""
        known = set()
        for version in known_versions(self.engine):
            flags = load_flags(self.engine, version)
            known |= {flag.names[0][2:].replace("-", "_") for flag in flags.flags} | set(flags.options)
        assert runtime.layout_args
        assert set(runtime.layout_args) <= known
        assert all(runtime.layout_args.values())

    def test_what_parallel_presets_map_to_is_a_layout_argument(self, runtime: Runtime) -> None:
        """Else it could be given twice, once where the scheduler does not see it."""
        for facts in (DENSE, MOE):
            for parallel in PARALLEL:
                asked = setup(Config(parallel=parallel), engine=self.engine, facts=facts)
                assert set(runtime.mapped(asked).args) <= {*runtime.layout_args, *self.not_layout}

    not_layout: frozenset[str] = frozenset()
    """Arguments that parallel presets map to and that say how, not over what: a strategy, a backend."""

    def test_kv_budget_grows_with_the_gpu_and_shrinks_with_the_weights(self, runtime: Runtime) -> None:
        """An upper bound in GiB, with the arithmetic that gave it."""
        args: Mapping[str, Any] = {}
        small = runtime.kv_budget(args, gpu_gib=80, weights_gib=15)
        large = runtime.kv_budget(args, gpu_gib=141, weights_gib=15)
        heavy = runtime.kv_budget(args, gpu_gib=80, weights_gib=70)
        assert heavy.gib < small.gib < large.gib
        assert 0 < small.gib < 80 - 15
        assert runtime.kv_budget(args, gpu_gib=80, weights_gib=160).gib < 0
        assert "80" in small.arithmetic

    def test_a_model_starts_the_command(self, runtime: Runtime) -> None:
        """The program first, the model somewhere."""
        assert "some/model" in runtime.command("some/model")
        assert runtime.readiness.path.startswith("/")


def _set_keys(config: Config) -> list[str]:
    """The keys of quant, parallel and serving that are not neutral."""
    defaults = Config()
    return [
        f"{group}.{item.name}"
        for group in ("quant", "parallel", "serving")
        for item in fields(getattr(config, group))
        if getattr(getattr(config, group), item.name) != getattr(getattr(defaults, group), item.name)
    ]


def _told(key: str, mapped: Mapped) -> bool:
    words = (*mapped.origin.values(), *mapped.reasons, *mapped.notes)
    return any(f"{key}=" in word for word in words)
