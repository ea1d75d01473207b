"""Adding a runtime: a module (here a class), its line in the registry, a YAML file, a flag list. No more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from autotune.cli import main
from autotune.plan.runtimes import RUNTIMES, flags
from autotune.plan.runtimes.mapping import Rule, choose, map_all, to_argument
from autotune.plan.runtimes.protocol import KvBudget, Layout, Mapped, Runtime, Setup, Sharding
from autotune.records import Readiness
from autotune.schema import ParallelConfig
from tests.contracts.runtime import RuntimeContract

TABLE: dict[str, Rule] = {
    "parallel.tp": to_argument("ranks"),
    "quant.kvcache_dtype": choose({"fp8": {"cache": "f8"}}),
    "serving.max_running_requests": to_argument("slots"),
}
FLAGS = [
    {"names": ["--ranks"], "takes": "value", "choices": None, "type": "int"},
    {"names": ["--cache"], "takes": "value", "choices": ["f16", "f8"], "type": None},
    {"names": ["--slots"], "takes": "value", "choices": None, "type": "int"},
    {"names": ["--share"], "takes": "value", "choices": None, "type": "float"},
]
PRESET = "# python -m autotune runtime=toy\nkind: toy\nversion: '1.0'\nimage: toy:1.0\nargs: {}\nenv: {}\n"


class Toy:
    """An engine that knows tensor parallelism, an FP8 cache and a number of slots."""

    readiness = Readiness(path="/up")
    layout_args: Mapping[str, str] = {"ranks": "set parallel.tp"}

    def layout(self, parallel: ParallelConfig) -> Layout:
        """One rank on each GPU; stages are refused by the table."""
        tp, pp = parallel.tp, parallel.pp
        sharding = Sharding(layers=pp, attention=tp, dense=tp, experts=tp, kv_heads=tp)
        return Layout(gpus=tp * pp, world_size=tp * pp, sharding=sharding)

    def mapped(self, setup: Setup) -> Mapped:
        """By the table alone."""
        return map_all(setup, TABLE)

    def command(self, model: str) -> tuple[str, ...]:
        """`toy MODEL`."""
        return ("toy", model)

    def kv_budget(self, args: Mapping[str, Any], *, gpu_gib: float, weights_gib: float) -> KvBudget:
        """A share of the whole memory, half without one."""
        share = float(args.get("share") or 0.5)
        return KvBudget(gib=share * gpu_gib - weights_gib, arithmetic=f"{share:g} × {gpu_gib:.1f}")


@pytest.fixture
def presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The toy is registered; its preset lies in a folder of the user's."""
    flags.load_flags.cache_clear()
    lists = tmp_path / "flag_lists"
    lists.mkdir()
    content = {"engine": "toy", "version": "1.0", "how": "by hand", "note": "", "flags": FLAGS}
    (lists / "toy-1.0.json").write_text(json.dumps(content))
    monkeypatch.setattr(flags, "FLAG_LISTS", lists)
    monkeypatch.setitem(RUNTIMES, "toy", Toy())
    (tmp_path / "mine" / "runtime").mkdir(parents=True)
    (tmp_path / "mine" / "runtime" / "toy.yaml").write_text(PRESET)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "mine"
    flags.load_flags.cache_clear()


@pytest.mark.usefixtures("presets")
class TestToyRuntime(RuntimeContract):
    """It passes the suite of every runtime."""

    engine = "toy"

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The toy."""
        return Toy()


def test_every_preset_is_planned_for_it_or_refused(presets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Mapped, refused where it has no such setting, checked against its flags and the GPU's memory."""
    words = ["--config-dir", str(presets), "runtime=toy", "gpus=h100_8x", "parallel=tp2"]
    more = ["quant=default,kv-cache-fp8,dynamic-fp8", "runtime.args.share=0.4,much"]
    assert main(["plan", "--json", "-m", *words, *more]) == 0
    candidates = json.loads(capsys.readouterr().out)["candidates"]
    argv = ["toy", "meta-llama/Llama-3.1-8B-Instruct", "--host", "0.0.0.0", "--port", "{port}"]  # noqa: S104  (inside a container)
    assert candidates[0]["argv"] == [*argv, "--ranks", "2", "--share", "0.4"]
    assert candidates[2]["argv"] == [*argv, "--cache", "f8", "--ranks", "2", "--share", "0.4"]
    assert [c["status"] for c in candidates] == [
        "valid",
        "rejected",
        "valid",
        "rejected",
        "rejected",
        "rejected",
    ]
    assert candidates[1]["reasons"] == ["runtime.args.share=much: expected a number"]
    assert any("quant.gemm_dtype=fp8" in reason for reason in candidates[4]["reasons"])
    assert candidates[0]["memory"]["fits"] is True
    assert candidates[0]["gpus"] == 2
