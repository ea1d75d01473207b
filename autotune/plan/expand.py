"""Candidates with their plans: which are valid, which are rejected, which are the same engine again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from autotune.plan.checkpoint import read_checkpoint
from autotune.plan.facts import Found
from autotune.plan.resolve import PLAIN, resolve
from autotune.records import Candidate, Inventory, Plan, Wording
from autotune.schema import Config, config_from

Identity = tuple[str, str]
Find = Callable[[Config], Found | None]
Word = Callable[[Config, Found | None], tuple[Config, Wording]]


class Verdict(str, Enum):
    """What a sweep does with a candidate: run it, refuse it, or let an earlier one stand for it."""

    VALID = "valid"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A candidate, its plan and its verdict; `duplicate_of` is the position of the entry that it repeats."""

    candidate: Candidate
    config: Config
    plan: Plan
    verdict: Verdict
    duplicate_of: int | None = None


class Checkpoints:
    """Reads each model's checkpoint once; not where someone else serves it, or rows were measured before."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = dict(env)
        self._found: dict[str, Found | None] = {}

    def __call__(self, config: Config) -> Found | None:
        """Return what the candidate's checkpoint says; None where none can be read."""
        path = config.model.path
        if config.deploy.url is not None or config.deploy.kind == "replay":
            return None
        if path not in self._found:
            self._found[path] = read_checkpoint(path, self._env)
        return self._found[path]


def identity(plan: Plan, config: Config) -> Identity:
    """Return what is equal for two candidates exactly if one measurement serves both."""
    return plan.signature, config.model.path


def planned(config: Config, inventory: Inventory, *, find: Find, word: Word) -> tuple[Config, Plan]:
    """Return a candidate, with what the file of its workload says of lengths, and its plan."""
    found = find(config)
    config, wording = word(config, found)
    return config, resolve(config, inventory, found, wording)


def plain(config: Config, _found: Found | None) -> tuple[Config, Wording]:
    """Return a candidate without a look at tokenizers and files."""
    return config, PLAIN


def expand(
    candidates: Iterable[Candidate],
    inventory: Inventory,
    find: Find,
    word: Word = plain,
) -> list[Entry]:
    """Return an entry for each candidate, in their order.

    `find` reads a model's checkpoint, `word` what its requests are made of (`wordings.Wordings`).
    """
    entries: list[Entry] = []
    first: dict[Identity, int] = {}
    for number, candidate in enumerate(candidates):
        config, plan = planned(config_from(candidate.config), inventory, find=find, word=word)
        earlier = first.setdefault(identity(plan, config), number) if plan.valid else number
        verdict = Verdict.REJECTED
        if plan.valid:
            verdict = Verdict.VALID if earlier == number else Verdict.DUPLICATE
        entries.append(
            Entry(
                candidate=candidate,
                config=config,
                plan=plan,
                verdict=verdict,
                duplicate_of=earlier if verdict is Verdict.DUPLICATE else None,
            )
        )
    return entries


def count(entries: Iterable[Entry]) -> dict[str, int]:
    """Return how many entries there are of each verdict."""
    counts = Counter(entry.verdict for entry in entries)
    return {verdict.value: counts[verdict] for verdict in Verdict}
