"""What is known of a model, from what its checkpoint says and what its preset says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.plan.facts import Found, ModelFacts, Stored, facts_of_preset
from autotune.plan.known import Known, facts_of
from autotune.schema import ModelConfig, StoredConfig

FROM = "model facts are from /models/a/config.json"
NO_SHAPE = (
    "no architecture facts: checks of heads, experts and memory are skipped; choose a model preset or give "
    "model.heads, model.layers, model.kv_heads, model.hidden_size"
)
SHAPE = {"layers": 8, "hidden_size": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "intermediate_size": 256}
REST = {"model_type": "llama", "params": 1000, "vocab_size": 512, "max_model_len": 4096, "dtype": "bf16"}
BF16 = {"method": "none", "gemm_dtype": "bf16"}
EXPERTS = {"experts": 16, "experts_per_token": 2, "moe_intermediate_size": 32}


def preset(stored: dict[str, Any] | None = None, **said: Any) -> ModelConfig:
    """A model preset that says so much."""
    return ModelConfig(path="org/model", stored=StoredConfig(**(stored or {})), **said)


def found(stored: dict[str, Any] | None = None, **said: Any) -> Found:
    """A checkpoint that says so much."""
    has = Stored(**stored) if stored else None
    return Found(facts=ModelFacts(source="config.json", stored=has, **said), notes=(FROM,))


WHOLE = preset(BF16, **SHAPE, **REST)
FULL = found(BF16, **SHAPE, **REST)


@pytest.mark.parametrize(
    ("model", "notes"),
    [
        pytest.param(WHOLE, (), id="whole"),
        pytest.param(preset(), (NO_SHAPE,), id="nothing"),
        pytest.param(preset(heads=4), (NO_SHAPE,), id="heads only"),
        pytest.param(preset(layers=8, params=1000), (NO_SHAPE,), id="layers only"),
        pytest.param(preset(layers=8, heads=4), (), id="layers and heads"),
    ],
)
def test_without_a_checkpoint(model: ModelConfig, notes: tuple[str, ...]) -> None:
    """The preset is all that is known, and a shape that nobody told is a note."""
    assert facts_of(model, None) == Known(facts=facts_of_preset(model), notes=notes)


def test_the_same_said_twice() -> None:
    """A checkpoint that says what its preset says adds where that is from, and nothing else."""
    known = facts_of(WHOLE, FULL)
    assert known == Known(facts=replace(facts_of_preset(WHOLE), source="config.json"), notes=(FROM,))


@pytest.mark.parametrize(
    ("said", "has", "note"),
    [
        pytest.param({"vocab_size": 512}, {"vocab_size": 640}, "model.vocab_size: config.json says 640, the preset 512", id="vocabulary"),
        pytest.param({"params": 1000}, {"params": 1200}, "model.params: config.json says 1200, the preset 1000", id="parameters"),
        pytest.param({"dtype": "bf16"}, {"dtype": "fp16"}, "model.dtype: config.json says fp16, the preset bf16", id="dtype"),
        pytest.param({"head_dim": 16}, {"head_dim": 32}, "model.head_dim: config.json says 32, the preset 16", id="width of a head"),
        pytest.param({"tied_embeddings": True}, {"tied_embeddings": False}, "model.tied_embeddings: config.json says False, the preset True", id="embeddings"),
        pytest.param({"sliding_window": 128, "sliding_layers": 4}, {}, "model.sliding_window: config.json says none, the preset 128; model.sliding_layers: config.json says 0, the preset 4", id="nothing slides"),
        pytest.param({"kv_lora_rank": 512, "qk_rope_head_dim": 64, "index_topk": 2048}, {}, "model.kv_lora_rank: config.json says none, the preset 512; model.qk_rope_head_dim: config.json says none, the preset 64; model.index_topk: config.json says none, the preset 2048", id="no MLA"),
        pytest.param({"max_model_len": 4096, "vocab_size": 512}, {"max_model_len": 8192, "vocab_size": 640}, "model.vocab_size: config.json says 640, the preset 512; model.max_model_len: config.json says 8192, the preset 4096", id="several"),
    ],
)  # fmt: skip
def test_the_checkpoint_wins(said: dict[str, Any], has: dict[str, Any], note: str) -> None:
    """Where both tell a fact the checkpoint's is used, and a note has both; the preset still fills the rest."""
    known = facts_of(preset(BF16, **{**SHAPE, **REST, **said}), found(BF16, **{**SHAPE, **REST, **has}))
    read = {name: getattr(known.facts, name) for name in {*said, *has}}
    assert read == {
        **dict.fromkeys(said),
        **({"sliding_layers": 0} if "sliding_layers" in said else {}),
        **has,
    }
    assert (known.problems, known.notes) == ((), (FROM, f"{note}: config.json is used"))


def test_a_difference_does_not_keep_the_preset_from_filling() -> None:
    """A fine-tuned model with more tokens is still the preset's model."""
    known = facts_of(WHOLE, found(BF16, **SHAPE, model_type="llama", vocab_size=640, dtype="bf16"))
    assert (known.facts.vocab_size, known.facts.params, known.facts.max_model_len) == (640, 1000, 4096)
    assert known.notes == (
        FROM,
        "model.vocab_size: config.json says 640, the preset 512: config.json is used",
        "model.params, model.max_model_len: from the model preset",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"layers": 16}, "model.layers: config.json says 16, the preset 8", id="layers"),
        pytest.param({"hidden_size": 128}, "model.hidden_size: config.json says 128, the preset 64", id="hidden size"),
        pytest.param({"heads": 8}, "model.heads: config.json says 8, the preset 4", id="heads"),
        pytest.param({"kv_heads": 4}, "model.kv_heads: config.json says 4, the preset 2", id="KV heads"),
        pytest.param({"intermediate_size": 512}, "model.intermediate_size: config.json says 512, the preset 256", id="width"),
        pytest.param({"layers": 16, "heads": 8}, "model.layers: config.json says 16, the preset 8; model.heads: config.json says 8, the preset 4", id="several"),
    ],
)  # fmt: skip
def test_a_preset_of_another_model_fills_nothing(changes: dict[str, Any], said: str) -> None:
    """What the shape shows to be another model says nothing of this one, and a note says so."""
    checkpoint = found({"method": "hqq"}, **{**SHAPE, **changes})
    model = preset({"method": "hqq", "gemm_dtype": "w4a16"}, **SHAPE, **REST, tied_embeddings=True)
    known = facts_of(model, checkpoint)
    told = Stored(method="hqq", gemm_dtype="w4a16")  # of a method whose format the checkpoint cannot tell
    assert known.facts == replace(checkpoint.facts, stored=told)
    rest = "config.json is used, and nothing of the preset, which is of another model"
    both = f"{said}; model.tied_embeddings: config.json says False, the preset True"
    assert (known.problems, known.notes) == ((), (FROM, f"{both}: {rest}"))


@pytest.mark.parametrize(
    ("said", "has"),
    [
        pytest.param(EXPERTS, {}, id="the checkpoint has none"),
        pytest.param(EXPERTS, {**EXPERTS, "experts": 8}, id="the checkpoint has fewer"),
    ],
)
def test_other_experts_are_another_model(said: dict[str, Any], has: dict[str, Any]) -> None:
    """A model is no other's because of its experts."""
    known = facts_of(preset(BF16, **SHAPE, **REST, **said), found(BF16, **SHAPE, **has))
    assert (known.facts.params, known.facts.experts) == (None, has.get("experts"))
    (_, note) = known.notes
    assert note.startswith(f"model.experts: config.json says {has.get('experts', 'none')}, the preset 16")
    assert note.endswith("and nothing of the preset, which is of another model")


@pytest.mark.parametrize(
    ("said", "has", "filled"),
    [
        pytest.param({}, {}, "model.model_type, model.params, model.vocab_size, model.max_model_len, model.dtype", id="all that is beside the shape"),
        pytest.param({}, {"model_type": "llama", "params": 1000, "dtype": "bf16", "max_model_len": 4096}, "model.vocab_size", id="vocabulary"),
        pytest.param({"tied_embeddings": True}, {**REST, "tied_embeddings": None}, "model.tied_embeddings", id="embeddings"),
        pytest.param(EXPERTS, {**REST, "experts": 16}, "model.experts_per_token, model.moe_intermediate_size", id="facts of experts"),
        pytest.param({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, {**REST, "kv_lora_rank": 512}, "model.qk_rope_head_dim", id="facts of MLA"),
    ],
)  # fmt: skip
def test_the_preset_fills_what_is_missing(said: dict[str, Any], has: dict[str, Any], filled: str) -> None:
    """What the checkpoint does not tell is the preset's, and a note lists it."""
    known = facts_of(preset(BF16, **SHAPE, **REST, **said), found(BF16, **SHAPE, **has))
    expected = facts_of_preset(preset(BF16, **SHAPE, **REST, **said))
    assert known.facts == replace(expected, source="config.json")
    assert (known.problems, known.notes) == ((), (FROM, f"{filled}: from the model preset"))


@pytest.mark.parametrize(
    ("said", "has", "expected"),
    [
        pytest.param({"tied_embeddings": False}, {"tied_embeddings": None}, {"tied_embeddings": False}, id="embeddings that nobody tells"),
        pytest.param({"tied_embeddings": False}, {"tied_embeddings": True}, {"tied_embeddings": True}, id="embeddings that the checkpoint tells"),
        pytest.param({"intermediate_size": None}, {"intermediate_size": 256}, {"intermediate_size": 256}, id="a width that the preset leaves out"),
    ],
)  # fmt: skip
def test_what_needs_no_note(said: dict[str, Any], has: dict[str, Any], expected: dict[str, Any]) -> None:
    """What the preset does not say cannot differ from the checkpoint."""
    known = facts_of(preset(BF16, **{**SHAPE, **REST, **said}), found(BF16, **{**SHAPE, **REST, **has}))
    assert {name: getattr(known.facts, name) for name in expected} == expected
    assert known.notes == (FROM,)


def test_experts_everywhere_leave_no_dense_width() -> None:
    """A model whose layers all have experts has no dense width, so a preset that has one is another's."""
    shape = {**SHAPE, **EXPERTS, "intermediate_size": None}
    known = facts_of(preset(BF16, **{**shape, "intermediate_size": 256}), found(BF16, **shape))
    assert known.facts.intermediate_size is None
    (_, note) = known.notes
    assert note.startswith("model.intermediate_size: config.json says none, the preset 256")


def test_some_dense_layers_have_the_preset_s_width() -> None:
    """Where some layers are dense their width can be missing, and is the preset's."""
    shape = {**SHAPE, **EXPERTS, "dense_layers": 3}
    known = facts_of(preset(BF16, **shape), found(BF16, **{**shape, "intermediate_size": None}))
    assert known.facts.intermediate_size == 256
    assert known.notes == (FROM, "model.intermediate_size: from the model preset")


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({}, id="dense"),
        pytest.param({**EXPERTS, "dense_layers": 3}, id="experts"),
        pytest.param({"kv_lora_rank": 512, "qk_rope_head_dim": 64}, id="MLA"),
        pytest.param({"sliding_window": 128, "sliding_layers": 4}, id="sliding"),
    ],
)
def test_a_checkpoint_without_a_shape_takes_the_preset_s(said: dict[str, Any]) -> None:
    """Where the checkpoint tells no shape all of it is the preset's, and what it does tell is kept."""
    model = preset(BF16, **SHAPE, **REST, **said)
    known = facts_of(model, found(BF16, vocab_size=512, weights_bytes=2000))
    assert known.facts == replace(facts_of_preset(model), source="config.json", weights_bytes=2000)
    assert known.notes == (FROM, "the shape of the model: from the model preset")


def test_no_shape_anywhere() -> None:
    """A model whose shape neither tells is served unchecked, and a note says so."""
    known = facts_of(preset(), found(BF16))
    assert not known.facts.shaped
    assert (known.problems, known.notes) == ((), (FROM, NO_SHAPE))


HQQ = {"method": "hqq", "gemm_dtype": "w4a16", "moe_dtype": "w8a16"}


@pytest.mark.parametrize(
    ("said", "has", "expected"),
    [
        pytest.param(HQQ, {"method": "hqq"}, HQQ, id="the same method"),
        pytest.param(HQQ, {"method": "hqq", "gemm_dtype": "w8a16"}, {**HQQ, "gemm_dtype": "w8a16"}, id="the same, one format told"),
        pytest.param(HQQ, {"method": "other"}, {"method": "other"}, id="another method"),
        pytest.param(BF16, {"method": "hqq"}, {"method": "hqq"}, id="not quantized in the preset"),
        pytest.param({}, {"method": "hqq"}, {"method": "hqq"}, id="nothing in the preset"),
        pytest.param(HQQ, None, HQQ, id="nothing in the checkpoint"),
    ],
)  # fmt: skip
def test_formats_of_an_unknown_method(
    said: dict[str, Any], has: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    """Formats that the checkpoint cannot tell are the preset's if it names the same method."""
    known = facts_of(preset(said, **SHAPE, **REST), found(has, **SHAPE, **REST))
    assert known.facts.stored == Stored(**expected)


FP8 = {"method": "fp8", "gemm_dtype": "fp8", "kvcache_dtype": "fp8", "block_size": 128}


@pytest.mark.parametrize(
    ("said", "has", "note"),
    [
        pytest.param(BF16, {"method": "awq", "gemm_dtype": "w4a16"}, "model.stored.method: config.json says awq, the preset none; model.stored.gemm_dtype: config.json says w4a16, the preset bf16", id="quantized, under a preset that is not"),
        pytest.param(BF16, FP8, "model.stored.method: config.json says fp8, the preset none; model.stored.gemm_dtype: config.json says fp8, the preset bf16", id="FP8, under a preset that is not"),
        pytest.param(BF16, {"method": "hqq"}, "model.stored.method: config.json says hqq, the preset none", id="a method that is not known"),
        pytest.param(FP8, BF16, "model.stored.method: config.json says none, the preset fp8; model.stored.gemm_dtype: config.json says bf16, the preset fp8", id="not quantized, under a preset that is"),
        pytest.param({**FP8, "kvcache_dtype": "int8"}, FP8, "model.stored.kvcache_dtype: config.json says fp8, the preset int8", id="another KV cache"),
        pytest.param({**BF16, "moe_dtype": "bf16"}, {**BF16, "moe_dtype": "fp16"}, "model.stored.moe_dtype: config.json says fp16, the preset bf16", id="other experts"),
    ],
)  # fmt: skip
def test_the_checkpoint_s_formats_win(said: dict[str, Any], has: dict[str, Any], note: str) -> None:
    """A quantized checkpoint is quantized whatever its preset says, and a note has both."""
    known = facts_of(preset(said, **SHAPE, **REST), found(has, **SHAPE, **REST))
    assert known.facts.stored == Stored(**has)
    assert known.facts.stored.quantized is (has["method"] != "none")
    assert known.notes == (FROM, f"{note}: config.json is used")


def gguf(**said: Any) -> Found:
    """A GGUF file that says so much."""
    stored = Stored(method="gguf", gemm_dtype="w4a16")
    return Found(facts=ModelFacts(source="GGUF file a.gguf", stored=stored, **said))


WITHOUT = (
    "GGUF file a.gguf tells no number of layers or heads: give model.layers=... model.heads=... or a model "
    "preset with them"
)


@pytest.mark.parametrize(
    ("model", "read", "problems"),
    [
        pytest.param(preset(), gguf(), (WITHOUT,), id="no shape in either"),
        pytest.param(preset(heads=4), gguf(), (WITHOUT,), id="no layers in either"),
        pytest.param(preset(heads=4), gguf(layers=8), (), id="one in each"),
        pytest.param(preset(layers=8, heads=4), gguf(), (), id="shape in the preset"),
        pytest.param(preset(), gguf(layers=8, heads=4), (), id="shape in the file"),
        pytest.param(preset(), found({"method": "awq"}), (), id="no GGUF file"),
    ],
)
def test_gguf_without_a_shape(model: ModelConfig, read: Found, problems: tuple[str, ...]) -> None:
    """No engine can load a GGUF file of unknown shape: the problem says what to give."""
    assert facts_of(model, read).problems == problems


@pytest.mark.parametrize(
    ("model", "notes"),
    [
        pytest.param(
            WHOLE, ("the shape of the model: from the model preset",), id="the preset tells the shape"
        ),
        pytest.param(preset(), (NO_SHAPE,), id="nobody tells the shape"),
    ],
)
def test_problems_are_passed_on(model: ModelConfig, notes: tuple[str, ...]) -> None:
    """What is wrong with a checkpoint stays wrong, though its preset is used for the rest."""
    problems = ("config.json: is no JSON", "hf_quant_config.json: is no JSON")
    known = facts_of(model, Found(facts=ModelFacts(source="config.json"), problems=problems))
    assert known.facts == replace(facts_of_preset(model), source="config.json")
    assert (known.problems, known.notes) == (problems, notes)


def test_problems_come_before_that_of_the_shape() -> None:
    """What is wrong with a GGUF file and what it does not tell are told at once."""
    read = replace(gguf(), problems=("a.gguf: wrong",))
    assert facts_of(preset(), read).problems == ("a.gguf: wrong", WITHOUT)


def test_what_only_a_checkpoint_tells_is_kept() -> None:
    """The size of its weights and the layers without a KV cache have no field in a preset."""
    known = facts_of(WHOLE, found(BF16, **SHAPE, **REST, weights_bytes=2000, cacheless_layers=6))
    assert (known.facts.weights_bytes, known.facts.cacheless_layers) == (2000, 6)
    assert known.notes == (FROM,)


def test_an_unshaped_file_cannot_tell_another_model() -> None:
    """What the user gives as model.layers and model.heads counts, whatever width the file has."""
    unshaped = Found(facts=ModelFacts(source="a.gguf", hidden_size=64, stored=Stored(method="gguf")))
    known = facts_of(ModelConfig(path="x", layers=4, heads=4, hidden_size=32), unshaped)
    assert (known.facts.layers, known.facts.heads, known.problems) == (4, 4, ())


def test_a_shape_that_nobody_tells_is_not_said_to_be_the_preset_s() -> None:
    """Only what the preset has is from it."""
    known = facts_of(ModelConfig(path="x", params=5), Found(facts=ModelFacts(source="config.json")))
    assert known.notes[0] == "model.params: from the model preset"
    assert known.notes[1].startswith("no architecture facts")


def test_a_few_constants_beside_the_weights_are_no_difference() -> None:
    """llama.cpp writes 64 numbers more into the file of Llama 3.1."""
    known = facts_of(
        preset(BF16, **SHAPE, **REST), found(BF16, **SHAPE, **{**REST, "params": REST["params"]})
    )
    assert known.notes == (FROM,)


def test_facts_that_stand_for_another_path_are_told() -> None:
    """A hub name given over a preset may be a fine-tuned model of its shape, or another one."""
    own = ModelConfig(path="org/a", describes="org/a", layers=4, heads=4)
    assert facts_of(own, None).notes == ()
    [note] = facts_of(replace(own, path="org/b"), None).notes
    assert note.startswith(
        "no checkpoint of org/b can be read here: its facts are taken to be those of org/a"
    )
