"""Hold every plan against the engines' own parsers: `sh scripts/check-parsers`.

    python -m scripts.parser_check [--rules]

Needs what `scripts/real-engine` and `scripts/sglang-parser` install. Exit status 1 if anything disagrees.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from autotune import compose
from autotune.plan.runtimes.flags import FlagList, known_versions, load_flags
from scripts.parser_check.compare import MAIN_GPUS, OTHER_GPUS, examine, report
from scripts.parser_check.engines import VERSIONS
from scripts.parser_check.published import strange
from scripts.parser_check.spaces import Planned, Planner, points
from scripts.parser_check.versions import differences, flags_that_lost

Result = tuple[list[str], dict[str, list[str]]]  # what was done, and what disagrees, by kind
PROCESSES = 2
SHOWN = 3  # examples of a disagreement


def main(words: Sequence[str] | None = None) -> int:
    """Run every comparison; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rules", action="store_true", help="each rule with the engine's own words")
    asked = parser.parse_args(words)
    problems: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as models, ProcessPoolExecutor(PROCESSES) as pool:
        running = [pool.submit(task) for task in _tasks(Path(models))]
        for done in as_completed(running):
            lines, wrong = done.result()
            print(
                *(line for line in lines if asked.rules or not line.startswith("  rule ")),
                sep="\n",
                flush=True,
            )
            for kind, examples in wrong.items():
                problems.setdefault(kind, []).extend(examples)
    for kind, examples in problems.items():
        print(f"DISAGREES, {len(examples):,} times: {kind}", *examples[:SHOWN], sep="\n  ")
    print(f"{sum(map(len, problems.values())):,} disagreements")
    return 1 if problems else 0


def _tasks(models: Path) -> list[Callable[[], Result]]:
    """The longest first."""
    asked = [partial(_ask, engine, gpus, models) for gpus in (MAIN_GPUS, *OTHER_GPUS) for engine in VERSIONS]
    published = [("tensorrt_llm", version) for version in known_versions("tensorrt_llm")]
    return [*asked, partial(_newer, "vllm"), *(partial(_read, *pair) for pair in published)]


def _ask(engine: str, gpus: str, models: Path) -> Result:
    with compose.hydra_on(None) as app:
        found = examine(app, engine, gpus, models)
    return list(report(found)), found.problems


def _read(engine: str, version: str) -> Result:
    """Every command of a version against its published flag list."""
    flags = load_flags(engine, version)
    with compose.hydra_on(None) as app:
        planner = Planner(app, engine, version, MAIN_GPUS)
        plans = [planned for planned in planner.planned(points(app, engine)) if not planned.plan.reasons]
    wrong = [f"{' '.join(p.words)}: {word}" for p in plans for word in strange(p.plan, flags)]
    lines = [f"{engine} {version}: {len(plans):,} valid candidates, by its published flags and options"]
    return lines, {f"{engine} {version} has no such flag or option": wrong} if wrong else {}


def _newer(engine: str) -> Result:
    """The default version, where it is newer than the one that can be asked."""
    old, new = load_flags(engine, VERSIONS[engine]), load_flags(engine, known_versions(engine)[-1])
    if old.version == new.version:
        return [], {}
    lost = flags_that_lost(old, new)
    problems: dict[str, list[str]] = {}
    with compose.hydra_on(None) as app:
        asked = list(points(app, engine))
        before, after = (
            Planner(app, engine, flags.version, MAIN_GPUS).planned(asked) for flags in (old, new)
        )
        for one, other in zip(before, after, strict=True):
            for kind, said in _compared(one, other, lost, new):
                problems.setdefault(f"{engine} {new.version}: {kind}", []).append(said)
    same = f"{engine} {new.version}: {len(asked):,} candidates, with the plans of {old.version}"
    return [*differences(old, new), same], problems


def _compared(
    before: Planned, after: Planned, lost: frozenset[str], flags: FlagList
) -> Iterator[tuple[str, str]]:
    """A candidate on both versions: the same command, of flags that still take what they took."""
    words = " ".join(after.words)
    if (before.plan.argv, before.plan.reasons) != (after.plan.argv, after.plan.reasons):
        yield "another plan than the older version's", f"{words}: {after.plan.argv} {after.plan.reasons}"
    for word in strange(after.plan, flags):
        yield "no such flag", f"{words}: {word}"
    for word in lost.intersection(after.plan.argv):
        yield f"{word} does not take what it took in the older version", words


if __name__ == "__main__":
    sys.exit(main())
