"""`python -m autotune doctor --install CLIENT`: an environment of its own for a load client of others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping

from autotune.benchmark.environments import CLIENTS, NATIVE, VLLM_BENCH, ClientPackage, folder_of, is_whole
from autotune.cli import complain
from autotune.doctor.environment import Making
from autotune.errors import InfrastructureError, Interrupted
from autotune.report.live import PlainView
from autotune.report.render import console
from autotune.signals import ending_in_order

WITHOUT = {
    NATIVE: "native is part of autotune: there is nothing to install",
    VLLM_BENCH: "vllm_bench is a command of vLLM's own program and comes with the engine: set benchmark.venv "
    "to the environment that vLLM is in",
}


def run_install(kind: str, *, clients: Mapping[str, ClientPackage] = CLIENTS) -> int:
    """Ensure that a load client is installed, and return the exit status."""
    if kind not in clients:
        known = ", ".join(clients)
        return complain([WITHOUT.get(kind, f"--install {kind or 'without a name'}: must be one of {known}")])
    package = clients[kind]
    venv = folder_of(package)
    say = PlainView(console()).say
    if is_whole(venv, package):
        say(f"{package.requirement} is installed already in {venv}: nothing to do (benchmark={kind})")
        return 0
    say(
        f"{package.requirement} into {venv}: about {package.size_gib:g} GiB, {package.minutes} minutes "
        "where the network is fast"
    )
    return _make(package, Making(package=package, stop=threading.Event(), say=say))


def _make(package: ClientPackage, making: Making) -> int:
    making.say(f"what pip says is in {making.log}")
    try:
        with ending_in_order(making.stop, making.say, "stopping: what is half installed is removed"):
            made = making.run()
    except InfrastructureError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except Interrupted:
        print(f"interrupted: nothing of {package.requirement} is left installed", file=sys.stderr)  # noqa: T201
        return 130
    if not made:
        making.say(f"{package.requirement} was installed meanwhile in {making.venv}")
        return 0
    ready = f"{package.requirement} is ready in {making.venv} ({making.cost()})"
    making.say(f"{ready}: use it with benchmark={package.name}")
    return 0
