"""A model in GGUF files: what their header and their name say.

The reader is our own because the library does far more than is asked here: gguf 0.19.0 makes an object of
each token, which takes 10 s and 770 MiB for the vocabulary of Llama 3 (128,256 tokens, 280,147 merges), and
its import takes 0.13 s and numpy. Here values are skipped unread.
Source: GGUF specification, versions 2 and 3 (ggml, docs/gguf.md); keys as in gguf 0.19.0, constants.py.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from autotune.plan.facts import Found, ModelFacts, Stored

MAGIC = b"GGUF"
VERSIONS = (2, 3)
HEADER_LIMIT = 64 * 2**20  # bytes; the header of a vocabulary of 262,144 tokens has about 15 MiB
ENTRIES_LIMIT = 2**20  # keys, or tensors of one file
LARGEST = 2**40
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
KEPT = 1024  # values of an array that are read: one for each layer, not one for each token

# What file names call a format, and the number in `general.file_type` that says the same.
FORMATS = (
    (r"(?:IQ|Q)4_\w+", "w4a16"),
    (r"Q8_\w+", "w8a16"),
    (r"BF16", "bf16"),
    (r"F(?:P)?16", "fp16"),
    (r"F(?:P)?32", "fp32"),
    (r"MXFP4\w*", "mxfp4"),
    (r"(?:IQ|TQ|Q)\d\w*", None),
)
FILE_TYPES = {0: "fp32", 1: "fp16", 2: "w4a16", 3: "w4a16", 7: "w8a16", 14: "w4a16", 15: "w4a16"}
FILE_TYPES |= {25: "w4a16", 30: "w4a16", 32: "bf16", 38: "mxfp4"}
SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
SLIDING_PATTERN = {"gemma2": 2, "gemma3": 6, "cohere2": 4, "gpt-oss": 2}  # one in so many sees everything


class MalformedError(Exception):
    """The header cannot be read; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Metadata of a file, its parameters, and the names of the tensors outside the layers."""

    values: dict[str, Any]
    params: int
    tensors: frozenset[str]


def read_gguf(files: Sequence[Path]) -> Found:
    """Return what the shards of one model say; the first has the metadata.

    Raises: OSError where one cannot be read.
    """
    source = f"GGUF file {files[0].name}"
    headers, problems = [], []
    for file in files:
        try:
            headers.append(_read(file))
        except MalformedError as error:
            problems.append(f"{file}: {error}: download it again, or give another model.path")
    expected = SHARD.search(files[0].name)
    if expected and len(files) < int(expected[2]):
        problems.append(f"{files[0]}: {len(files)} of its {int(expected[2])} files are there: download the rest")
    if problems:
        return Found(facts=ModelFacts(source=source), problems=tuple(problems))
    values, size = headers[0].values, sum(file.stat().st_size for file in files)
    named = frozenset().union(*(header.tensors for header in headers))
    params = sum(header.params for header in headers)
    return Found(facts=_facts(values, source, file=files[0], params=params, tensors=named, size=size))


def shards_of(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the models in some GGUF files, by name, each with its shards in order."""
    models: dict[str, list[Path]] = {}
    for file in sorted(files):
        if not file.name.lower().startswith("mmproj"):  # what sees images, beside the model
            models.setdefault(SHARD.sub("", file.name), []).append(file)
    return models


def format_of(name: str) -> str | None:
    """Return the number format that a file name says, None where it has no name in `schema.GemmDtype`."""
    return _named_format(name)[1]


def _named_format(name: str) -> tuple[bool, str | None]:
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
    if not said:
        number_format = FILE_TYPES.get(values.get("general.file_type", -1))
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
        "dense_layers": number("leading_dense_block_count") or 0 if experts else 0,
        "kv_lora_rank": latent,
        "qk_rope_head_dim": number("rope.dimension_count") if latent else None,
        "sliding_window": number("attention.sliding_window"),
    }
    if latent:
        shape["head_dim"] = None
    pattern = values.get(f"{arch}.attention.sliding_window_pattern", SLIDING_PATTERN.get(arch))
    return {**shape, "sliding_layers": _sliding(shape["layers"] or 0, pattern) if shape["sliding_window"] else 0}


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


def _read(path: Path) -> Header:
    with path.open("rb") as file:
        if file.read(4) != MAGIC:
            raise MalformedError("is no GGUF file: it does not start with GGUF")
        try:
            return _body(file)
        except struct.error:
            raise MalformedError("ends inside its header") from None
        except (UnicodeDecodeError, RecursionError):
            raise MalformedError("its header is damaged") from None


def _body(file: BinaryIO) -> Header:
    (version,) = _unpack(file, "<I")
    if version not in VERSIONS:
        raise MalformedError(f"GGUF version {version} cannot be read, only {VERSIONS[0]} and {VERSIONS[1]}")
    tensors, entries = _unpack(file, "<QQ")
    if max(tensors, entries) > ENTRIES_LIMIT:
        raise MalformedError("its header is damaged: too many entries")
    values = {}
    for _ in range(entries):
        key = _string(file)
        (kind,) = _unpack(file, "<I")
        values[key] = _value(file, kind)
    params, outside = 0, set()
    for _ in range(tensors):
        name = _string(file)
        (dimensions,) = _unpack(file, "<I")
        count = 1
        for size in _unpack(file, f"<{min(dimensions, 8)}Q"):
            count *= size
        _unpack(file, "<IQ")  # type, offset
        params += count
        if not name.startswith("blk."):
            outside.add(name)
    if params > 2**60:
        raise MalformedError("its header is damaged: impossible tensors")
    return Header(values=values, params=params, tensors=frozenset(outside))


def _unpack(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<Q")
    if length > KEPT * 64:
        raise MalformedError("its header is damaged: a name is too long")
    return file.read(length).decode()


def _skip(file: BinaryIO, length: int) -> None:
    if file.tell() + length > HEADER_LIMIT:
        raise MalformedError(f"its header is damaged: longer than {HEADER_LIMIT // 2**20} MiB")
    file.seek(length, 1)


def _value(file: BinaryIO, kind: int) -> Any:
    """A value; of a long array its length, of a string that is not short, or an array of them, likewise."""
    if kind in SCALARS:
        return _unpack(file, SCALARS[kind])[0]
    if kind == STRING:
        (length,) = _unpack(file, "<Q")
        if length <= KEPT:
            return file.read(length).decode(errors="replace")
        _skip(file, length)
        return None
    if kind != ARRAY:
        raise MalformedError(f"its header is damaged: a value of unknown type {kind}")
    inner, length = _unpack(file, "<IQ")
    if inner in SCALARS:
        if length <= KEPT:
            return [_unpack(file, SCALARS[inner])[0] for _ in range(length)]
        _skip(file, length * struct.calcsize(SCALARS[inner]))
        return length
    if inner != STRING:
        raise MalformedError(f"its header is damaged: an array of unknown type {inner}")
    for _ in range(length):
        _skip(file, _unpack(file, "<Q")[0])
    return length
