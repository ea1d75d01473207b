"""Numbers as engines' command lines take them: 4096, 32k (32,000), 32K (32,768), 0.9.

What is not a number is for `arguments.check` to tell.
"""

from __future__ import annotations

import re
from typing import Any

# Source: vLLM 0.32.0 utils/argparse_utils.py human_readable_int.
_DECIMAL = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def count(value: Any) -> int | None:
    """Return the number that an engine reads; None for none, `auto`, -1 and what is not a number."""
    if value is None or isinstance(value, bool):
        return None
    words = str(value).strip()
    if words.isdecimal():
        return int(words)
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgtKMGT])", words)
    if match is None:
        return None
    number, suffix = match.groups()
    if suffix in _DECIMAL:
        return int(float(number) * _DECIMAL[suffix])
    return int(number) * _BINARY[suffix] if number.isdecimal() else None


def fraction(value: Any) -> float | None:
    """Return the number that an engine reads; None for none and what is not a number."""
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None
