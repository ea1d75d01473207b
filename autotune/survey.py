"""What a command asks for: its overrides checked, its space expanded, every candidate planned.

`prepare` (a run) and `preview` (`plan`) both look at the same survey, so they cannot disagree.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autotune import compose
from autotune.candidates import Composer
from autotune.errors import ConfigError
from autotune.foreign import COMPOSING, in_words
from autotune.gpus.inventory import take_inventory
from autotune.keys import suggest, written
from autotune.overrides import Checked, OverrideChecker
from autotune.plan.expand import Checkpoints, Entry, expand
from autotune.plan.rules import value_problems
from autotune.plan.wordings import Wordings
from autotune.preset_files import PresetFiles
from autotune.records import Gpu, Inventory, InventoryKind
from autotune.schema import Config, config_from
from autotune.space import Point, Space, dimensions, fraction_problems, own_dimensions, space_of

OUR_SWEEPER = "hydra_plugins.autotune_launchers.sweeper.StreamingSweeper"
SAMPLES = 10  # candidates shown of a space that has ranges
MANY = 2000  # candidates from which on planning takes noticeable time

OBJECTIVE_NEEDS = {"workload", "gpus", "experiment"}  # without them nobody knows if an objective fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """A command that was understood.

    `entries` are all candidates of the grid, or samples where `space` has ranges. `problems` is what is
    wrong with its values; `no_gpus` why the GPUs are not known, where they are not.
    """

    checked: Checked
    master: DictConfig
    config: Config
    space: Space
    inventory: Inventory
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]
    no_gpus: tuple[str, ...] = ()

    @property
    def varied(self) -> tuple[str, ...]:
        """The keys that take more than one value, those of one runtime last."""
        own = [d.name for of in self.space.of_runtime.values() for d in of]
        return (*self.checked.varied, *dict.fromkeys(own))

    @property
    def ours(self) -> bool:
        """Whether our sweeper chooses the candidates, not a stock one."""
        return bool(OmegaConf.select(self.master, "hydra.sweeper._target_") == OUR_SWEEPER)


def survey(
    hydra: Hydra, words: Sequence[str], *, multirun: bool, config_name: str = compose.CONFIG_NAME
) -> Survey:
    """Return what a command asks for.

    Raises: ConfigError with everything that is wrong with its overrides.
    """
    checker = OverrideChecker(compose.presets(hydra), hydra.config_loader)
    checked, problems = checker.check(words, multirun=multirun)
    files = PresetFiles(hydra, checker, checked)
    files.read(checker.presets_of(checked))
    root_problems = _root_problems(hydra, config_name)
    if not root_problems:
        files.read_root(config_name)
    problems = [*root_problems, *problems, *files.problems]
    if not problems:
        return _understood(hydra, checker, checked, multirun=multirun, config_name=config_name)
    if not root_problems and files.bad <= set(checker.presets_of(checked)):
        good = checked.without(files.bad)
        dropped = (Counter(map(_node, words)) - Counter(map(_node, good.overrides))).keys()
        more = _problems_of(hydra, checker, good, multirun=multirun, config_name=config_name)
        problems += [p for p in more if not (dropped & OBJECTIVE_NEEDS and p.startswith("objective."))]
    raise ConfigError(list(dict.fromkeys(problems)))


def _understood(
    hydra: Hydra, checker: OverrideChecker, checked: Checked, *, multirun: bool, config_name: str
) -> Survey:
    """What the overrides ask for, whose words are right.

    Raises: ConfigError, in place of what Hydra and OmegaConf raise when they compose.
    """
    try:
        composer = Composer(hydra, fixed(checked), config_name=config_name)
        if multirun:
            checked = _with_experiment(composer.master, checker, checked)
            composer = composer.also(fixed(checked))
    except COMPOSING as error:
        raise ConfigError([in_words(error)]) from error
    try:
        return _surveyed(hydra, checked, composer, multirun=multirun)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError([in_words(error)]) from error


def _problems_of(
    hydra: Hydra, checker: OverrideChecker, good: Checked, *, multirun: bool, config_name: str
) -> tuple[str, ...]:
    """What is wrong with the values of the overrides that are left, where others were refused."""
    try:
        return _understood(hydra, checker, good, multirun=multirun, config_name=config_name).problems
    except ConfigError as error:
        return error.problems


def _root_problems(hydra: Hydra, config_name: str) -> list[str]:
    repository = getattr(hydra.config_loader, "repository")  # noqa: B009 (of the one loader there is)
    if repository.config_exists(config_name):
        return []
    sources = [source for source in repository.get_sources() if source.scheme() == "file"]
    known = sorted({name for source in sources for name in source.list("", ObjectType.CONFIG)})
    return [
        f"--config-name {config_name}: no such root configuration{suggest(config_name, known)}; "
        f"known: {', '.join(known)}"
    ]


def _node(word: str) -> str:
    """Return what an override is about: `workload` of `workload.loads=[1]`."""
    return re.split(r"[=./@]", word.lstrip("+~"), maxsplit=1)[0]


def fixed(checked: Checked) -> list[str]:
    """Return the overrides that are the same for every candidate."""
    return [str(parsed.input_line) for parsed in checked.parsed if not parsed.is_sweep_override()]


def _surveyed(hydra: Hydra, checked: Checked, composer: Composer, *, multirun: bool) -> Survey:
    space, wrong = _space(hydra, checked, composer, multirun=multirun)
    points = space.samples(SAMPLES, seed=composer.master.seed) if space.ranges else space.points()
    candidates = [composer.candidate(point) for point in _told(points)]
    config = config_from(candidates[0].config)
    no_gpus: tuple[str, ...] = ()
    try:
        inventory = _inventory(config)
    except ConfigError as error:
        inventory, no_gpus = Inventory(kind=InventoryKind.UNKNOWN, gpus=()), tuple(error.problems)
    wordings = Wordings(os.environ)
    entries = expand(candidates, inventory, Checkpoints(os.environ), wordings)
    problems = dict.fromkeys([*wrong, *(p for entry in entries for p in value_problems(entry.config))])
    problems |= wordings.problems
    problems |= dict.fromkeys(fraction_problems(space, entries))
    if multirun and OmegaConf.select(composer.master, "hydra.sweeper._target_") is None:
        problems["hydra.sweeper: is no sweeper: leave it as it is, or give hydra/sweeper=autotune"] = None
    return Survey(
        checked=checked,
        master=composer.master,
        config=config,
        space=space,
        inventory=inventory,
        entries=tuple(entries),
        problems=tuple(problems),
        no_gpus=no_gpus,
    )


def _space(
    hydra: Hydra, checked: Checked, composer: Composer, *, multirun: bool
) -> tuple[Space, Sequence[str]]:
    """The common dimensions and for each runtime its own, and what is wrong with `search.space`."""
    common = dimensions(checked.parsed)
    texts: Any = OmegaConf.to_container(composer.master.search.space)
    if not texts:
        return Space(common=common), ()
    wrong = [] if multirun else ["search.space: several values need a sweep: python -m autotune -m ..."]
    try:
        own = own_dimensions(texts, OverridesParser.create(), runtimes=compose.presets(hydra)["runtime"])
    except ConfigError as error:
        return Space(common=common), (*error.problems, *wrong)
    chosen = [word for d in common if d.key == "runtime" for word in d.words]
    names = {word: word.partition("=")[2] for word in chosen} or {"": composer.choice("runtime")}
    return space_of(common, own, names), wrong


def _told(points: Iterable[Point]) -> list[Point]:
    """Say that a large space takes a moment."""
    every = list(points)
    if len(every) >= MANY:
        print(f"planning {len(every):,} candidates ...", file=sys.stderr)  # noqa: T201
    return every


def _with_experiment(master: DictConfig, checker: OverrideChecker, checked: Checked) -> Checked:
    """An experiment preset sweeps by `hydra.sweeper.params`; the command line wins."""
    selected = OmegaConf.select(master, "hydra.sweeper.params")
    params: Any = OmegaConf.to_container(selected) if selected else {}
    given = {p.key_or_group for p in checked.parsed}
    extra = [f"{key}={written(value)}" for key, value in params.items() if key not in given]
    if not extra or OmegaConf.select(master, "hydra.sweeper._target_") != OUR_SWEEPER:
        return checked
    words = [word.removeprefix("++") for word in checked.overrides]
    again, problems = checker.check([*words, *extra], multirun=True)
    if problems:
        raise ConfigError([f"hydra.sweeper.params: {problem}" for problem in problems])
    return again


def _inventory(config: Config) -> Inventory:
    """The GPUs of this host or of the preset; with `deploy.url` those that the engine is said to have."""
    if config.deploy.url is None:
        return take_inventory(config.gpus, os.environ)
    model, node = config.gpus.model or "unknown", socket.gethostname()
    numbers = range(config.gpus.count or 0)
    gpus = tuple(Gpu(uuid=f"foreign-{n}", index=n, model=model, node=node) for n in numbers)
    return Inventory(kind=InventoryKind.FOREIGN, gpus=gpus)
