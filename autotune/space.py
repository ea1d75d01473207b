"""The space of a sweep: what varies, as a grid or as seeded samples, in Hydra's override grammar."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException

from autotune.errors import ConfigError
from autotune.overrides import elements

Point = tuple[str, ...]


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
        return ", ".join([f"{self.start:g} to {self.end:g}", *kind])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """One key and its values, as override words; a range has none but an interval."""

    key: str
    words: tuple[str, ...] = ()
    interval: Interval | None = None

    def draw(self, rng: random.Random) -> str:
        """Return one value as an override word."""
        if self.interval is None:
            return rng.choice(self.words)
        return f"{self.key}={self.interval.sample(rng):.6g}"

    def ends(self) -> tuple[str, ...]:
        """Return the two ends of a range, or every value."""
        if self.interval is None:
            return self.words
        return tuple(f"{self.key}={end:.6g}" for end in (self.interval.start, self.interval.end))


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
        return tuple(d.key.lstrip("+") for d in (*self.common, *own) if d.interval is not None)

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
        """The dimensions of the point's runtime that the command does not give itself."""
        if not self.of_runtime:
            return ()
        word = next((word for word in point if word.startswith("runtime=")), "")
        given = {word.partition("=")[0] for word in point}
        own = self.of_runtime.get(self.runtimes[word], ())
        return tuple(dimension for dimension in own if dimension.key not in given)


def dimensions(parsed: Sequence[Override]) -> tuple[Dimension, ...]:
    """Return the dimensions of a command; of a key that is given twice the later one."""
    latest = {override.key_or_group: override for override in parsed}
    return tuple(_dimension(override) for override in latest.values())


def own_dimensions(
    space: Mapping[str, Mapping[str, str]], parser: OverridesParser
) -> Mapping[str, tuple[Dimension, ...]]:
    """Return the dimensions of `search.space`: for each runtime its own arguments.

    Raises: ConfigError naming every value that cannot be read.
    """
    found: dict[str, list[Dimension]] = {}
    problems = []
    for runtime, arguments in space.items():
        for name, text in arguments.items():
            try:
                override = parser.parse_override(f"++runtime.args.{name}={text}")
            except HydraException as error:
                reason = str(error).splitlines()[0]
                problems.append(f"search.space.{runtime}.{name}={text}: cannot be read: {reason}")
                continue
            found.setdefault(runtime, []).append(_dimension(override))
    if problems:
        raise ConfigError(problems)
    return {runtime: tuple(own) for runtime, own in found.items()}


def _dimension(override: Override) -> Dimension:
    value = override.value()
    if not isinstance(value, IntervalSweep):
        return Dimension(key=override.get_key_element(), words=tuple(elements(override)))
    start, end = value.start, value.end
    if start is None or end is None:
        raise ConfigError([f"{override.input_line}: an interval needs both ends"])
    interval = Interval(start=start, end=end, log="log" in value.tags)
    return Dimension(key=override.get_key_element(), interval=interval)
