"""Real sweeps for the scheduler: replayed candidates on declared GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from autotune import compose
from autotune.active import activate
from autotune.prepare import prepare
from autotune.sweep import Settings, Sweep

TABLE = (
    "parallel.tp,workload.concurrency,startup_s,duration_s,total_tokens_per_s\n"
    "1,1,0.9,0.0,1\n2,1,0.1,0.0,1\n4,1,0.5,0.0,1\n8,1,0.3,0.0,1\n"
)


@pytest.fixture
def sweep_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Sweep]]:
    """Opens a sweep of four replayed candidates on 8 GPUs, in real time, with more overrides.

    The one that was open before is left, as by a controller that dies.
    """
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "t.csv"
    table.write_text(TABLE)
    words = [f"deploy.table={table}", "deploy.time_scale=1", "gpus=h100_8x", "workload=demo"]
    words += ["parallel=tp1", "parallel.tp=8,1,2,4", "workload.loads=[1]"]
    with ExitStack() as closing:

        def opened(*more: str, deploy: str = "replay", name: str = "s") -> Sweep:
            closing.close()
            with compose.hydra_on(None) as hydra:
                prepared = prepare(hydra, [f"deploy={deploy}", *words, *more], multirun=True)
            settings = Settings(
                name=name,
                folder=tmp_path / "outputs" / name,
                config=prepared.config,
                inventory=prepared.inventory,
                command=(),
                varied=prepared.varied,
                env={},
                candidates=prepared.candidates,
            )
            sweep = Sweep(settings)
            closing.callback(sweep.close)
            closing.enter_context(activate(sweep))
            sweep.begin()
            return sweep

        yield opened


@pytest.fixture
def sweep(sweep_of: Callable[..., Sweep]) -> Sweep:
    """An open sweep of four replayed candidates."""
    return sweep_of()
