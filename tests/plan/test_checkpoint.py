"""What is read of a checkpoint: folders, GGUF files and the hub's cache, as they lie on a disk."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autotune.plan.checkpoint import JSON_LIMIT, read_checkpoint
from autotune.plan.facts import Found, ModelFacts, Stored
from autotune.plan.known import facts_of
from autotune.schema import ModelConfig, StoredConfig
from tests.plan.candidates import MODELS, facts
from tests.plan.gguf_files import LLAMA, gguf, write

PUBLISHED = Path(__file__).parents[1] / "data" / "checkpoints"
MEND = "mend it, or download the checkpoint again"
DENSE = {
    "model_type": "llama",
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "hidden_size": 64,
    "torch_dtype": "bfloat16",
}
MOE = {**DENSE, "num_experts": 16, "moe_intermediate_size": 32}
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
INDEX = "model.safetensors.index.json"
NAME = "org/a-model.v1"
ENTRY = "models--org--a-model.v1"  # of the hub's cache


def put(folder: Path, files: Mapping[str, object]) -> Path:
    """Write files into a folder: bytes and text as they are, anything else as JSON."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        text = content if isinstance(content, str) else json.dumps(content, default=str)
        file.write_bytes(content if isinstance(content, bytes) else text.encode())
    return folder


def read(path: Path | str, **env: str) -> Found:
    """What is found there, with nothing in the environment but what is given."""
    found = read_checkpoint(str(path), env)
    assert found is not None
    return found


def published(name: str) -> dict[str, Any]:
    """A config.json as it is published."""
    content: dict[str, Any] = json.loads((PUBLISHED / f"{name}.json").read_text())
    return content


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("{here}/gone", id="no such folder"),
        pytest.param("{here}/gone.gguf", id="no such file"),
        pytest.param("~/gone", id="nothing by that name at home"),
        pytest.param("org/model", id="hub name that is not in the cache"),
        pytest.param("gpt2", id="hub name of one word"),
        pytest.param("{here}/model.bin", id="file that is no .gguf by its name"),
        pytest.param("{here}/weights", id="folder without config.json"),
        pytest.param("{here}/deeper", id="folder with a checkpoint below it"),
        pytest.param("{here}/seeing", id="folder with nothing but what sees images"),
        pytest.param("{here}/cut.gguf", id="link that leads nowhere"),
        pytest.param("s3://bucket/model", id="place on another machine"),
        pytest.param("a\0b", id="impossible name"),
        pytest.param("", id="no path"),
    ],
)
def test_nothing_to_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """What is not there, or is no checkpoint, is no problem: an engine may still know it."""
    put(tmp_path, {"model.bin": gguf(), f"weights/{FIRST}": b"1", "deeper/model/config.json": DENSE})
    put(tmp_path, {f".cache/huggingface/hub/{ENTRY}/snapshots/1/config.json": DENSE})
    put(tmp_path, {"seeing/mmproj-model.gguf": gguf(), "cwd/config.json": DENSE})
    (tmp_path / "cut.gguf").symlink_to("gone.gguf")
    monkeypatch.chdir(tmp_path / "cwd")
    assert read_checkpoint(path.format(here=tmp_path), {"HOME": str(tmp_path)}) is None


def test_folder(tmp_path: Path) -> None:
    """Every fact of a dense model, the size of its weights, and where that is from."""
    metadata = {"total_size": 16060522496, "total_parameters": 8030261248}
    put(tmp_path, {"config.json": published("llama3_1_8b"), INDEX: {"metadata": metadata, "weight_map": {}}})
    assert read(tmp_path) == Found(
        facts=ModelFacts(
            source="config.json",
            model_type="llama",
            params=8030261248,
            layers=32,
            hidden_size=4096,
            heads=32,
            kv_heads=8,
            head_dim=128,
            intermediate_size=14336,
            vocab_size=128256,
            max_model_len=131072,
            tied_embeddings=False,
            dtype="bf16",
            stored=Stored(method="none", gemm_dtype="bf16"),
            weights_bytes=16060522496,
        ),
        notes=(f"model facts are from {tmp_path}/config.json",),
    )


@pytest.mark.parametrize("name", sorted(path.stem for path in PUBLISHED.glob("*.json")))
def test_published_files_agree_with_the_presets(tmp_path: Path, name: str) -> None:
    """A checkpoint says what its preset says; the preset adds the parameters, and gpt-oss's dtype."""
    put(tmp_path, {"config.json": published(name)})
    content = yaml.safe_load((MODELS / f"{name}.yaml").read_text())
    model = ModelConfig(**{**content, "stored": StoredConfig(**content["stored"])})
    known = facts_of(model, read(tmp_path))
    added = "model.params, model.dtype" if name == "gpt_oss_120b" else "model.params"
    assert known.problems == ()
    assert known.notes[0] == f"model facts are from {tmp_path}/config.json"
    assert f"{added}: from the model preset" in known.notes
    assert not [note for note in known.notes if "the preset " in note]  # says something else
    width = 6144 if name == "qwen3_30b_a3b" else facts(name).intermediate_size  # a width that no layer has
    assert known.facts == replace(facts(name), source="config.json", intermediate_size=width)


def in_groups(weights: Mapping[str, object], inputs: object = None) -> dict[str, object]:
    """What compressed-tensors says of one group."""
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"}
W4A16 = in_groups({"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128})
BLOCKS = {
    "quant_method": "fp8",
    "activation_scheme": "dynamic",
    "fmt": "e4m3",
    "weight_block_size": [128, 128],
}
NVFP4 = {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": ["lm_head"]}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        pytest.param(DENSE, Stored(method="none", gemm_dtype="bf16"), id="not quantized"),
        pytest.param(MOE, Stored(method="none", gemm_dtype="bf16", moe_dtype="bf16"), id="not quantized, experts"),
        pytest.param({**DENSE, "quantization_config": None}, Stored(method="none", gemm_dtype="bf16"), id="null"),
        pytest.param({**DENSE, "quantization_config": AWQ}, Stored(method="awq", gemm_dtype="w4a16"), id="AWQ"),
        pytest.param({**DENSE, "quantization_config": {"quant_method": "gptq", "bits": 8, "group_size": 32}}, Stored(method="gptq", gemm_dtype="w8a16"), id="GPTQ"),
        pytest.param({**DENSE, "quantization_config": W4A16}, Stored(method="compressed-tensors", gemm_dtype="w4a16"), id="compressed-tensors"),
        pytest.param({**DENSE, "compression_config": W4A16}, Stored(method="compressed-tensors", gemm_dtype="w4a16"), id="compressed-tensors, as older files call it"),
        pytest.param({**MOE, "quantization_config": BLOCKS}, Stored(method="fp8", gemm_dtype="fp8", moe_dtype="fp8", block_size=128), id="FP8 in blocks"),
        pytest.param(published("deepseek_v3"), Stored(method="fp8", gemm_dtype="fp8", moe_dtype="fp8", block_size=128), id="DeepSeek-V3"),
        pytest.param({**MOE, "model_type": "deepseek_v4", "quantization_config": BLOCKS}, Stored(method="fp8", gemm_dtype="fp8", moe_dtype="mxfp4", block_size=128), id="DeepSeek-V4, whose experts are FP4"),
        pytest.param({**MOE, "expert_dtype": "fp4", "quantization_config": BLOCKS}, Stored(method="fp8", gemm_dtype="fp8", moe_dtype="mxfp4", block_size=128), id="experts of FP4"),
        pytest.param({**MOE, "model_type": "deepseek_v4", "expert_dtype": "fp8", "quantization_config": BLOCKS}, Stored(method="fp8", gemm_dtype="fp8", moe_dtype="fp8", block_size=128), id="experts of FP8"),
        pytest.param({**DENSE, "quantization_config": NVFP4}, Stored(method="modelopt", gemm_dtype="nvfp4"), id="ModelOpt"),
        pytest.param(published("gpt_oss_120b"), Stored(method="mxfp4", gemm_dtype="bf16", moe_dtype="mxfp4"), id="MXFP4"),
        pytest.param({"text_config": {**DENSE, "quantization_config": AWQ}}, Stored(method="awq", gemm_dtype="w4a16"), id="said of the part that reads"),
        pytest.param({"text_config": DENSE, "quantization_config": AWQ}, Stored(method="awq", gemm_dtype="w4a16"), id="said beside the part that reads"),
    ],
)  # fmt: skip
def test_quantization(tmp_path: Path, config: dict[str, Any], expected: Stored) -> None:
    """Method and formats are found by what config.json says, with no note of something unknown."""
    found = read(put(tmp_path, {"config.json": config}))
    assert found.facts.stored == expected
    assert (found.problems, len(found.notes)) == ((), 1)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}, Stored(method="modelopt", gemm_dtype="fp8", kvcache_dtype="fp8"), id="FP8"),
        pytest.param({"quant_algo": "NVFP4", "kv_cache_quant_algo": None, "group_size": 16}, Stored(method="modelopt", gemm_dtype="nvfp4"), id="NVFP4"),
        pytest.param({"quant_algo": None, "kv_cache_quant_algo": "FP8"}, Stored(method="modelopt", gemm_dtype="bf16", kvcache_dtype="fp8"), id="the KV cache only"),
    ],
)  # fmt: skip
def test_hf_quant_config(tmp_path: Path, said: dict[str, Any], expected: Stored) -> None:
    """A config.json that says nothing of quantization has a file beside it that does."""
    separate = {"producer": {"name": "modelopt", "version": "0.33.0"}, "quantization": said}
    found = read(put(tmp_path, {"config.json": DENSE, "hf_quant_config.json": separate}))
    assert found.facts.stored == expected
    assert found.problems == ()


def test_an_unknown_method_is_a_note(tmp_path: Path) -> None:
    """The note on an unknown quantization follows that on the source of the facts."""
    put(tmp_path, {"config.json": {**DENSE, "quantization_config": {"quant_method": "hqq"}}})
    found = read(tmp_path)
    assert found.facts.stored == Stored(method="hqq")
    assert found.notes == (
        f"model facts are from {tmp_path}/config.json",
        "the checkpoint's quantization hqq is not known here: if engines know it, say its format with "
        "model.stored.method=hqq model.stored.gemm_dtype=...",
    )


TOTAL = {"metadata": {"total_size": 1000, "total_parameters": 500}, "weight_map": {}}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({}, (None, None), id="no weights"),
        pytest.param({INDEX: TOTAL}, (1000, 500), id="index"),
        pytest.param({INDEX: {"metadata": {"total_size": 1000.0, "total_parameters": 500.0}}}, (1000, 500), id="index of floats"),
        pytest.param({INDEX: {"metadata": {"total_size": 1000}}}, (1000, None), id="index without parameters"),
        pytest.param({INDEX: TOTAL, FIRST: b"1" * 20, SECOND: b"1" * 10}, (1000, 500), id="index before shards"),
        pytest.param({INDEX: {"weight_map": {}}, FIRST: b"1" * 20, SECOND: b"1" * 10}, (30, None), id="index without sizes"),
        pytest.param({INDEX: {"metadata": [1]}, FIRST: b"1" * 20, SECOND: b"1" * 10}, (30, None), id="index with another content"),
        pytest.param({INDEX: {"metadata": {"total_size": "1000"}}, "model.safetensors": b"1" * 20}, (20, None), id="size as text"),
        pytest.param({INDEX: {"metadata": {"total_size": -1, "total_parameters": 0}}, "model.safetensors": b"1" * 20}, (20, None), id="negative size, no parameters"),
        pytest.param({INDEX: {"metadata": {"total_size": 1e30}}, "model.safetensors": b"1" * 20}, (20, None), id="absurd size"),
        pytest.param({INDEX: '{"metadata": {"total_size": NaN, "total_parameters": Infinity}}', "model.safetensors": b"1" * 20}, (20, None), id="no numbers"),
        pytest.param({"model.safetensors": b"1" * 20}, (20, None), id="one file"),
        pytest.param({FIRST: b"1" * 20, SECOND: b"1" * 10}, (30, None), id="shards"),
        pytest.param({FIRST: b"1" * 20}, (None, None), id="last shard missing"),
        pytest.param({SECOND: b"1" * 10}, (None, None), id="first shard missing"),
        pytest.param({FIRST: b"", SECOND: b""}, (None, None), id="shards that are empty"),
        pytest.param({"weights.safetensors": b"1" * 20}, (20, None), id="another name"),
        pytest.param({FIRST: b"1" * 20, SECOND: b"1" * 10, "consolidated.safetensors": b"1" * 30}, (30, None), id="the same weights twice"),
        pytest.param({"pytorch_model.bin": b"1" * 20, "training_args.bin": b"1"}, (20, None), id="pickled"),
        pytest.param({"pytorch_model.bin.index.json": TOTAL}, (1000, 500), id="index of pickled shards"),
        pytest.param({"pytorch_model-00001-of-00002.bin": b"1" * 20}, (None, None), id="pickled shard missing"),
        pytest.param({"pytorch_model.bin.index.json": TOTAL, "model.safetensors": b"1" * 20}, (20, None), id="safetensors before pickled"),
        pytest.param({INDEX: {}, "pytorch_model.bin.index.json": TOTAL}, (1000, 500), id="empty index before pickled"),
    ],
)  # fmt: skip
def test_sizes(tmp_path: Path, files: Mapping[str, object], expected: tuple[int | None, int | None]) -> None:
    """Bytes and parameters are those that the index tells, else bytes those of all files."""
    found = read(put(tmp_path, {"config.json": DENSE, **files}))
    assert (found.facts.weights_bytes, found.facts.params) == expected
    assert found.problems == ()


def test_a_shard_that_is_gone_is_no_shard(tmp_path: Path) -> None:
    """In the hub's cache files are links: where one leads nowhere the size is not known."""
    put(tmp_path, {"config.json": DENSE, FIRST: b"1" * 20})
    (tmp_path / SECOND).symlink_to(tmp_path / "gone")
    assert read(tmp_path).facts.weights_bytes is None
    (tmp_path / SECOND).unlink()
    (tmp_path / "model.safetensors").write_bytes(b"1" * 10)
    assert read(tmp_path).facts.weights_bytes is None


@pytest.mark.parametrize(
    ("quantization", "params"),
    [
        pytest.param(BLOCKS, 500, id="FP8 has an element for each parameter"),
        pytest.param(AWQ, None, id="AWQ packs several into one"),
        pytest.param(NVFP4, None, id="NVFP4 too"),
        pytest.param({"quant_method": "hqq"}, None, id="what is not known may"),
    ],
)
def test_packed_parameters_are_not_counted(
    tmp_path: Path, quantization: dict[str, Any], params: int | None
) -> None:
    """The index counts elements as they are stored; the size in bytes holds whatever they are."""
    config = {**DENSE, "quantization_config": quantization}
    found = read(put(tmp_path, {"config.json": config, INDEX: TOTAL})).facts
    assert (found.params, found.weights_bytes) == (params, 1000)


PLACES = ("own", "older", "home", "xdg/huggingface/hub", ".cache/huggingface/hub")
EVERY_ENV = {
    "HF_HUB_CACHE": "{here}/own",
    "HUGGINGFACE_HUB_CACHE": "{here}/older",
    "HF_HOME": "{here}/base",
    "XDG_CACHE_HOME": "{here}/xdg",
    "HOME": "{here}",
}


@pytest.mark.parametrize(
    ("env", "place"),
    [
        pytest.param(EVERY_ENV, "own", id="HF_HUB_CACHE before all others"),
        pytest.param({**EVERY_ENV, "HF_HUB_CACHE": ""}, "older", id="HUGGINGFACE_HUB_CACHE next"),
        pytest.param({"HF_HOME": "{here}/base", "XDG_CACHE_HOME": "{here}/xdg", "HOME": "{here}"}, "base/hub", id="HF_HOME next"),
        pytest.param({"XDG_CACHE_HOME": "{here}/xdg", "HOME": "{here}"}, "xdg/huggingface/hub", id="XDG_CACHE_HOME next"),
        pytest.param({"HOME": "{here}"}, ".cache/huggingface/hub", id="else below the home"),
        pytest.param({"HOME": "{here}", "HF_HOME": "", "XDG_CACHE_HOME": ""}, ".cache/huggingface/hub", id="empty is as good as not set"),
        pytest.param({"HOME": "{here}", "HF_HUB_CACHE": "~/own"}, "own", id="HF_HUB_CACHE below the home"),
        pytest.param({"HOME": "{here}", "HF_HOME": "~/base"}, "base/hub", id="HF_HOME below the home"),
    ],
)  # fmt: skip
def test_where_the_cache_is(tmp_path: Path, env: Mapping[str, str], place: str) -> None:
    """The same variables count in the same order as in huggingface_hub."""
    for cache in (*PLACES, "base/hub"):
        put(tmp_path, {f"{cache}/{ENTRY}/snapshots/1/config.json": DENSE})
    told = {name: value.format(here=tmp_path) for name, value in env.items()}
    snapshot = tmp_path / place / ENTRY / "snapshots" / "1"
    assert read(NAME, **told).notes == (f"model facts are from {snapshot}/config.json",)


def test_a_name_of_one_word_is_in_the_cache(tmp_path: Path) -> None:
    """Models of no organization have a folder of their name alone."""
    put(tmp_path, {"models--gpt2/snapshots/1/config.json": DENSE})
    assert read("gpt2", HF_HUB_CACHE=str(tmp_path)).facts.layers == 8


def test_snapshots_lead_to_blobs(tmp_path: Path) -> None:
    """The files of a snapshot are links, and their sizes are those of what they lead to."""
    put(tmp_path, {f"{ENTRY}/blobs/a": DENSE, f"{ENTRY}/blobs/b": b"1" * 5000})
    snapshot = tmp_path / ENTRY / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    for name, blob in {"config.json": "a", "model.safetensors": "b"}.items():
        (snapshot / name).symlink_to(Path("../../blobs") / blob)
    found = read(NAME, HF_HUB_CACHE=str(tmp_path)).facts
    assert (found.layers, found.weights_bytes) == (8, 5000)


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        pytest.param(None, "b2", id="not said: the newest"),
        pytest.param(b"a1", "a1", id="main before a newer one"),
        pytest.param(b"c3\n", "c3", id="with the end of a line"),
        pytest.param(b"d4", "b2", id="of a snapshot that is gone: the newest"),
        pytest.param(b"", "b2", id="empty"),
        pytest.param(b"\xff\xfe", "b2", id="no text"),
        pytest.param(b"../../elsewhere", "b2", id="a way out of the cache"),
    ],
)
def test_which_snapshot(tmp_path: Path, main: bytes | None, expected: str) -> None:
    """The main branch's snapshot is read, else the newest."""
    put(tmp_path, {f"{ENTRY}/snapshots/notes.txt": "no folder", "elsewhere/config.json": DENSE})
    snapshots = tmp_path / ENTRY / "snapshots"
    for modified_s, name in ((1000, "a1"), (3000, "b2"), (2000, "c3")):
        put(snapshots, {f"{name}/config.json": DENSE})
        os.utime(snapshots / name, (modified_s, modified_s))
    if main is not None:
        put(tmp_path, {f"{ENTRY}/refs/main": main})
    found = read(NAME, HF_HUB_CACHE=str(tmp_path))
    assert found.notes == (f"model facts are from {snapshots / expected}/config.json",)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param("../x", id="parent folder"),
        pytest.param("o/../x", id="parent folder within"),
        pytest.param("../../x", id="two up"),
        pytest.param("{here}/gone/x", id="whole path"),
        pytest.param("o/x/y", id="three parts"),
        pytest.param("o/", id="nothing after the organization"),
        pytest.param("o/x:Q4_K_M", id="with a tag"),
        pytest.param("o/x y", id="with a space"),
        pytest.param("o/x\n", id="with the end of a line"),
    ],
)
def test_what_is_no_hub_name_is_not_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """No path leads out of the cache, nor to a model in it by another name than the hub's."""
    cache = tmp_path / "cache" / "hub"
    path = path.format(here=tmp_path)
    outside = {"cache/x", "x", "cache/hub/x", "cache/hub/models--"}
    if path != "../x":
        outside.add(f"cache/hub/models--{path.replace('/', '--')}")
    for place in outside:
        put(tmp_path / place / "snapshots" / "1", {"config.json": DENSE})
    (tmp_path / "cwd" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "cwd" / "deep")
    assert read_checkpoint(path, {"HF_HUB_CACHE": str(cache)}) is None


def test_a_folder_here_wins_over_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is a folder where there is one, as engines take it."""
    put(tmp_path, {f"cache/{ENTRY}/snapshots/1/config.json": DENSE, f"here/{NAME}/config.json": DENSE})
    monkeypatch.chdir(tmp_path / "here")
    assert read(NAME, HF_HUB_CACHE=str(tmp_path / "cache")).notes == (
        f"model facts are from {NAME}/config.json",
    )


@pytest.mark.parametrize(
    ("path", "file"),
    [
        pytest.param("~/models/a", "models/a/config.json", id="folder"),
        pytest.param("~/models/a.gguf", "models/a.gguf", id="file"),
        pytest.param("~", "config.json", id="the home itself"),
    ],
)
def test_home(tmp_path: Path, path: str, file: str) -> None:
    """`~` is the user's home, which no shell has put in a preset."""
    put(tmp_path, {"models/a/config.json": DENSE, "models/a.gguf": gguf(), "config.json": DENSE})
    assert read(path, HOME=str(tmp_path)).notes == (f"model facts are from {tmp_path / file}",)


@pytest.mark.parametrize(
    ("files", "path", "file"),
    [
        pytest.param(["a-Q4_K_M.gguf"], "a-Q4_K_M.gguf", "a-Q4_K_M.gguf", id="file"),
        pytest.param(["a-Q4_K_M.gguf", "b.gguf"], "a-Q4_K_M.gguf", "a-Q4_K_M.gguf", id="one of several"),
        pytest.param(["a-Q4_K_M.GGUF"], "a-Q4_K_M.GGUF", "a-Q4_K_M.GGUF", id="upper case"),
        pytest.param(["a-Q4_K_M.gguf"], "", "a-Q4_K_M.gguf", id="folder with one"),
        pytest.param(["a-Q4_K_M.gguf", "mmproj-a.gguf"], "", "a-Q4_K_M.gguf", id="folder with one, and what sees"),
    ],
)  # fmt: skip
def test_gguf(tmp_path: Path, files: Sequence[str], path: str, file: str) -> None:
    """A GGUF file is read, by its own path or that of a folder with nothing else."""
    for name in files:
        write(tmp_path / name)
    found = read(tmp_path / path)
    assert (found.facts.source, found.facts.layers) == (f"GGUF file {file}", 32)
    assert found.facts.stored == Stored(method="gguf", gemm_dtype="w4a16")
    assert found.facts.weights_bytes == (tmp_path / file).stat().st_size
    assert (found.problems, found.notes) == ((), (f"model facts are from {tmp_path / file}",))


def test_gguf_in_the_cache(tmp_path: Path) -> None:
    """A snapshot that has nothing but a GGUF file is read as a folder would be."""
    put(tmp_path, {f"{ENTRY}/refs/main": "1", f"{ENTRY}/snapshots/1/a-Q8_0.gguf": gguf()})
    assert read(NAME, HF_HUB_CACHE=str(tmp_path)).facts.stored == Stored(method="gguf", gemm_dtype="w8a16")


@pytest.mark.parametrize(
    "given",
    [
        pytest.param("a-Q4_0-00001-of-00002.gguf", id="by its first"),
        pytest.param("a-Q4_0-00002-of-00002.gguf", id="by its second"),
    ],
)
def test_sharded_gguf(tmp_path: Path, given: str) -> None:
    """All shards count, whichever is given, and no other model's."""
    first = write(tmp_path / "a-Q4_0-00001-of-00002.gguf", gguf(LLAMA, {"blk.0.attn_q.weight": (64, 64)}))
    second = write(tmp_path / "a-Q4_0-00002-of-00002.gguf", gguf({}, {"output.weight": (64, 32)}))
    write(tmp_path / "a-Q8_0-00001-of-00001.gguf")
    found = read(tmp_path / given)
    assert found.facts.source == f"GGUF file {first.name}"
    assert (found.facts.layers, found.facts.params) == (32, 64 * 64 + 64 * 32)
    assert found.facts.weights_bytes == first.stat().st_size + second.stat().st_size
    assert (found.problems, found.notes) == ((), (f"model facts are from {tmp_path / given}",))


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        pytest.param(["b.gguf", "a.gguf"], "a.gguf, b.gguf", id="two"),
        pytest.param(["a-00001-of-00002.gguf", "a-00002-of-00002.gguf", "b.gguf"], "a-00001-of-00002.gguf, b.gguf", id="shards"),
        pytest.param([f"{letter}.gguf" for letter in "abcde"], "a.gguf, b.gguf, c.gguf, d.gguf, ...", id="many"),
    ],
)  # fmt: skip
def test_folder_with_several_gguf_models(tmp_path: Path, names: Sequence[str], listed: str) -> None:
    """Which of several is meant cannot be told: the problem names them."""
    for name in names:
        write(tmp_path / name)
    found = read(tmp_path)
    problem = f"{tmp_path} has several GGUF models: give one of them as model.path: {listed}"
    assert (found.problems, found.notes) == ((problem,), ())
    assert not found.facts.shaped


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("a.gguf", b"PK", "is no GGUF file: it does not start with GGUF: download it again, or give another model.path", id="damaged"),
        pytest.param("a-00001-of-00002.gguf", gguf(), "1 of its 2 files are there: download the rest", id="shard missing"),
    ],
)  # fmt: skip
def test_damaged_gguf(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    """What is wrong with a GGUF file is told, whether it or its folder is given."""
    file = write(tmp_path / name, content)
    for path in (file, tmp_path):
        assert (read(path).problems, read(path).notes) == ((f"{file}: {problem}",), ())


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", r"is no JSON \(.+\)", id="empty"),
        pytest.param(b"model_type: llama", r"is no JSON \(.+\)", id="another format"),
        pytest.param(b'{"model_type": "lla', r"is no JSON \(.+\)", id="cut off"),
        pytest.param(b'{"model_type": "\xff"}', r"is no JSON \(.+\)", id="no text"),
        pytest.param(b"[" * 100_000, r"is no JSON \(.+\)", id="nested without end"),
        pytest.param(b'{"vocab_size": ' + b"9" * 5000 + b"}", r"is no JSON \(.+\)", id="number without end"),
        pytest.param(b"[]", "holds a list, must hold an object", id="list"),
        pytest.param(b'"llama"', "holds a str, must hold an object", id="text"),
        pytest.param(b"null", "holds a NoneType, must hold an object", id="null"),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "hf_quant_config.json", INDEX])
def test_no_object(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    """Each of the files that is no JSON object is named, with what it is and what to do."""
    put(tmp_path, {"config.json": DENSE, name: content})
    found = read(tmp_path)
    (said,) = found.problems
    assert re.fullmatch(f"{re.escape(str(tmp_path / name))}: {problem}: {MEND}", said)
    assert found.notes == ()
    assert found.facts.layers == (None if name == "config.json" else 8)


@pytest.mark.parametrize("name", ["config.json", "hf_quant_config.json", INDEX])
def test_too_large(tmp_path: Path, name: str) -> None:
    """A file that is far too large is not read to its end."""
    put(tmp_path, {"config.json": DENSE, name: b""})
    os.truncate(tmp_path / name, JSON_LIMIT + 1)
    assert read(tmp_path).problems == (f"{tmp_path / name}: is larger than 64 MiB: {MEND}",)


def test_an_object_that_describes_nothing(tmp_path: Path) -> None:
    """An empty object is no model."""
    put(tmp_path, {"config.json": {}})
    problem = f"{tmp_path}/config.json: describes no model: no model_type, layers or heads: {MEND}"
    assert (read(tmp_path).problems, read(tmp_path).notes) == ((problem,), ())


def test_every_wrong_field_is_named_at_once(tmp_path: Path) -> None:
    """Fields of wrong types, and what is wrong with the files beside, make one list."""
    wrong = {
        "num_hidden_layers": "many",
        "hidden_size": True,
        "num_attention_heads": 1.5,
        "vocab_size": -1,
        "sliding_window": {},  # as good as not told
        "torch_dtype": 16,
        "tie_word_embeddings": "yes",
        "rope_scaling": "yarn",
        "quantization_config": "fp8",
    }
    put(tmp_path, {"config.json": wrong, "hf_quant_config.json": [], INDEX: "{"})
    found = read(tmp_path)
    *said, index = found.problems
    must = "must be a whole number of at least 1"
    assert said == [
        f"{tmp_path}/config.json: num_hidden_layers is 'many': {must}: {MEND}",
        f"{tmp_path}/config.json: hidden_size is True: {must}: {MEND}",
        f"{tmp_path}/config.json: num_attention_heads is 1.5: {must}: {MEND}",
        f"{tmp_path}/config.json: vocab_size is -1: {must}: {MEND}",
        f"{tmp_path}/config.json: quantization_config is no object: {MEND}",
        f"{tmp_path}/hf_quant_config.json: holds a list, must hold an object: {MEND}",
    ]
    assert index.startswith(f"{tmp_path}/{INDEX}: is no JSON (")
    assert found.notes == ()


@pytest.mark.parametrize(
    ("link", "given", "problem"),
    [
        pytest.param("config.json", "", "{here}/config.json: cannot be read: Input/output error: give read permission", id="config.json"),
        pytest.param("a.gguf", "a.gguf", "model.path={here}/a.gguf: cannot be read: Input/output error: give read permission, or another model.path", id="GGUF file"),
        pytest.param("a.gguf", "", "model.path={here}: cannot be read: Input/output error: give read permission, or another model.path", id="GGUF file in a folder"),
    ],
)  # fmt: skip
def test_a_disk_that_fails(tmp_path: Path, link: str, given: str, problem: str) -> None:
    """A file that is there and cannot be read is a problem, never a traceback."""
    (tmp_path / link).symlink_to("/proc/self/mem")  # which has nothing at its start: an I/O error
    found = read(tmp_path / given)
    assert (found.problems, found.notes) == ((problem.format(here=tmp_path),), ())
    assert not found.facts.shaped


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    """A config.json of someone else is a problem that says what to do."""
    put(tmp_path, {"config.json": DENSE})
    (tmp_path / "config.json").chmod(0)
    problem = f"{tmp_path}/config.json: cannot be read: Permission denied: give read permission"
    assert read(tmp_path).problems == (problem,)
