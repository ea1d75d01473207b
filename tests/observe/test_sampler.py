"""The thread that looks again and again."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable

from autotune.observe.sampler import Sampler
from tests.shop import until

LONG_S = 3600.0


class Enough(Exception):
    """There is nothing more to see."""


def sampler(look: Callable[[], int | None], period_s: float = LONG_S) -> Sampler[int]:
    """A sampler that gives up at `Enough`."""
    return Sampler(look, period_s=period_s, name="a sampler of a test", gives_up=Enough)


def threads() -> list[str]:
    """The samplers of tests that still run."""
    return [thread.name for thread in threading.enumerate() if thread.name == "a sampler of a test"]


def test_it_looks_at_once_and_then_every_period() -> None:
    """Times ascend, and nothing that is None is kept."""
    numbers = itertools.count()
    one = sampler(lambda: None if (n := next(numbers)) == 1 else n, period_s=0.01)
    began = time.monotonic()
    one.start()
    until(lambda: len(one.readings) >= 4)
    assert one.close(10)
    ended = time.monotonic()
    assert [reading.value for reading in one.readings[:4]] == [0, 2, 3, 4]
    times = [reading.at_s for reading in one.readings]
    assert times == sorted(times)
    assert began <= times[0]
    assert times[-1] <= ended
    assert times[3] - times[0] >= 0.03
    assert threads() == []


def test_a_fresh_reading_is_one_that_began_since() -> None:
    """Whoever asks for one gets it long before the period is over; asking alone does not wait."""
    one = sampler(itertools.count().__next__)
    one.start()
    until(lambda: len(one.readings) == 1)
    asked = time.monotonic()
    one.fresh(10)
    assert [reading.value for reading in one.readings] == [0, 1]
    assert one.readings[-1].at_s >= asked
    one.at_once()
    until(lambda: len(one.readings) == 3)
    assert one.close(10)


def test_a_look_in_progress_is_not_fresh() -> None:
    """It began before; the one after it counts."""
    looks, inside, go = itertools.count(), threading.Event(), threading.Event()

    def look() -> int:
        number = next(looks)
        if number == 0:
            inside.set()
            assert go.wait(10)
        return number

    one = sampler(look)
    one.start()
    assert inside.wait(10)
    waiting = threading.Thread(target=one.fresh, args=(10,))
    waiting.start()
    go.set()
    waiting.join(10)
    assert [reading.value for reading in one.readings] == [0, 1]
    assert one.close(10)


def test_waiting_for_a_look_that_hangs_ends() -> None:
    """So does closing, which says that the thread is still there."""
    go = threading.Event()
    one = sampler(lambda: 1 if go.wait(30) else None)
    one.start()
    one.fresh(0.05)
    assert not one.close(0.05)
    go.set()
    assert one.close(10)


def test_it_can_give_up() -> None:
    """The reason is kept, the thread is gone, and nobody waits for it any more."""

    def look() -> int:
        raise Enough("there is nothing")

    one = sampler(look)
    one.start()
    until(lambda: threads() == [])
    one.fresh(LONG_S)
    assert (one.given_up, list(one.readings)) == ("there is nothing", [])
    assert one.close(10)
