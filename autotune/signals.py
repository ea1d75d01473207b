"""Ctrl-C, SIGTERM and a closed terminal, for commands that have started something."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from autotune import processes

ENDING = "stopping: engines are ended, results are kept"


@contextmanager
def ending_in_order(stop: threading.Event, say: Callable[[str], None], told: str = ENDING) -> Iterator[None]:
    """While open, a first Ctrl-C (or SIGTERM, or a closed terminal) sets `stop`; a second ends at once.

    `told` is what is being done then.
    """

    def handle(_number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            processes.kill_all()
            os._exit(130)
        stop.set()
        # not in this thread: what was interrupted may hold what printing needs
        threading.Thread(target=say, args=(f"{told} (again: at once)",)).start()

    every = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [n for n in every if signal.getsignal(n) is not signal.SIG_IGN]  # nohup stays nohup
    before: dict[int, Any] = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
