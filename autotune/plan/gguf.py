"""A model in GGUF files: what their headers and their names say.

Source: keys as in gguf 0.19.0, constants.py (of llama.cpp).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autotune.plan.facts import Found, ModelFacts, Stored
from autotune.plan.gguf_header import LARGEST, Header, MalformedError, read_header

# What file names call a format, and the number in `general.file_type` that says the same.
FORMATS = (
    (r"I?Q4(?:_\w+)?", "w4a16"),
    (r"Q8(?:_\w+)?", "w8a16"),
    (r"BF16", "bf16"),
    (r"FP?16", "fp16"),
    (r"FP?32", "fp32"),
    (r"MXFP4\w*", "mxfp4"),
    (r"(?:IQ|TQ|Q)\d\w*", None),
)
FILE_TYPES = {0: "fp32", 1: "fp16", 2: "w4a16", 3: "w4a16", 7: "w8a16", 14: "w4a16", 15: "w4a16"}
FILE_TYPES |= {25: "w4a16", 30: "w4a16", 32: "bf16", 38: "mxfp4"}
SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
SLIDING_PATTERN = {"gemma2": 2, "gemma3": 6, "cohere2": 4, "gpt-oss": 2}  # one in so many sees everything


def read_gguf(files: Sequence[Path]) -> Found:
    """Return what the shards of one model say; the first has the metadata.

    Raises: OSError where one cannot be read.
    """
    source = f"GGUF file {files[0].name}"
    read = [_header(file) for file in files]
    headers = [header for header in read if isinstance(header, Header)]
    problems = [problem for problem in read if isinstance(problem, str)]
    expected = SHARD.search(files[0].name)
    if expected and len(files) < int(expected[2]):
        problems.append(
            f"{files[0]}: {len(files)} of its {int(expected[2])} files are there: download the rest"
        )
    if problems:
        return Found(facts=ModelFacts(source=source), problems=tuple(problems))
    values, size = headers[0].values, sum(file.stat().st_size for file in files)
    named = frozenset().union(*(header.tensors for header in headers))
    params = sum(header.params for header in headers)
    return Found(facts=_facts(values, source, file=files[0], params=params, tensors=named, size=size))


def _header(file: Path) -> Header | str:
    """The header of a file, or what is wrong with it."""
    try:
        return read_header(file)
    except MalformedError as error:
        return f"{file}: {error}: download it again, or give another model.path"


def shards_of(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the models in some GGUF files, by name, each with its shards in order."""
    models: dict[str, list[Path]] = {}
    for file in sorted(files):
        if not file.name.lower().startswith("mmproj"):  # what sees images, beside the model
            models.setdefault(model_of(file.name), []).append(file)
    return models


def model_of(name: str) -> str:
    """Return what the files of one model have in common: the name, and the number of shards."""
    return SHARD.sub(r" of \2", name)


def _named_format(name: str) -> tuple[bool, str | None]:
    """Whether a file name says a number format, and which; None has no name in `schema.GemmDtype`."""
    words = re.split(r"[-.\s]", SHARD.sub("", name).removesuffix(".gguf").upper())
    for word in reversed(words):
        for pattern, number_format in FORMATS:
            if re.fullmatch(rf"(?:UD_)?{pattern}", word):
                return True, number_format
    return False, None


def _facts(
    values: dict[str, Any], source: str, *, file: Path, params: int, tensors: frozenset[str], size: int
) -> ModelFacts:
    arch = values.get("general.architecture")
    shape = _shape(values, str(arch))
    said, number_format = _named_format(file.name)
    number = values.get("general.file_type")
    if not said and isinstance(number, int):
        number_format = FILE_TYPES.get(number)
    moe = number_format if shape["experts"] else None
    return ModelFacts(
        source=source,
        **shape,
        params=params or None,
        tied_embeddings="output.weight" not in tensors if "token_embd.weight" in tensors else None,
        dtype=number_format if number_format in {"bf16", "fp16", "fp32"} else None,
        stored=Stored(method="gguf", gemm_dtype=number_format, moe_dtype=moe),
        weights_bytes=size,
    )


def _shape(values: dict[str, Any], arch: str) -> dict[str, Any]:
    def number(key: str) -> int | None:
        return _one(values.get(f"{arch}.{key}"))

    heads, hidden, latent = (
        number(key) for key in ("attention.head_count", "embedding_length", "attention.kv_lora_rank")
    )
    experts, width = number("expert_count"), number("feed_forward_length")
    expert_width = number("expert_feed_forward_length") if experts else None
    shape: dict[str, Any] = {
        "layers": _less(number("block_count"), number("nextn_predict_layers")),
        "hidden_size": hidden,
        "heads": heads,
        "kv_heads": number("attention.head_count_kv") or heads,
        "head_dim": number("attention.key_length") or (hidden // heads if hidden and heads else None),
        "intermediate_size": width if expert_width or not experts else None,
        "vocab_size": number("vocab_size") or _one(values.get("tokenizer.ggml.tokens")),
        "max_model_len": number("context_length"),
        "experts": experts,
        "experts_per_token": number("expert_used_count") if experts else None,
        "moe_intermediate_size": (expert_width or width) if experts else None,
        "dense_layers": (number("leading_dense_block_count") or 0) if experts else 0,
        "kv_lora_rank": latent,
        "qk_rope_head_dim": number("rope.dimension_count") if latent else None,
        "sliding_window": number("attention.sliding_window"),
    }
    if latent:
        shape["head_dim"] = None
    pattern = values.get(f"{arch}.attention.sliding_window_pattern", SLIDING_PATTERN.get(arch))
    return {
        **shape,
        "sliding_layers": _sliding(shape["layers"] or 0, pattern) if shape["sliding_window"] else 0,
    }


def _one(value: Any) -> int | None:
    """A whole number above 0, or the one that all layers have; 0 in a list is a layer without it."""
    values = set(value) - {0} if isinstance(value, list) else {value}
    one = values.pop() if len(values) == 1 else None
    return one if isinstance(one, int) and not isinstance(one, bool) and 0 < one <= LARGEST else None


def _less(layers: int | None, extra: int | None) -> int | None:
    """Layers without those for multi-token prediction, which engines load only to speculate."""
    return layers - (extra or 0) if layers and layers > (extra or 0) else layers


def _sliding(layers: int, pattern: Any) -> int:
    if isinstance(pattern, list):  # a flag for each layer
        return min(layers, sum(bool(flag) for flag in pattern))
    every = _one(pattern)
    return layers - layers // every if every else layers
