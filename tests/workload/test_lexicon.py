"""Words of one token each, and what an engine puts around a prompt."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from autotune.workload.lexicon import LEAST, lexicon_of
from autotune.workload.templates import template_of
from tests.tokenizers_made import tokenizer_made


@pytest.mark.parametrize("metaspace", [False, True])
@pytest.mark.parametrize(("bos", "around"), [(True, 1), (False, 0)])
def test_any_text_of_its_words_has_as_many_tokens(
    tmp_path: Path, *, bos: bool, around: int, metaspace: bool
) -> None:
    """As an engine counts a completion: with the special tokens of the post-processor."""
    tokenizer = tokenizer_made(tmp_path, bos=bos, metaspace=metaspace)
    found = lexicon_of(tmp_path / "tokenizer.json", chat=False)
    assert (found.overhead_tokens, found.why_not) == (around, None)
    assert len(found.words) >= LEAST
    for count in (1, 2, 33, 500):
        text = " ".join(random.Random(count).choices(found.words, k=count))  # noqa: S311
        assert len(tokenizer.encode(text).ids) == count + around


def test_a_chats_template_is_counted_for_each_turn(tmp_path: Path) -> None:
    """As an engine counts a chat: what the template renders, without more special tokens."""
    tokenizer = tokenizer_made(tmp_path)
    found = lexicon_of(tmp_path / "tokenizer.json", chat=True)
    render = template_of(tmp_path)
    said = ["user", "assistant", "user", "assistant", "user"]
    for turns in (1, 2, 3):
        chance = random.Random(turns)  # noqa: S311
        texts = [(role, " ".join(chance.choices(found.words, k=50))) for role in said[: 2 * turns - 1]]
        counted = len(tokenizer.encode(render(texts), add_special_tokens=False).ids)
        around = found.overhead_tokens + (turns - 1) * found.turn_overhead_tokens
        assert counted == 50 * len(texts) + around
    assert found.why_not is None


@pytest.mark.parametrize(
    ("template", "why"),
    [
        pytest.param(None, "has none", id="no template"),
        pytest.param("{{ raise_exception('no users') }}", "no users", id="refuses"),
        pytest.param("{% nonsense %}", "cannot be read here", id="not Jinja"),
        pytest.param(
            "{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}",
            "not the same around every message",
            id="says all twice",
        ),
        pytest.param("{{ ''.__class__.__mro__ }}", "cannot be rendered here", id="leaves the sandbox"),
    ],
)
def test_what_cannot_be_counted_is_said(tmp_path: Path, template: str | None, why: str) -> None:
    """The words still are the tokenizer's, and lengths are not exact."""
    tokenizer_made(tmp_path, template=template)
    found = lexicon_of(tmp_path / "tokenizer.json", chat=True)
    assert why in str(found.why_not)
    assert (found.overhead_tokens, len(found.words) >= LEAST) == (0, True)


def test_a_template_in_a_file_of_its_own_wins(tmp_path: Path) -> None:
    """Newer checkpoints have chat_template.jinja."""
    tokenizer_made(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("[{{ messages[0]['content'] }}]")
    assert template_of(tmp_path)([("user", "x")]) == "[x]"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1]", b"\xff"], ids=["empty", "no model", "list", "no text"]
)
def test_a_broken_tokenizer_is_said(tmp_path: Path, content: bytes) -> None:
    """Its file is named."""
    (tmp_path / "tokenizer.json").write_bytes(content)
    assert "tokenizer.json cannot be read" in str(lexicon_of(tmp_path / "tokenizer.json", chat=False).why_not)
