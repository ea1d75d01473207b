"""The space of a sweep: what varies, as a grid or as seeded samples, in Hydra's override grammar."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException

from autotune.errors import ConfigError
from autotune.foreign import unreadable
from autotune.overrides import elements
from autotune.plan.arguments import is_whole
from autotune.plan.expand import Entry
from autotune.plan.runtimes.flags import load_flags
from autotune.ranges import sweep_problem, wants_whole

Point = tuple[str, ...]
ARGS = "runtime.args."


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Numbers from `start` to `end`, both possible; `log` draws orders of magnitude evenly."""

    start: float
    end: float
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant: `int(interval(16,1024))`."""
        return isinstance(self.start, int) and isinstance(self.end, int)

    def sample(self, rng: random.Random) -> float:
        """Return a number of the interval."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.start), math.log(self.end)))
        else:
            drawn = rng.uniform(self.start, self.end)
        return min(max(round(drawn), int(self.start)), int(self.end)) if self.whole else drawn

    def __str__(self) -> str:
        """`16 to 1024, whole numbers, log`."""
        kind = ["whole numbers"] * self.whole + ["log"] * self.log
        return ", ".join([f"{_number(self.start)} to {_number(self.end)}", *kind])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One key and its values, as override words; a range has none but an interval."""

    key: str
    words: tuple[str, ...] = ()
    interval: Interval | None = None

    @property
    def name(self) -> str:
        """The key as a user writes it."""
        return self.key.lstrip("+")

    @property
    def is_fractional(self) -> bool:
        """Whether it is a range of more than whole numbers."""
        return self.interval is not None and not self.interval.whole

    def draw(self, rng: random.Random) -> str:
        """Return one value as an override word."""
        if self.interval is None:
            return rng.choice(self.words)
        return f"{self.key}={_number(self.interval.sample(rng))}"

    def ends(self) -> tuple[str, ...]:
        """Return the two ends of a range, or every value."""
        if self.interval is None:
            return self.words
        return tuple(f"{self.key}={_number(end)}" for end in (self.interval.start, self.interval.end))


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """`common` dimensions cross each other; `of_runtime` holds those of one runtime's own arguments.

    `runtimes` says which of them a point with a word such as `runtime=vllm` has; the empty word stands for
    the runtime of the command.
    """

    common: tuple[Dimension, ...]
    of_runtime: Mapping[str, tuple[Dimension, ...]] = field(default_factory=dict)
    runtimes: Mapping[str, str] = field(default_factory=dict)

    @property
    def ranges(self) -> tuple[str, ...]:
        """The keys that have a range, so that there is no grid."""
        own = (dimension for dimensions in self.of_runtime.values() for dimension in dimensions)
        return tuple(d.name for d in (*self.common, *own) if d.interval is not None)

    def points(self) -> Iterator[Point]:
        """Yield every point of the grid, the last key varying fastest."""
        for point in itertools.product(*(dimension.words for dimension in self.common)):
            for own in itertools.product(*(dimension.words for dimension in self._own(point))):
                yield (*point, *own)

    def samples(self, count: int, *, seed: int) -> Iterator[Point]:
        """Yield points drawn at random, the same ones for the same seed."""
        rng = random.Random(seed)  # noqa: S311 (not for secrets)
        for _ in range(count):
            point = tuple(dimension.draw(rng) for dimension in self.common)
            yield (*point, *(dimension.draw(rng) for dimension in self._own(point)))

    def _own(self, point: Point) -> tuple[Dimension, ...]:
        """The dimensions of the point's runtime."""
        if not self.of_runtime:
            return ()
        word = next((word for word in point if word.startswith("runtime=")), "")
        return self.of_runtime.get(self.runtimes[word], ())


def dimensions(parsed: Sequence[Override]) -> tuple[Dimension, ...]:
    """Return the dimensions of a command; of a key that is given twice the later one."""
    latest = {override.key_or_group: override for override in parsed}
    return tuple(_dimension(override) for override in latest.values())


def space_of(
    common: tuple[Dimension, ...], own: Mapping[str, tuple[Dimension, ...]], runtimes: Mapping[str, str]
) -> Space:
    """Return the space, without the dimensions that no point has.

    Those are the ones of a runtime that is not chosen, and the arguments that the command gives itself.
    """
    given = {dimension.name for dimension in common}
    left = {
        runtime: tuple(d for d in own[runtime] if d.name not in given)
        for runtime in dict.fromkeys(runtimes.values())
        if runtime in own
    }
    return Space(common=common, of_runtime=left, runtimes=runtimes)


def own_dimensions(
    space: Mapping[str, Mapping[str, str]],
    parser: OverridesParser,
    *,
    runtimes: Collection[str] | None = None,
) -> Mapping[str, tuple[Dimension, ...]]:
    """Return the dimensions of `search.space`: for each runtime its own arguments.

    Raises: ConfigError naming every value that cannot be used, and every runtime not among `runtimes`.
    """
    found: dict[str, list[Dimension]] = {}
    problems = []
    for runtime, arguments in space.items():
        if runtimes is not None and runtime not in runtimes:
            problems.append(f"search.space.{runtime}: no such runtime; known: {', '.join(runtimes)}")
        for name, text in arguments.items():
            try:
                override = parser.parse_override(f"++runtime.args.{name}={text}")
                wrong = sweep_problem(override, None)
            except HydraException as error:
                wrong = unreadable(error)
            if wrong:
                problems.append(f"search.space.{runtime}.{name}={text}: {wrong}")
            else:
                found.setdefault(runtime, []).append(_dimension(override))
    if problems:
        raise ConfigError(problems)
    return {runtime: tuple(own) for runtime, own in found.items()}


def fraction_problems(space: Space, entries: Iterable[Entry]) -> list[str]:
    """Return the ranges of fractions for arguments of which an engine takes whole numbers only."""
    ranged = {
        "": [d for d in space.common if d.name.startswith(ARGS) and d.is_fractional],
        **{runtime: [d for d in own if d.is_fractional] for runtime, own in space.of_runtime.items()},
    }
    problems: dict[str, None] = {}
    for entry in entries if any(ranged.values()) else ():
        runtime, config = entry.candidate.choices.get("runtime", ""), entry.config.runtime
        try:
            flags = load_flags(config.kind, config.version)
        except ConfigError:
            continue  # which is a reason of the entry's plan
        for prefix, own in ((ARGS, ranged[""]), (f"search.space.{runtime}.", ranged.get(runtime, []))):
            for dimension in own:
                name, interval = dimension.name.removeprefix(ARGS), dimension.interval
                if interval is not None and is_whole(name, flags):
                    meant = wants_whole(interval.start, interval.end, log=interval.log)
                    problems[f"{prefix}{name}: {meant}"] = None
    return list(problems)


def _dimension(override: Override) -> Dimension:
    """The dimension of an override without `sweep_problem`."""
    value, key = override.value(), override.get_key_element()
    if not isinstance(value, IntervalSweep) or value.start is None or value.end is None:
        return Dimension(key=key, words=tuple(elements(override)))
    return Dimension(key=key, interval=Interval(start=value.start, end=value.end, log="log" in value.tags))


def _number(number: float) -> str:
    """Whole numbers in full, fractions with six digits."""
    return str(number) if isinstance(number, int) else f"{number:.6g}"
