"""What an engine or a result needs beside GPUs: programs, Docker, disk, the MLflow store."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from hydra._internal.hydra import Hydra

from autotune import compose, daemon
from autotune.deploy import probe
from autotune.deploy.program import find_program, program_problems
from autotune.doctor.finding import Finding, State
from autotune.foreign import COMPOSING, in_words
from autotune.places import cache_dir, local_store
from autotune.plan.runtimes import RUNTIMES
from autotune.prepare import MIN_FREE_MIB
from autotune.schema import Config

DOCKER_TIMEOUT_S = 3
STORE_TIMEOUT_S = 3.0


def engine_findings(hydra: Hydra, config: Config, config_name: str) -> list[Finding]:
    """Return for each runtime preset whether its engine is found for `deploy=process`; none is started."""
    found = []
    for name in compose.presets(hydra)["runtime"]:
        try:
            chosen = compose.compose(hydra, [f"runtime={name}"], config_name=config_name)["runtime"]
            kind, version = str(chosen["kind"]), str(chosen["version"])
        except COMPOSING as error:
            found.append(Finding(about=f"runtime={name}", text=in_words(error), state=State.MISSING))
            continue
        is_asked = kind == config.runtime.kind  # its version may be the command's, not the preset's
        runtime = config.runtime if is_asked else replace(config.runtime, kind=kind, version=version)
        found.append(_engine(name, replace(config, runtime=runtime)))
    return found


def _engine(name: str, config: Config) -> Finding:
    about = f"runtime={name}"
    if config.runtime.kind not in RUNTIMES:
        text = f"runtime.kind={config.runtime.kind}: must be one of {', '.join(RUNTIMES)}"
        return Finding(about=about, text=text, state=State.MISSING)
    program = RUNTIMES[config.runtime.kind].command("model")[0]
    found = find_program(program, config)
    if found is None:
        [text] = program_problems(program, config)
        return Finding(about=about, text=text.removeprefix(f"{about}: "), state=State.MISSING)
    prepared = found.path.is_relative_to(cache_dir())
    how = "prepared for it" if prepared else "not asked for its version: doctor starts nothing"
    return Finding(about=about, text=f"{config.runtime.version} would run {found.path} ({how})")


def docker_finding() -> Finding:
    """Return whether Docker's daemon answers."""
    from docker.errors import DockerException

    try:
        with daemon.client(DOCKER_TIMEOUT_S) as client:
            version = client.api.version(api_version=False)["Version"]
    except (DockerException, OSError) as error:  # those of requests, which docker lets through, are OSErrors
        text, fix = daemon.trouble(error)
        return Finding(about="docker", text=text, state=State.MISSING, fix=fix)
    return Finding(about="docker", text=f"a daemon answers at {daemon.where()}, version {version}")


def place_findings(config: Config) -> list[Finding]:
    """Return where results go, and the MLflow store."""
    found = [_disk("outputs/", Path("outputs"))]
    if config.tracking.uri is None and config.tracking.kind == "local":
        found.append(_disk("mlruns/", Path("mlruns")))
    return [*found, _store(config)]


def _store(config: Config) -> Finding:
    about, uri = "MLflow store", config.tracking.uri
    if uri is None and config.tracking.kind == "local":
        path = local_store() / "mlflow.db"
        if not path.exists():
            return Finding(about=about, text=f"{path} is made by the first run")
        return _opened(path)
    if uri is None:
        text, fix = "tracking=server without its address", "give tracking.uri=URI, or choose tracking=local"
        return Finding(about=about, text=text, state=State.MISSING, fix=fix)
    if not uri.startswith(("http://", "https://")):
        return Finding(about=about, text=f"{uri} (not opened)", state=State.NOTE)
    if probe.status(uri, "/health", STORE_TIMEOUT_S) is None:
        fix = "start it, or choose tracking=local"
        return Finding(about=about, text=f"{uri} does not answer", state=State.MISSING, fix=fix)
    return Finding(about=about, text=f"{uri} answers")


def _opened(path: Path) -> Finding:
    """Whether the local store is a database of MLflow's; it is only read."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as store:
            store.execute("select version_num from alembic_version").fetchone()
    except sqlite3.Error as error:
        fix = "move it away: the next run makes a new one"
        text = f"{path} cannot be read ({error})"
        return Finding(about="MLflow store", text=text, state=State.MISSING, fix=fix)
    return Finding(about="MLflow store", text=f"{path} is there")


def _disk(about: str, place: Path) -> Finding:
    there = next(path for path in (place, Path()) if path.exists())
    free = shutil.disk_usage(there).free
    text = f"{place.resolve()}: {free / 2**30:.1f} GiB free"
    if not os.access(there, os.W_OK):
        return Finding(
            about=about,
            text=f"{place.resolve()} cannot be written",
            state=State.MISSING,
            fix="call autotune in a folder that can",
        )
    if free < MIN_FREE_MIB * 2**20:
        return Finding(about=about, text=text, state=State.MISSING, fix="free some, or use another folder")
    return Finding(about=about, text=text)
