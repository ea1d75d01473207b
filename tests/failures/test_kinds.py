"""The table of kinds is whole: what the sources name is in it, and what is in it is named."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import autotune
from autotune.errors import TrialError
from autotune.failures import KINDS
from autotune.failures.classify import SIGNATURES
from autotune.failures.signatures import Signature
from autotune.records import Failure

ROOT = Path(autotune.__file__).parent
SOURCES = [*ROOT.rglob("*.py"), *(ROOT.parent / "launchers").rglob("*.py")]
NAMING = {TrialError.__name__, Failure.__name__, Signature.__name__}


def constants(node: ast.AST) -> Iterator[str]:
    """Every text that stands in a piece of source."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def named(source: Path) -> Iterator[str]:
    """The kinds that a file gives to failures in so many words."""
    for call in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(call, ast.Call):
            continue
        name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
        if name in NAMING:
            kinds = [word.value for word in call.keywords if word.arg == "kind"]
            given = [kind for kind in (kinds or call.args[:1]) if not isinstance(kind, ast.Subscript)]
            yield from (text for kind in given for text in constants(kind))


def test_every_kind_that_is_named_is_in_the_table() -> None:
    """A kind that the table lacks would be retried, or not, by accident."""
    found = {kind: source.name for source in SOURCES for kind in named(source)}
    assert {"cuda_oom", "stalled", "no_row", "unknown", "startup_timeout"} <= set(found)  # it finds them
    assert set(found) <= set(KINDS), {kind: found[kind] for kind in set(found) - set(KINDS)}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_of_the_table_is_named(kind: str) -> None:
    """A kind that nothing gives is a row that cannot be true."""
    table = ROOT / "failures" / "kinds.py"
    others = [source for source in SOURCES if source != table]
    assert any(kind in set(constants(ast.parse(source.read_text(encoding="utf-8")))) for source in others)


def test_every_signature_says_where_its_texts_are_from() -> None:
    """And what can be done, in words that can be filled in."""
    for signature in SIGNATURES:
        assert signature.source, signature.texts
        assert signature.advice, signature.texts
        assert signature.cause.format("a", "b", when="while starting").strip(), signature.texts


def test_the_words_of_a_signature_are_not_those_of_its_kind() -> None:
    """The cause says what happened; `kv cache too small` would only say the kind again."""
    words = {signature.kind.replace("_", " ") for signature in SIGNATURES}
    assert not [each.cause for each in SIGNATURES if each.cause in words]
