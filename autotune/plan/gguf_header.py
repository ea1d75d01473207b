"""The header of a GGUF file.

The reader is our own because the library does far more than is asked here: gguf 0.19.0 makes an object of
each token, which takes 10 s and 770 MiB for the vocabulary of Llama 3 (128,256 tokens, 280,147 merges), and
its import takes 0.13 s and numpy. Here such values are skipped unread.
Source: GGUF specification, versions 2 and 3 (ggml, docs/gguf.md).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

MAGIC = b"GGUF"
VERSIONS = (2, 3)
HEADER_LIMIT = 64 * 2**20  # bytes; the header of a vocabulary of 262,144 tokens has about 15 MiB
ENTRIES_LIMIT = 2**20  # keys, or tensors of one file
DIMENSIONS = 4
LARGEST = 2**40  # no number of layers, heads, tokens is larger
SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
STRING, ARRAY = 8, 9
KEPT = 1024  # values of an array that are read: one for each layer, not one for each token


class MalformedError(Exception):
    """The header cannot be read; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Metadata of a file, its parameters, and the names of the tensors outside the layers."""

    values: dict[str, Any]
    params: int
    tensors: frozenset[str]


def read_header(path: Path) -> Header:
    """Return the header of a file.

    Raises: MalformedError; OSError where the file cannot be read.
    """
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
        if dimensions > DIMENSIONS:
            raise MalformedError("its header is damaged: impossible tensors")
        params += math.prod(_unpack(file, f"<{dimensions}Q"))
        _unpack(file, "<IQ")  # type, offset
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
    """A value; of an array that is long, or of strings, its length; nothing of a long string."""
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
