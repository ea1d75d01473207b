"""Which waiting trials start now, and where: a pure policy over values, without a clock.

Where the whole grid is known, trials that need more than half a node come first, one after the other,
then the rest in the order that `forecast` expects to end soonest; which of those that are alike comes first
is drawn, so that a drift does not fall on neighbours in the grid. Where a search still chooses, the
widest that fits goes first, and a trial that is overtaken too long gets a reservation. Whatever fits
beside starts too (backfill). Times are seconds on the caller's clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from autotune.gpus.forecast import Expected, ordered
from autotune.gpus.placement import place, straddles
from autotune.records import Gpu

DRAIN = 0.16
"""A wide trial gets its reservation when the GPUs would idle, on the average, for this part of its wait."""

FLOOR = 0.2  # of a mean trial: what is left, at least, of one that runs longer than expected


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A trial that waits since `since_s` for `gpus` GPUs, in `avoid` (UUIDs) only if it must.

    Of trials that are alike to the packing the one with the lowest `draw` starts first.
    """

    trial: int
    gpus: int
    since_s: float
    expected: Expected | None = None
    avoid: frozenset[str] = frozenset()
    draw: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A trial that has run on `gpus` since `since_s`."""

    gpus: tuple[Gpu, ...]
    since_s: float
    expected: Expected | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How trials are ordered; the last two are in mean trial durations.

    `known`: the whole grid waits. `overtake`: a trial that needs more than half a node is overtaken
    no longer, any other no longer than twice that. `island_wait`: how long a trial waits for one NVLink
    island before it is spread over two, while a search still chooses.
    """

    known: bool = True
    overtake: float = 3.0
    island_wait: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Everything that a decision rests on.

    `soon` are GPUs whose trial has ended and whose memory is not free yet.
    `mean_s` is the mean duration of the trials that ended, None before the first. `health` ranks GPUs
    that are otherwise equal.
    """

    queue: Sequence[Waiting]
    free: Sequence[Gpu]
    running: Sequence[Running]
    now_s: float
    soon: Sequence[Gpu] = ()
    mean_s: float | None = None
    health: Mapping[str, float] | None = None

    @property
    def ours(self) -> list[Gpu]:
        """The GPUs that are free now or when our own trials end."""
        return [*self.free, *self.soon, *(gpu for trial in self.running for gpu in trial.gpus)]

    @property
    def still(self) -> bool:
        """Whether waiting is in vain: nothing of ours will get free."""
        return not (self.running or self.soon)


Assignment = tuple[int, tuple[Gpu, ...]]


def pack(now: Situation, policy: Policy, *, room: int) -> list[Assignment]:
    """Return the trials to start, at most `room`, each with its GPUs, all on one node.

    No GPU is given twice. A trial that does not fit is passed over by those behind it that do, unless
    it has a reservation.
    """
    if room <= 0 or not now.queue:
        return []
    return _known(now, room) if policy.known else _streamed(now, policy, room)


def _known(now: Situation, room: int) -> list[Assignment]:
    """Every trial is there: nothing is overtaken for ever, and islands are worth waiting for."""
    ours, free = now.ours, list(now.free)
    if all(item.gpus > len(free) for item in now.queue) or _wide_can_start_soon(now, ours):
        return []
    running = [(trial.gpus, now.now_s - trial.since_s, trial.expected) for trial in now.running]
    queue = sorted(now.queue, key=lambda item: (item.draw, item.trial))
    order = ordered([(item.trial, item.gpus, item.expected) for item in queue], ours, running)
    items = {item.trial: item for item in now.queue}
    chosen: list[Assignment] = []
    hopeless: set[int] = set()  # widths for which nothing is left
    for trial in order:
        item = items[trial]
        if item.gpus in hopeless:
            continue
        gpus = place(_wanted(item, free, now, waits=not now.still), item.gpus, health=now.health)
        if gpus is None or (straddles(gpus, ours) and not now.still):
            hopeless |= set() if item.avoid else {item.gpus}
            continue
        chosen.append((trial, gpus))
        free = [gpu for gpu in free if gpu not in gpus]
        if len(chosen) == room:
            break
    return chosen


def _wanted(item: Waiting, free: Sequence[Gpu], now: Situation, *, waits: bool) -> Sequence[Gpu]:
    """The free GPUs that a trial may get: those it does not avoid, if those are or will be enough."""
    if not item.avoid:
        return free
    others = [gpu for gpu in free if gpu.uuid not in item.avoid]
    later = [gpu for gpu in now.ours if gpu.uuid not in item.avoid] if waits else others
    return free if place(later, item.gpus) is None else others


def _wide_can_start_soon(now: Situation, ours: Sequence[Gpu]) -> bool:
    """Whether one that needs more than half the node waits for memory only: then nobody overtakes it."""
    wide = max((item.gpus for item in now.queue if len(ours) < 2 * item.gpus <= 2 * len(ours)), default=0)
    return len(now.free) < wide <= len(now.free) + len(now.soon)


def _streamed(now: Situation, policy: Policy, room: int) -> list[Assignment]:
    """A few trials wait while more are to come: the widest that fits, and reservations."""
    ours, free = now.ours, list(now.free)
    head = _reserved(now, policy, len(ours))
    chosen: list[Assignment] = []
    for item in _by_turn(now.queue, head):
        if len(chosen) == room:
            break
        if head is not None and item is not head and not _fits_beside(item, head, now, len(free)):
            continue
        wanted = _wanted(item, free, now, waits=not now.still and item is not head)
        gpus = place(wanted, item.gpus, health=now.health)
        patient = now.mean_s is not None and now.now_s - item.since_s < policy.island_wait * now.mean_s
        if gpus is None or (straddles(gpus, ours) and patient and not now.still):
            continue
        chosen.append((item.trial, gpus))
        free = [gpu for gpu in free if gpu not in gpus]
        if item is head:
            head = None
    return chosen


def _by_turn(queue: Iterable[Waiting], head: Waiting | None) -> list[Waiting]:
    """The one with the reservation, then the widest, of equals the one that waits longest."""
    return sorted(queue, key=lambda item: (item is not head, -item.gpus, item.since_s, item.trial))


def _reserved(now: Situation, policy: Policy, gpus: int) -> Waiting | None:
    """The trial that must not be overtaken any more; none before the first trial has ended.

    One that cannot start on the GPUs that are ours blocks nobody: others hold what it needs.
    """
    if now.mean_s is None:
        return None
    due = [item for item in now.queue if item.gpus <= gpus and _is_due(item, now, policy, gpus)]
    return min(due, key=lambda item: (item.since_s, item.trial), default=None)


def _is_due(item: Waiting, now: Situation, policy: Policy, gpus: int) -> bool:
    waited_s, mean_s = now.now_s - item.since_s, now.mean_s or 0.0
    if item.gpus * 2 <= gpus:
        return waited_s >= 2 * policy.overtake * mean_s
    if waited_s >= policy.overtake * mean_s:
        return True
    left = [(_left_s(trial, now), len(trial.gpus)) for trial in now.running]
    last_s = max((seconds for seconds, _ in left), default=0.0)
    idle = last_s * gpus - sum(seconds * width for seconds, width in left)
    return idle <= DRAIN * gpus * waited_s


def _fits_beside(item: Waiting, head: Waiting, now: Situation, free: int) -> bool:
    """Whether a trial does not delay the reserved one: it ends before that can start, or leaves enough."""
    count, start_s = free + len(now.soon), 0.0
    for seconds, width in sorted((_left_s(trial, now), len(trial.gpus)) for trial in now.running):
        if count >= head.gpus:
            break
        count, start_s = count + width, seconds
    takes_s = item.expected.mean_s if item.expected is not None else now.mean_s or 0.0
    return takes_s <= start_s or count - head.gpus >= item.gpus


def _left_s(trial: Running, now: Situation) -> float:
    """Seconds that a running trial is expected to run on."""
    mean_s = now.mean_s or 0.0
    takes_s = trial.expected.mean_s if trial.expected is not None else mean_s
    return max(takes_s - (now.now_s - trial.since_s), FLOOR * mean_s)
