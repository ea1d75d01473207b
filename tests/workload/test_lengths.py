"""Lengths and texts: as asked for, whatever the shape of a conversation."""

from __future__ import annotations

import random
import statistics
import time
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.schema import WorkloadConfig
from autotune.workload.lengths import mean_total, shapes, share_above, totals
from autotune.workload.words import WORDS, Writer


def workload(**fields: float) -> WorkloadConfig:
    """A synthetic workload."""
    lengths: dict[str, float] = {"input_tokens": 300, "output_tokens": 100, **fields}
    return WorkloadConfig(loads=[1], seed=0, **lengths)  # type: ignore[arg-type]


@given(count=st.integers(1, 2000), seed=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_a_text_has_exactly_so_many_words(count: int, seed: int) -> None:
    """Long ones of phrases too."""
    words = Writer((), seed).text(random.Random(seed), count).split(" ")  # noqa: S311
    assert len(words) == count
    assert set(words) <= set(WORDS)


def test_long_texts_are_made_fast() -> None:
    """Drawn singly, 100 prompts of 32,768 words would take more than a second of CPU."""
    writer, chance = Writer((), 0), random.Random(0)  # noqa: S311
    began = time.process_time()
    texts = [writer.text(chance, 32_768) for _ in range(100)]
    assert time.process_time() - began < 0.5
    assert len({text[:80] for text in texts}) == 100


@pytest.mark.parametrize(("turns", "spread", "prefix"), [(1, 0.0, 0), (1, 0.5, 200), (4, 0.3, 100)])
def test_the_mean_of_all_requests_is_what_is_said(turns: int, spread: float, prefix: int) -> None:
    """By the formula for conversations of equally many turns, and as drawn."""
    asked = workload(turns=turns, input_spread=spread, output_spread=spread, prefix_tokens=prefix)
    drawn = islice(shapes(asked, random.Random(1)), 4000)  # noqa: S311
    every = [total for shape in drawn for total in totals(asked, shape)]
    assert statistics.fmean(every) == pytest.approx(mean_total(asked), rel=0.02)


def test_the_share_of_long_requests_is_counted() -> None:
    """None, about half, all; and those of later turns, which are longer."""
    alike = workload(input_spread=0.1)
    assert share_above(alike, 10_000) == 0
    assert 0.4 < share_above(alike, 400) < 0.6
    assert share_above(alike, 101) == 1
    assert share_above(workload(turns=4), 1200) == 0.25
