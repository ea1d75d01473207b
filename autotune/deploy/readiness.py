"""Until an engine can serve: its end, a cancellation, the readiness path and the time-out at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from autotune import failures
from autotune.deploy import probe
from autotune.deploy.phases import phases_of
from autotune.deploy.protocol import Order, Ready
from autotune.errors import Interrupted, TrialError

POLL_S = 0.05  # between two looks at an engine that starts; how late its readiness is seen at most
LOG = "engine.log"


def await_ready(
    order: Order,
    url: str,
    *,
    death: Callable[[], TrialError | None],
    began_s: float,
) -> Ready:
    """Return what is known of the engine at `url` once it can serve; it was started at `began_s` (monotonic).

    Raises: TrialError if `death` tells of one or it is not ready in time, Interrupted if it was cancelled.
    """
    while probe.status(url, order.plan.readiness.path, probe.TIMEOUT_S) != 200:
        _check(order, death=death, began_s=began_s)
        order.cancelled.wait(POLL_S)
    startup_s = time.monotonic() - began_s
    died = death()
    if died is not None:
        raise died
    version, simulated = probe.version(url, probe.TIMEOUT_S)
    return Ready(
        endpoint=probe.endpoint(url, order.plan.served_model),
        startup_s=startup_s,
        engine_version=version,
        simulated=simulated,
        notes=_version_notes(version, order.plan.runtime_version),
        phases=phases_of(read_log(order), order.plan.runtime),
    )


def new_log(folder: Path) -> Path:
    """Return the place for the log of an engine about to be started; nothing is there: a cause is its own.

    The log of an earlier attempt at a trial has been moved away by then (`attempts.clear_for`).
    """
    log = folder / LOG
    log.unlink(missing_ok=True)
    return log


def read_log(order: Order) -> str:
    """Return what the engine has said so far, with its lines counted as an editor does."""
    file = order.folder / LOG
    if not file.exists():
        return ""
    with file.open(encoding="utf-8", errors="replace", newline="\n") as log:
        return log.read()  # no universal newlines: a progress bar's carriage returns are no lines


def _check(order: Order, *, death: Callable[[], TrialError | None], began_s: float) -> None:
    limit_s = order.config.deploy.startup_timeout_s
    if order.cancelled.is_set():
        raise Interrupted
    died = death()
    if died is not None:
        raise died
    if time.monotonic() - began_s > limit_s:
        raise TrialError(
            "startup_timeout",
            f"the engine was not ready within {limit_s:g} s",
            evidence=failures.last_line(read_log(order)),
            advice="raise deploy.startup_timeout_s if the engine was still loading",
        )


def _version_notes(told: str | None, planned: str) -> tuple[str, ...]:
    if told is None:
        return ("the engine does not tell its version",)
    if told.split("+")[0] != planned:
        return (f"the engine says version {told}; the plan was made for {planned}",)
    return ()
