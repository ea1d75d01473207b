"""A tokenizer for clients that insist on one: it finds no token in anything.

So a count that the engine did not give is 0, and cannot be taken for one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNKNOWN = "<none>"
MARK = "\ue000"
"""The one character that is a token, where lengths are told by texts; it is for private use."""
MARKS = 4
"""So many are put before every text then: no prompt is too short for anybody."""


def write_tokenizer(folder: Path, *, lengths: bool = False) -> Path:
    """Write the files that `transformers.AutoTokenizer` reads, and return their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(lengths=lengths)))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNKNOWN,
        "model_max_length": 10**9,
        "chat_template": "{% for message in messages %}{{ message['content'] }} {% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def write_vocabulary(folder: Path, words: Sequence[str]) -> Path:
    """Write a tokenizer in which each of these words is a token, for a client that cuts prompts to length."""
    write_tokenizer(folder)
    content = _tokenizer(lengths=False)
    content["pre_tokenizer"] = {"type": "WhitespaceSplit"}
    content["model"]["vocab"] = {word: place for place, word in enumerate([UNKNOWN, *words])}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    return folder


def _tokenizer(*, lengths: bool) -> dict[str, Any]:
    before = [{"SpecialToken": {"id": MARK, "type_id": 0}}] * MARKS
    marks = {
        "type": "TemplateProcessing",
        "single": [*before, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {MARK: {"id": MARK, "ids": [1], "tokens": [MARK]}},
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                _split(f"[^{MARK}]+", "Removed"),
                _split(MARK, "Isolated"),
            ],
        },
        "post_processor": marks if lengths else None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {UNKNOWN: 0, MARK: 1}, "unk_token": UNKNOWN},
    }


def _split(pattern: str, behavior: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": False}
