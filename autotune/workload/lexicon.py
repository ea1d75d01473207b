"""Words that are one token each by a model's own tokenizer, and what the engine puts around a prompt.

Such words make prompts of an exact length without a tokenizer where requests are written. What is found is
kept in the cache folder: a large tokenizer takes a second to load. Nothing is asked of a network.

Engines tokenize a completion with the special tokens that the tokenizer's post-processor adds, and the text
that a chat template renders without. Source: vLLM 0.32.0 entrypoints/openai (add_special_tokens is true for
completions, false for chats); SGLang and TensorRT-LLM do the same by default.
"""

from __future__ import annotations

import importlib
import importlib.util
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autotune.workload.templates import Render, template_of
from autotune.workload.words import WORDS

VERSION = 1  # of what is kept
LEAST = 32  # words that make two first blocks of 16 alike about never
ENOUGH = 96
PROOF = 2000  # words of the text that proves them
MARKS = ("Ġ", "▁")  # how byte-level and SentencePiece vocabularies write a space
PLAIN = re.compile(r"[a-z]{2,12}")

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lexicon:
    """`words` and the tokens around a first prompt and around what a later turn adds.

    `why_not` says why lengths are not exact, where they are not.
    """

    words: tuple[str, ...] = ()
    overhead_tokens: int = 0
    turn_overhead_tokens: int = 0
    why_not: str | None = None


def installed() -> bool:
    """Whether the extra is there."""
    return importlib.util.find_spec("tokenizers") is not None


def load_tokenizer(file: Path) -> Any:
    """Return the tokenizer of a tokenizer.json.

    Raises: ValueError if it is none. The library raises plain exceptions, of no class of its own.
    """
    try:
        return importlib.import_module("tokenizers").Tokenizer.from_buffer(file.read_bytes())
    except ValueError:
        raise
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ValueError(str(error)) from error


def counter(tokenizer: Any) -> Count:
    """Return what counts the tokens of a text, without special ones."""
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False))


def lexicon_of(file: Path, *, chat: bool) -> Lexicon:
    """Return the lexicon of a tokenizer.json; for chats with the template beside it."""
    try:
        tokenizer = load_tokenizer(file)
    except (ValueError, OSError) as error:
        return Lexicon(why_not=f"{file} cannot be read as a tokenizer ({error})")
    words = _words(tokenizer)
    if len(words) < LEAST:
        return Lexicon(why_not=f"{file} has too few words of one token")
    if not chat:
        special = len(tokenizer.encode(words[0])) - 1
        return Lexicon(words=words, overhead_tokens=special)
    try:
        render = template_of(file.parent)
        around = _around(render, counter(tokenizer), words)
    except ValueError as error:
        return Lexicon(words=words, why_not=f"what the chat template adds is not counted: {error}")
    return Lexicon(words=words, overhead_tokens=around[0], turn_overhead_tokens=around[1])


def _words(tokenizer: Any) -> tuple[str, ...]:
    """Words that are one token alone and after a space, and stay so in a text."""
    count = counter(tokenizer)
    found = [word for word in WORDS if _single(count, word)]
    if len(found) < ENOUGH:
        more = (word for word in _vocabulary(tokenizer) if word not in WORDS and _single(count, word))
        found += [word for word, _ in zip(more, range(ENOUGH - len(found)), strict=False)]
    chance = random.Random("proof")  # noqa: S311  (repeatable)
    proof = chance.choices(found, k=PROOF) if found else []
    return tuple(found) if proof and count(" ".join(proof)) == PROOF else ()


def _single(count: Count, word: str) -> bool:
    return count(word) == 1 and count(f"{word} {word}") == 2


def _vocabulary(tokenizer: Any) -> Iterator[str]:
    """Plain lower-case words of the vocabulary that follow a space, the commonest first."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    for token in sorted(vocabulary, key=lambda token: vocabulary[token]):
        if token.startswith(MARKS) and PLAIN.fullmatch(token[1:]):
            yield token[1:]


def _around(render: Render, count: Count, words: Sequence[str]) -> tuple[int, int]:
    """Tokens of the template around one turn, and around each later one.

    Raises: ValueError where they depend on what is said, or on which turn it is.
    """
    chance = random.Random("around")  # noqa: S311  (repeatable)
    found = []
    for turns in (1, 2, 3):
        said = [" ".join(chance.choices(words, k=40)) for _ in range(2 * turns - 1)]
        text = render([(("user", "assistant")[n % 2], each) for n, each in enumerate(said)])
        found.append(count(text) - 40 * len(said))
    again = " ".join(chance.choices(words, k=7))
    if count(render([("user", again)])) - 7 != found[0] or found[2] - found[1] != found[1] - found[0]:
        raise ValueError("its tokens are not the same around every message")
    return found[0], found[1] - found[0]
