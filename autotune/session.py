"""From a checked command to an exit status: opens the sweep, hands over to Hydra, prints the end."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import datetime

import hydra as hydra_module
from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from autotune import compose
from autotune.active import activate, active
from autotune.cli import complain
from autotune.errors import ConfigError, InfrastructureError
from autotune.places import OUTPUTS, conf_dir
from autotune.prepare import Prepared, prepare, unused_name
from autotune.report.failures import resume_command
from autotune.report.live import create_view
from autotune.report.render import console, render
from autotune.schema import Direction
from autotune.score.ranking import Ranking, rank
from autotune.signals import ending_in_order
from autotune.sweep import Settings, Sweep
from autotune.track.durations import newest_journals
from autotune.track.mirror import MlflowMirror
from autotune.track.mlflow import Store

REMAINS_S = 10.0  # at the end of a sweep, for what could not be ended
POLL_S = 0.1


def run_session(
    words: Sequence[str],
    *,
    multirun: bool,
    config_dir: str | None,
    config_name: str,
    command: Sequence[str],
) -> int:
    """Check the command, run it, and return its exit status."""
    try:
        with compose.hydra_on(config_dir) as hydra:
            prepared = prepare(hydra, words, multirun=multirun, config_name=config_name)
            sweep = Sweep(_settings(prepared, command))
            with activate(sweep):
                return _run(hydra, sweep, prepared, multirun=multirun, config_name=config_name)
    except ConfigError as error:
        return complain(error.problems)
    except InfrastructureError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1


def hydra_alone(words: Sequence[str]) -> None:
    """Let Hydra answer flags that run nothing."""
    sys.argv = ["autotune", *words]
    base = {"version_base": None} if compose.IS_HYDRA_1_3 else {}
    hydra_module.main(**base, config_path=str(conf_dir()), config_name=compose.CONFIG_NAME)(_task)()


def _settings(prepared: Prepared, command: Sequence[str]) -> Settings:
    name = prepared.config.sweep.name or unused_name(datetime.now().astimezone(), OUTPUTS)
    return Settings(
        name=name,
        folder=OUTPUTS / name,
        config=prepared.config,
        inventory=prepared.inventory,
        command=tuple(command),
        varied=prepared.varied,
        env=dict(os.environ),
        candidates=prepared.candidates,
        earlier=tuple(newest_journals(OUTPUTS)),
    )


def _run(hydra: Hydra, sweep: Sweep, prepared: Prepared, *, multirun: bool, config_name: str) -> int:
    out = console()
    view = create_view(out)
    store = Store(
        uri=prepared.config.tracking.uri,
        experiment=prepared.config.tracking.experiment,
        folder=sweep.settings.folder,
    )
    mirror = MlflowMirror(store, journal=sweep.journal.path, tell=view.say, stop=sweep.stop)
    sweep.journal.follow(mirror.follow)
    sweep.journal.follow(view.follow)
    sweep.tell = view.say
    mirror.start()
    view.start()
    overrides = [*prepared.overrides, f"++sweep.name={sweep.settings.name}"]
    launch = hydra.multirun if multirun else hydra.run
    try:
        with ending_in_order(sweep.stop, view.say):
            for note in sweep.settings.inventory.notes:
                view.say(note)
            for trial in sweep.state.trials.values():
                if trial.backs_off:  # of an earlier process; it is not queued again
                    view.follow(trial.queued)
            sweep.begin()
            launch(config_name=config_name, task_function=_task, overrides=overrides)
            if sweep.broken is not None:
                raise sweep.broken
            _await_remains(sweep)
            rankings = _finish(sweep)
            mirror.close()
    except InfrastructureError as error:
        print(f"error: {error}\n{_resume_advice(sweep)}", file=sys.stderr)  # noqa: T201
        return 1
    finally:
        view.stop()
        sweep.close()
    render(out, sweep.state, rankings, folder=sweep.settings.folder, store=_shown(store, mirror.problem))
    if sweep.stop.is_set():
        print(f"interrupted\n{_resume_advice(sweep)}", file=sys.stderr)  # noqa: T201
        return 130
    return 0 if any(ranking.winner for ranking in rankings) else 1


def _task(config: DictConfig) -> float | None:
    """One trial in the ordinary way: a single run, or a job of Hydra's basic launcher."""
    from hydra_plugins.autotune_launchers._scheduler import Scheduler

    sweep = active()
    scheduler = Scheduler(sweep)
    try:
        with scheduler.guarded():
            [admission] = scheduler.submit_all([compose.candidate_of(config, HydraConfig.get())])
            while scheduler.wait_any() is not None:
                pass
    except InfrastructureError as error:
        sweep.broken = error  # Hydra prints what a job raises; this is told once, by us
        return None
    number = admission.job.number if admission.job is not None else admission.trial
    return None if number is None else sweep.trial(number).score


def _await_remains(sweep: Sweep) -> None:
    """Give what could not be ended a little time; tell of what is still there, and what ends it."""
    deadline = time.monotonic() + REMAINS_S
    while sweep.pool.remains() and time.monotonic() < deadline and not sweep.stop.wait(POLL_S):
        pass
    left = sweep.pool.remains()
    if left:
        ends = shlex.join(["python", "-m", "autotune", "reap", "--yes", str(sweep.settings.folder)])
        sweep.tell(f"still there: {', '.join(left)}; once that is possible: {ends}")


def _finish(sweep: Sweep) -> list[Ranking]:
    """Rank what was measured, and write the end of the sweep."""
    sweep.end_what_backs_off()
    trials = [
        (trial.number, trial.queued, trial.finished)
        for trial in sweep.state.latest()
        if trial.finished is not None
    ]
    rankings = rank(trials, Direction(sweep.settings.config.objective.direction.value))
    sweep.journal.write(
        "sweep_finished",
        status="interrupted" if sweep.stop.is_set() else "finished",
        winners=[ranking.winner.trial for ranking in rankings if ranking.winner],
        trials=len(trials),
        rejected=len(sweep.state.rejected),
        duplicates=len(sweep.state.duplicates),
    )
    return rankings


def _resume_advice(sweep: Sweep) -> str:
    """How to go on after an interruption."""
    again = resume_command(sweep.settings.command, name=sweep.settings.name)
    return f"everything started was stopped; to go on:\n  {again}"


def _shown(store: Store, problem: str | None) -> str:
    if problem is not None:
        return f"NOT WRITTEN: {problem}"
    if store.local:
        return f"python -m autotune ui   (mlruns/mlflow.db, experiment {store.experiment})"
    return f"{store.uri}, experiment {store.experiment}"
