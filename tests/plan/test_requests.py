"""What is drawn from a user's file for a trial, and what of it comes again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from autotune.plan import requests
from autotune.plan.wordings import Wordings
from autotune.schema import Config
from tests.plan.test_wordings import filed


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOTUNE_CACHE", str(tmp_path / "cache"))


def notes_of(asked: Config) -> tuple[str, ...]:
    """What is told of a candidate's file."""
    return Wordings({})(asked)[1].notes


def test_until_needs_conversations_for_all_repeats_it_may_take(tmp_path: Path) -> None:
    """So that none of the later ones sends what was sent before; the same reader tells both apart."""
    file = tmp_path / "f"
    file.write_text("\n".join(json.dumps({"prompt": f"p{n} a b", "output_tokens": 1}) for n in range(9)))
    asked, wordings = filed(file), Wordings({})
    by_repeats = requests.needed(asked)
    asked.measure.repeats, asked.measure.max_repeats = 3, 12
    few = wordings(asked)[1].notes
    assert requests.needed(asked) == by_repeats
    asked.measure.until = 0.02
    assert requests.needed(asked) == 4 * by_repeats
    assert any(f"up to {4 * by_repeats:,} conversations are needed" in n for n in wordings(asked)[1].notes)
    assert any(f"up to {by_repeats:,} conversations are needed" in note for note in few)


@pytest.mark.parametrize(
    ("line", "told", "untold"),
    [
        ({"prompt": "a b"}, "finds the 4 recorded texts", "lengths only"),
        (
            {"input_tokens": 5},
            "4 of those used are lengths only: their words are drawn anew",
            "recorded text",
        ),
    ],
)
def test_what_comes_again_of_a_trace_is_told(
    tmp_path: Path, line: dict[str, Any], told: str, untold: str
) -> None:
    """Texts do; words that are drawn for lengths do not. One that is too short measures its warm-up's."""
    file = tmp_path / "f"
    file.write_text("\n".join(json.dumps({**line, "output_tokens": 1, "time": n}) for n in range(4)))
    notes = notes_of(filed(file))
    assert any(told in note for note in notes)
    assert not any(untold in note for note in notes)
    assert any("it begins anew within one" in note for note in notes)
    assert not any("conversations are needed" in note for note in notes)


def test_a_measurement_by_time_tells_what_is_set_aside(tmp_path: Path) -> None:
    """How many a closed loop sends is not known before."""
    file = tmp_path / "f"
    file.write_text(json.dumps({"prompt": "a b c", "output_tokens": 1}))
    notes = notes_of(filed(file, seconds_per_load=60.0))
    assert any("within workload.seconds_per_load=60 up to" in note for note in notes)
    assert not any("seconds_per_load" in note for note in notes_of(filed(file)))
