"""A thread that looks at something again and again, and keeps what it saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading(Generic[Seen]):
    """What was seen at a time of the sampler's clock: the middle of the look."""

    at_s: float
    value: Seen


class Sampler(Generic[Seen]):
    """Calls `look` every `period_s` from `start` to `close`, and once more for each `at_once`.

    `look` returns None where there was nothing to be seen, and raises `gives_up` to end it all; `given_up` is
    what that says then.
    """

    def __init__(
        self,
        look: Callable[[], Seen | None],
        *,
        period_s: float,
        name: str,
        gives_up: type[Exception],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.given_up: str | None = None
        self._look, self._period_s, self._gives_up, self._clock = look, period_s, gives_up, clock
        self._readings: list[Reading[Seen]] = []
        self._changed = threading.Condition()
        self._asked = self._closed = self._over = False
        self._begun_s = float("-inf")  # when the last look that has ended began
        self._thread = threading.Thread(target=self._keep_looking, name=name, daemon=True)

    @property
    def readings(self) -> Sequence[Reading[Seen]]:
        """What was seen so far, in order."""
        with self._changed:
            return tuple(self._readings)

    def start(self) -> None:
        """Begin, with a look at once."""
        self._thread.start()

    def at_once(self) -> None:
        """Look again now, and return at once."""
        with self._changed:
            self._asked = True
            self._changed.notify_all()

    def fresh(self, timeout_s: float) -> None:
        """Return when a look that begins from now on has ended, or after `timeout_s`."""
        with self._changed:
            asked_s = self._clock()
            self._asked = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._over or self._begun_s >= asked_s, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Look no more; whether the thread has ended within `timeout_s`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _keep_looking(self) -> None:
        try:
            while not self._closed:
                self._look_once()
        except self._gives_up as reason:
            self.given_up = str(reason)
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _look_once(self) -> None:
        begun_s = self._clock()
        seen = self._look()
        ended_s = self._clock()
        with self._changed:
            if seen is not None:
                self._readings.append(Reading(at_s=(begun_s + ended_s) / 2, value=seen))
            self._begun_s = begun_s
            self._changed.notify_all()
            left_s = begun_s + self._period_s - ended_s
            self._changed.wait_for(lambda: self._closed or self._asked, max(0.0, left_s))
            self._asked = False
