"""GGUF files without weights: a header as llama.cpp writes it, key by key."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

LLAMA: Mapping[str, object] = {
    "general.architecture": "llama",
    "general.name": "x" * 2000,  # longer than what is kept
    "general.file_type": 15,
    "llama.block_count": 32,
    "llama.context_length": 131072,
    "llama.embedding_length": 4096,
    "llama.feed_forward_length": 14336,
    "llama.attention.head_count": 32,
    "llama.attention.head_count_kv": 8,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.dimension_count": 128,
    "llama.vocab_size": 128256,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
    "tokenizer.ggml.scores": [0.5] * 3000,
    "tokenizer.ggml.add_bos_token": True,
}
TENSORS: Mapping[str, Sequence[int]] = {
    "token_embd.weight": (4096, 128256),
    "output.weight": (4096, 128256),
    "blk.0.attn_q.weight": (4096, 4096),
}


def gguf(
    values: Mapping[str, object] = LLAMA, tensors: Mapping[str, Sequence[int]] = TENSORS, version: int = 3
) -> bytes:
    """The bytes of a header."""
    said = b"".join(text(key) + value(content) for key, content in values.items())
    named = b"".join(text(name) + shape(sizes) for name, sizes in tensors.items())
    return b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(values)) + said + named


def write(path: Path, content: bytes | None = None) -> Path:
    """Write a GGUF file."""
    path.write_bytes(gguf() if content is None else content)
    return path


def text(said: str) -> bytes:
    """A string after its length."""
    return struct.pack("<Q", len(said.encode())) + said.encode()


def shape(sizes: Sequence[int]) -> bytes:
    """A tensor after its name: its sizes, its type and where it is."""
    return struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, 12, 0)


def value(said: object) -> bytes:
    """A value after its type."""
    kind, content = _typed(said)
    return struct.pack("<I", kind) + content


def _typed(said: object) -> tuple[int, bytes]:
    if isinstance(said, bool):
        return 7, struct.pack("<?", said)
    if isinstance(said, int):
        return 4, struct.pack("<I", said)
    if isinstance(said, float):
        return 6, struct.pack("<f", said)
    if isinstance(said, str):
        return 8, text(said)
    if not isinstance(said, list):
        raise TypeError(type(said))
    items = [_typed(item) for item in said]
    return 9, struct.pack("<IQ", items[0][0], len(items)) + b"".join(content for _, content in items)
