"""Whether a failed attempt is followed by another: the table decides, configuration bounds."""

from __future__ import annotations

import pytest

from autotune.failures.kinds import KINDS
from autotune.failures.retry import again_in_s, kind_of
from autotune.schema import RetryConfig

TRANSIENT = {"port_in_use", "nccl", "gpu_busy", "gpu_lost", "infrastructure"}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_will_fail_again_is_not_tried_again(kind: str) -> None:
    """However many attempts a user allows."""
    again = again_in_s(kind, attempt=1, since_first_s=0.0, bounds=RetryConfig(attempts=99))
    assert again == (5.0 if kind in TRANSIENT else None)


@pytest.mark.parametrize(
    ("kind", "attempt", "since_first_s", "expected"),
    [
        pytest.param("port_in_use", 1, 1.0, 5.0, id="the first wait"),
        pytest.param("port_in_use", 2, 1.0, 10.0, id="the second is twice as long"),
        pytest.param("port_in_use", 3, 1.0, None, id="no more than retry.attempts"),
        pytest.param("nccl", 1, 1.0, 5.0, id="once"),
        pytest.param("nccl", 2, 1.0, None, id="the table says once"),
        pytest.param("port_in_use", 1, 595.0, 5.0, id="just within"),
        pytest.param("port_in_use", 1, 595.1, None, id="too late"),
        pytest.param("heard of nowhere", 1, 0.0, None, id="a kind that a table of rows made up"),
    ],
)
def test_attempts_and_time_are_bounded(
    kind: str, attempt: int, since_first_s: float, expected: float | None
) -> None:
    """By the table, `retry.attempts` and `retry.within_s`."""
    assert again_in_s(kind, attempt=attempt, since_first_s=since_first_s, bounds=RetryConfig()) == expected


def test_the_wait_grows_to_a_minute_and_no_further() -> None:
    """5, 10, 20, 40, 60, 60, ... also after very many."""
    bounds = RetryConfig(attempts=10**6, within_s=float(10**9))
    waits = [again_in_s("port_in_use", attempt=n, since_first_s=0.0, bounds=bounds) for n in range(1, 8)]
    assert waits == [5, 10, 20, 40, 60, 60, 60]
    assert again_in_s("port_in_use", attempt=10**5, since_first_s=0.0, bounds=bounds) == 60


def test_a_kind_that_the_table_lacks_is_unknown() -> None:
    """Replayed tables may name any."""
    assert kind_of("heard of nowhere") is KINDS["unknown"]
