"""What the requests of a candidate are made of: the model's own tokens where its tokenizer is at hand.

Whether it is depends on this machine alone: nothing is asked of a network.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from autotune.plan.checkpoint import place_of
from autotune.plan.facts import Found
from autotune.plan.known import facts_of
from autotune.plan.requests import Requests, repeats_of, requests_of
from autotune.records import Lengths, Wording
from autotune.schema import ApiEndpoint, Config, WorkloadKind
from autotune.workload import kept, lexicon
from autotune.workload.lexicon import Lexicon
from autotune.workload.words import WORDS

TEMPLATES = ("tokenizer_config.json", "chat_template.jinja", "chat_template.json")
OTHER_TOKENS = ("tokenizer", "tokenizer_path", "tokenizer_mode", "custom_tokenizer", "chat_template")
EXTRA = "pip install 'autotune-serving[tokenizers]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tokens:
    """A model's lexicon, and by what texts of a file are counted; without a tokenizer by `why_not`."""

    lexicon: Lexicon
    file: Path | None = None
    identity: str = ""


class Wordings:
    """Finds the wording of each candidate, each model's and each file's once; keeps what is wrong."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._tokens: dict[tuple[str, bool], _Tokens] = {}
        self._found: dict[str, tuple[Config, Wording]] = {}
        self.problems: dict[str, None] = {}

    def __call__(self, config: Config, found: Found | None = None) -> tuple[Config, Wording]:
        """Return the candidate with what its file says of lengths, and its wording.

        `found` is what its checkpoint says. What is wrong with a file is in the wording's problems.
        """
        key = self._key(config)
        if key not in self._found:
            described, wording = self._describe(config, found)
            self.problems |= dict.fromkeys(wording.problems)
            self._found[key] = described, wording
        described, wording = self._found[key]
        return replace(config, workload=described.workload), wording

    def _key(self, config: Config) -> str:
        special = [config.runtime.args.get(name) for name in OTHER_TOKENS]
        of = (config.deploy.kind, config.deploy.url, config.model.path, config.model.max_model_len)
        return repr((*of, repeats_of(config.measure), special, config.workload))

    def _describe(self, config: Config, found: Found | None) -> tuple[Config, Wording]:
        if config.deploy.kind == "replay":  # nothing is sent
            return config, Wording(lengths=Lengths.STAND_IN)
        tokens = _Tokens(lexicon=Lexicon())
        if config.deploy.kind == "simulated":
            wording = Wording(lengths=Lengths.STAND_IN)
        else:
            tokens = self._tokens_of(config)
            wording = _wording(config, tokens)
        if config.workload.kind is WorkloadKind.synthetic:
            return config, wording
        limit = config.workload.max_tokens or facts_of(config.model, found).facts.max_model_len
        asked = requests_of(config, limit, _counting(wording, tokens))
        return _described(config, asked), replace(
            wording,
            pool=asked.pool,
            totals=() if asked.summary is None else asked.summary.totals,
            identity=f"{wording.identity}/{asked.identity}",
            notes=(*wording.notes, *asked.notes),
            problems=asked.problems,
        )

    def _tokens_of(self, config: Config) -> _Tokens:
        chat = config.workload.endpoint is ApiEndpoint.chat
        key = (config.model.path, chat)
        if key not in self._tokens:
            self._tokens[key] = _read(config.model.path, self._env, chat=chat)
        return self._tokens[key]


def _read(path: str, env: Mapping[str, str], *, chat: bool) -> _Tokens:
    """The tokens of a model that is on this machine."""
    try:
        place = place_of(path, env)
        file = None if place is None else place / "tokenizer.json"
        content = file.read_bytes() if file is not None and file.is_file() else None
    except OSError as error:
        return _Tokens(lexicon=Lexicon(why_not=f"the tokenizer of {path} cannot be read ({error.strerror})"))
    if file is None or content is None:
        return _Tokens(lexicon=Lexicon(why_not=f"no tokenizer.json of {path} is on this machine"))
    if not lexicon.installed():
        return _Tokens(lexicon=Lexicon(why_not=f"the package tokenizers is not installed: {EXTRA}"))
    beside = [each.read_bytes() for name in TEMPLATES if (each := file.parent / name).is_file()]
    name = kept.key_of([lexicon.VERSION, list(WORDS), chat, content, *(beside if chat else [])])
    held = kept.find(name)
    found = (
        Lexicon(**{**held, "words": tuple(held["words"])}) if held else lexicon.lexicon_of(file, chat=chat)
    )
    if not held and found.why_not is None:
        with contextlib.suppress(OSError):  # it is found again the next time
            kept.keep(name, asdict(found))
    return _Tokens(lexicon=found, file=file, identity=name)


def _wording(config: Config, tokens: _Tokens) -> Wording:
    """Words of one token each, and whether the lengths of prompts are then known to be exact."""
    found, why_not = tokens.lexicon, tokens.lexicon.why_not
    explicit = next((name for name in OTHER_TOKENS if config.runtime.args.get(name) is not None), None)
    if config.deploy.url is not None:
        why_not = (
            why_not or f"they are counted as {config.model.path} does, whatever {config.deploy.url} serves"
        )
    elif explicit is not None:
        why_not = why_not or f"runtime.args.{explicit} is not looked into"
    lengths = Lengths.EXACT if why_not is None else Lengths.APPROXIMATE
    said = "exact, by the model's own tokenizer" if why_not is None else f"approximate: {why_not}"
    return Wording(
        lengths=lengths,
        words=found.words,
        overhead_tokens=found.overhead_tokens,
        turn_overhead_tokens=found.turn_overhead_tokens,
        identity=tokens.identity if found.words else "",
        notes=(f"lengths of prompts are {said}",),
    )


def _counting(wording: Wording, tokens: _Tokens) -> tuple[str, Any]:
    """What counts the texts of a file, with a name for how."""
    if wording.lengths is Lengths.STAND_IN:
        return "words", lambda text: len(text.split())
    if tokens.file is None or not wording.words:
        return "characters", lambda text: max(1, round(len(text) / 4))
    count: list[Any] = []

    def counted(text: str) -> int:
        if not count:  # loaded only where something is to be counted
            count.append(lexicon.counter(lexicon.load_tokenizer(Path(str(tokens.file)))))
        return int(count[0](text))

    return tokens.identity, counted


def _described(config: Config, asked: Requests) -> Config:
    """With the means of the file, which memory is estimated by."""
    summary = asked.summary
    if summary is None:
        return config
    workload = replace(
        config.workload,
        input_tokens=summary.input_tokens,
        output_tokens=summary.output_tokens,
        file_sha256=asked.sha256,
        turns=1,
    )
    return replace(config, workload=workload)
