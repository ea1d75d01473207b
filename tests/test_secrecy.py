"""Secrets in streams and in logs: stars of the same length, wherever pieces begin and end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune import secrecy
from autotune.secrecy import LogMask, Redactor, secrets_of

TOKEN = b"hf_abcab"
texts = st.lists(st.sampled_from([TOKEN, b"hf_ab", b"hf_", b"cab", b"\n", b"a", b"x" * 30]), max_size=30)
cuts = st.lists(st.integers(0, 300), max_size=10)


def pieces(text: bytes, places: list[int]) -> list[bytes]:
    """A text cut at these places."""
    ends = [*sorted(min(place, len(text)) for place in places), len(text)]
    return [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@given(words=texts, places=cuts)
def test_a_stream_shows_no_secret_and_all_else(words: list[bytes], places: list[int]) -> None:
    """However it is cut into pieces."""
    text = b"".join(words)
    redactor = Redactor((TOKEN,))
    shown = b"".join(redactor.feed(piece) for piece in pieces(text, places)) + redactor.rest()
    assert shown == text.replace(TOKEN, b"*" * len(TOKEN))


@given(words=texts, places=cuts, block=st.integers(len(TOKEN), 40))
def test_a_log_shows_no_secret_and_all_else(
    words: list[bytes], places: list[int], block: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However it grows between two looks."""
    text, log = b"".join(words), tmp_path_factory.mktemp("log") / "engine.log"
    with pytest.MonkeyPatch.context() as patch, log.open("ab", buffering=0) as engine:
        patch.setattr(secrecy, "BLOCK", block)
        mask = LogMask(log, (TOKEN,))
        for piece in pieces(text, places):
            engine.write(piece)
            mask.look()
        assert log.read_bytes() == text.replace(TOKEN, b"*" * len(TOKEN))


def test_a_log_that_is_not_there_is_none(tmp_path: Path) -> None:
    """Nothing is made, nothing is raised."""
    LogMask(tmp_path / "engine.log", (TOKEN,)).look()
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_known_by_their_names() -> None:
    """Tokens, keys and passwords, and those inside the URLs of proxies; nothing that is too short to be one."""
    env = {
        "HF_TOKEN": "hf_abcdef",
        "AWS_SECRET_ACCESS_KEY": "aws-abcdef-longer",
        "https_proxy": "http://me:pass-word@proxy:3128",
        "HTTP_PROXY": "http://[bad",
        "SOME_KEY": "1",
        "TOKENIZERS_PARALLELISM": "falsefalse",
        "KEYBOARD": "qwertz-layout",
    }
    assert secrets_of(env) == (b"aws-abcdef-longer", b"hf_abcdef", b"pass-word")
