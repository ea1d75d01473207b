"""What is said before anything starts, and what becomes of a trial whose client fails; as a user runs it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.shop import Shop, until

CRASHES = "#!/bin/sh\necho half way\necho 'its own reason' >&2\nexit 3\n"
HANGS = "#!/bin/sh\nsleep 600 &\necho begun\nwait\n"


def _venv(shop: Shop, program: str, script: str = CRASHES) -> str:
    """An environment of a user's own with a program of that name."""
    bin_ = shop.folder / "venv" / "bin"
    bin_.mkdir(parents=True)
    for name in ("python", program):
        (bin_ / name).write_text(script)
        (bin_ / name).chmod(0o755)
    return f"benchmark.venv={bin_.parent}"


def test_a_client_that_is_not_installed_is_said_to_be(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit status 2, how to get it, and nothing was started."""
    monkeypatch.setenv("AUTOTUNE_CACHE", str(shop.folder / "cache"))
    status, _out, err = shop.run(shop.words("benchmark=aiperf", "sweep.name=s"))
    assert status == 2
    assert "python -m autotune doctor --install aiperf" in " ".join(err.split())
    assert shop.events("s") == []


@pytest.mark.parametrize(
    ("kind", "program", "words", "said"),
    [
        ("aiperf", "aiperf", ["workload.ramp_s=2"], "workload.ramp_s=2: aiperf has no such ramp"),
        ("aiperf", "aiperf", ["workload.seconds_per_load=5"], "workload.seconds_per_load=5"),
        ("aiperf", "aiperf", ["benchmark.processes=2"], "benchmark.processes=2: only benchmark=native"),
        ("vllm_bench", "vllm", ["workload.turns=3"], "workload.turns: vllm_bench sends single requests"),
        (
            "guidellm",
            "guidellm",
            ["workload.mode=rate"],
            "workload.mode=rate: guidellm has only concurrency",
        ),
        ("aiperf", "aiperf", ["workload.loads=[1.5]"], "workload.loads=1.5"),
    ],
)
def test_what_a_client_cannot_offer_is_refused(
    kind: str, program: str, words: list[str], said: str, shop: Shop
) -> None:
    """With the reason, before anything starts; nothing is dropped in silence."""
    asked = shop.words(f"benchmark={kind}", "sweep.name=s")
    status, _out, err = shop.run([*asked, _venv(shop, program), *words])
    assert (status, said in " ".join(err.split())) == (2, True), err
    assert shop.events("s") == []


def test_more_options_are_for_clients_of_others(shop: Shop) -> None:
    """The native one has no command."""
    status, _out, err = shop.run(shop.words("benchmark=native", "+benchmark.args.x=1", "sweep.name=s"))
    assert (status, "benchmark.args" in err) == (2, True), err


def test_a_client_that_crashes_fails_its_trial(shop: Shop) -> None:
    """With its last words; the engine is ended, and what the client said is kept."""
    words = [*shop.words("benchmark=aiperf", "sweep.name=s"), _venv(shop, "aiperf")]
    status, _out, _err = shop.run(words)
    assert status == 1
    [end] = shop.finished("s")
    assert (end["status"], end["failure"]["kind"]) == ("failed", "benchmark_failed")
    assert "aiperf ended with status 3" in end["failure"]["message"]
    assert "its own reason" in end["failure"]["evidence"]
    [log] = (shop.folder / "outputs/s").rglob("client.log")
    assert log.read_text() == "half way\nits own reason\n"
    assert (shop.left_over(), shop.labelled(), shop.scratch()) == ([], [], [])


def test_ctrl_c_ends_a_client_half_way(shop: Shop) -> None:
    """And all that it started; the trial is interrupted and no number is left."""
    words = [*shop.words("benchmark=aiperf", "sweep.name=s"), _venv(shop, "aiperf", HANGS)]
    with shop.start(words) as process:
        until(lambda: any(log.read_text() for log in _logs(shop)), 60)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    [end] = shop.finished("s")
    assert (end["status"], end["by_load"]) == ("interrupted", [])
    assert (shop.left_over(), shop.labelled(), shop.scratch()) == ([], [], [])


def _logs(shop: Shop) -> list[Path]:
    return list((shop.folder / "outputs").rglob("client.log"))
