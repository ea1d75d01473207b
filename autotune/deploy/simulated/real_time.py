"""A replica's steps in real time, from its scheduler's virtual time.

Every step ends at an absolute time, the end of the last plus its duration, so that nothing drifts: what one
step is late, the next is shorter. uvloop's timers have whole milliseconds, so that a step may end half a
millisecond early and, on an idle core, one late.
"""

from __future__ import annotations

import asyncio

from autotune.deploy.simulated.batching import Replica, Sequence


class ReplicaLoop:
    """Runs one replica's steps in real time and hands tokens to who waits for them.

    `steps`, `late_s` and `max_late_s` tell how many steps there were and how late they ended in all and at
    most; a step that ended early was late by 0.
    """

    def __init__(self, replica: Replica) -> None:
        self.replica = replica
        self.steps = 0
        self.late_s = 0.0
        self.max_late_s = 0.0
        self._waiters: dict[int, asyncio.Queue[bool]] = {}
        self._work = asyncio.Event()

    def add(self, sequence: Sequence) -> asyncio.Queue[bool]:
        """Take a request in; its queue gets True for each token, False when there will be none."""
        queue: asyncio.Queue[bool] = asyncio.Queue()
        self._waiters[sequence.number] = queue
        self.replica.add(sequence)
        self._work.set()
        return queue

    def drop(self, sequence: Sequence) -> None:
        """Forget a request; harmless when it has finished."""
        self.replica.drop(sequence)
        self._waiters.pop(sequence.number, None)

    def abort(self) -> None:
        """Tell every request that there will be no more tokens."""
        for queue in self._waiters.values():
            queue.put_nowait(False)

    async def run(self) -> None:
        """Step for as long as the process lives."""
        clock = asyncio.get_running_loop().time
        end_s = clock()
        while True:
            step = self.replica.step()
            if step is None:
                self._work.clear()
                await self._work.wait()
                end_s = clock()
                continue
            end_s += step.duration_s
            await asyncio.sleep(max(0.0, end_s - clock()))
            self._note_lag(max(0.0, clock() - end_s))
            for sequence in step.tokens:
                queue = self._waiters.get(sequence.number)
                if queue is not None:
                    queue.put_nowait(True)

    def _note_lag(self, late_s: float) -> None:
        self.steps += 1
        self.late_s += late_s
        self.max_late_s = max(self.max_late_s, late_s)
