"""The columns that say how sure a number is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from autotune.records import Interval, Load, LoadResult, Mode, Outcome, Outliers, Status
from autotune.track.noise import client_bound, noise_columns
from autotune.track.records import finished_record

RESULT = LoadResult(
    load=Load(mode=Mode.CONCURRENCY, value=8.0),
    metrics={"ttft_ms_p99": 30.0},
    score=30.0,
    score_repeats=(28.0, 32.0),
    score_interval=Interval(low=20.0, high=45.0),
    intervals={"ttft_ms_p99": Interval(low=20.0, high=45.0)},
    deviations={"ttft_ms_p99": 2.5},
    outliers=(
        Outliers(kind="requests", metric="ttft_ms", count=3, total=64, limit=99.0, worst=120.0),
        Outliers(kind="requests", metric="e2e_ms", count=2, total=64, limit=990.0, worst=1200.0),
    ),
)


def ended(result: LoadResult) -> dict[str, Any]:
    """The end of a trial whose only load this is."""
    return finished_record(Outcome(status=Status.MEASURED, results=(result,), best=result))


def test_the_columns_of_a_trial() -> None:
    """Standard deviations beside their metric, intervals in a section of their own."""
    assert noise_columns(ended(RESULT)) == pytest.approx(
        {
            "repeats": 2,
            "score_low": 20.0,
            "score_high": 45.0,
            "score_std": 8**0.5,
            "ttft_ms_p99_std": 2.5,
            "ci95/ttft_ms_p99_low": 20.0,
            "ci95/ttft_ms_p99_high": 45.0,
            "outliers/requests": 3,
        }
    )


def test_what_is_unknown_has_no_column() -> None:
    """One repeat without requests."""
    once = replace(
        RESULT, score_repeats=(30.0,), score_interval=None, intervals={}, deviations={}, outliers=()
    )
    assert noise_columns(ended(once)) == {"repeats": 1}


def test_an_early_journal_has_few() -> None:
    """Its events lack the fields."""
    event = {"score": 30.0, "score_repeats": [28.0, 32.0], "by_load": [{"load": {}, "score": 30.0}]}
    assert noise_columns(event) == pytest.approx({"repeats": 2, "score_std": 8**0.5})
    assert client_bound(event) == ""


def test_a_limited_trial_has_no_score_and_says_why() -> None:
    """Its metrics stay, its rank goes."""
    event = ended(replace(RESULT, client_bound=("95 % of one core",)))
    assert (event["score"], event["status"], event["failure"]) == (None, "measured", None)
    assert event["metrics"] == {"ttft_ms_p99": 30.0}
    assert client_bound(event) == "concurrency 8: 95 % of one core"
    assert not {"score_low", "score_high", "score_std"} & noise_columns(event).keys()
