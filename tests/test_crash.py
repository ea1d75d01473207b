"""Controllers and engines that are killed: nothing is lost, nothing doubled, nothing left."""

from __future__ import annotations

import collections
import os
import pty
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.shop import STANDINS, Shop, runs, until

PAIR = ("-m", "sweep.name=s", "runtime.args.max_num_seqs=1,2", "launcher.max_parallel=1")
LABELS = ["max_num_seqs=1", "max_num_seqs=2"]
EVENTS = 15  # of a sweep of two, without progress and its last
SLOW = ("workload.requests_per_load=2000", "runtime.env.STANDIN_PAUSE=0.05")
RESUMED = "sweep.resume=true"


@contextmanager
def killed(shop: Shop, words: list[str], event: str) -> Iterator[None]:
    """A sweep whose controller was killed once an event was in its journal."""
    with shop.start(words) as process:
        until(lambda: shop.seen("s", event))
        process.kill()
        process.communicate(timeout=60)
    yield
    for pid in shop.labelled():  # a test that failed leaves nothing
        os.kill(pid, signal.SIGKILL)


def check_results(shop: Shop, labels: list[str]) -> None:
    """Every candidate is measured exactly once, on record and in the store, and nothing is left."""
    names = {e["trial"]: e["label"] for e in shop.events("s") if e["event"] == "trial_queued"}
    measured = [names[end["trial"]] for end in shop.finished("s") if end["status"] == "measured"]
    assert sorted(measured) == labels
    assert collections.Counter(shop.tags("autotune.status"))["measured"] == len(labels)
    assert "running" not in shop.tags("autotune.status")
    assert shop.tags("autotune.best").count("true") == 1
    assert (shop.labelled(), shop.left_over(), shop.scratch()) == ([], [], [])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_controller_loses_and_doubles_nothing(seed: int, shop: Shop) -> None:
    """Killed after a random number of events, the sweep ends with what an undisturbed one ends with."""
    events = random.Random(seed).randint(1, EVENTS)  # noqa: S311  (moments, not secrets)
    words = shop.words(*PAIR)
    with shop.start(words) as process:
        until(lambda: len([e for e in shop.events("s") if e["event"] != "benchmark_progress"]) >= events)
        process.kill()
        process.communicate(timeout=60)
    before = {e["trial"]: e for e in shop.finished("s")}
    status, out, err = shop.run([*words, RESUMED])
    assert (status, err) == (0, "")
    assert "winner" in out
    check_results(shop, LABELS)
    assert before.items() <= {e["trial"]: e for e in shop.finished("s")}.items()


def test_a_resume_ends_what_ignores_sigterm_and_nothing_of_anyone_else(shop: Shop) -> None:
    """The stubborn engine and its child go; the same program with the same words, not ours, stays."""
    words = [*shop.words(*PAIR, mode="stubborn"), "deploy.stop_timeout_s=0.2"]
    with killed(shop, [*words, *SLOW], "server_ready"):
        left = shop.left_over()
        [queued] = [e for e in shop.events("s") if e["event"] == "trial_queued" and e["trial"] == 0]
        argv = [str(STANDINS / "vllm"), *queued["plan"]["argv"][1:]]
        foreign = {**os.environ, "STANDIN": "stubborn", "STANDIN_PIDS": os.devnull}
        with subprocess.Popen(
            [sys.executable, *(word.replace("{port}", "0") for word in argv)],
            env=foreign,
            start_new_session=True,
        ) as stranger:
            status, out, _err = shop.run([*words, RESUMED])
            survived = stranger.poll() is None
            os.killpg(stranger.pid, signal.SIGKILL)
        assert len(left) == 2
        assert status == 0
        assert survived
        assert re.search(
            r"ended what an earlier process left: \d processes and 1 temporary folder of trial-0", out
        )
        check_results(shop, LABELS)


def test_reap_lists_what_is_left_and_ends_it_when_told(shop: Shop) -> None:
    """Engine, client and temporary files; the journal is left to the resume."""
    words = shop.words(*PAIR)
    with killed(shop, [*words, *SLOW], "benchmark_progress"):
        left, journal = shop.labelled(), shop.events("s")
        assert str(shop.folder / "outputs" / "s" / "trial-0") in shop.run(["reap"])[1]
        status, out, err = shop.run(["reap", "outputs/s"])
        assert (status, err) == (0, "")
        assert str(shop.folder / "outputs" / "s" / "trial-0") in out
        listed = {int(pid) for pid in re.findall(r"process (\d+), since 20", out)}
        assert set(shop.left_over()) <= listed <= set(left)  # the client may have ended: its pipe is gone
        assert str(shop.temp) in out
        assert "python -m autotune reap --yes outputs/s" in out
        assert shop.left_over()
        status, out, err = shop.run(["reap", "--yes", "outputs/s"])
        assert (status, err) == (0, "")
        assert re.search(r"ended: \d process(es)? and 1 temporary folder of trial-0", out)
        assert (shop.labelled(), shop.scratch()) == ([], [])
        assert shop.events("s") == journal
        assert "nothing is left" in shop.run(["reap", "--yes", "outputs/s"])[1]
        assert shop.run([*words, RESUMED])[0] == 0
        check_results(shop, LABELS)


def test_reap_leaves_a_living_sweep_alone(shop: Shop) -> None:
    """Its lock is held; and were that gone with the folder, its controller runs."""
    with shop.start([*shop.words(*PAIR), *SLOW]) as process:
        until(lambda: shop.seen("s", "server_ready"))
        engine = shop.left_over()
        first = shop.run(["reap", "--yes", "outputs/s"])
        (shop.folder / "outputs" / "s" / "lock").unlink()
        second = shop.run(["reap", "--yes", "outputs/s"])
        still = shop.left_over()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert (first, second) == ((0, "nothing is left of outputs/s\n", ""),) * 2
    assert len(engine) == 1
    assert still == engine
    assert shop.labelled() == []


@pytest.mark.parametrize(
    ("key", "values", "moment"),
    [
        pytest.param("STANDIN", "hang,ok", "server_started", id="while it starts"),
        pytest.param("STANDIN_PAUSE", "0.5,0.002", "benchmark_progress", id="while it is measured"),
    ],
)
def test_a_killed_engine_is_a_failed_trial(key: str, values: str, moment: str, shop: Shop) -> None:
    """The next one is measured, and nothing is left."""
    words = shop.words("-m", "sweep.name=s", f"runtime.env.{key}={values}", "launcher.max_parallel=1")
    if key == "STANDIN":
        words.remove("runtime.env.STANDIN=ok")
    with shop.start(words) as process:
        until(lambda: shop.seen("s", moment))
        until(lambda: bool(shop.pids.read_text()))
        os.kill(int(shop.pids.read_text().split()[0]), signal.SIGKILL)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert [end["status"] for end in shop.finished("s")] == ["failed", "measured"]
    assert shop.finished("s")[0]["failure"]["kind"] == "engine_died"
    assert (shop.labelled(), shop.left_over(), shop.scratch()) == ([], [], [])


def test_a_fixed_port_that_a_dead_controller_holds_is_freed(shop: Shop) -> None:
    """The same command goes on, though its port is taken when it is checked."""
    from autotune.deploy.probe import free_port

    words = [*shop.words(*PAIR), f"deploy.port={free_port()}"]
    with killed(shop, [*words, *SLOW], "server_ready"):
        assert shop.run([*words, RESUMED])[0] == 0
        check_results(shop, LABELS)


def test_a_closed_terminal_ends_the_sweep_in_order(shop: Shop) -> None:
    """What runs is interrupted, not failed, though nothing can be printed any more; the resume goes on."""
    words = shop.words(*PAIR)
    ours, theirs = pty.openpty()
    argv = ["setsid", "--ctty", sys.executable, "-m", "autotune", *words, *SLOW]
    with subprocess.Popen(
        argv, cwd=shop.folder, env=shop.env, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        until(lambda: shop.seen("s", "server_ready"))
        os.close(ours)
        process.wait(timeout=60)
    assert [end["status"] for end in shop.finished("s")] == ["interrupted"]
    assert shop.seen("s", "sweep_finished")
    assert shop.tags("autotune.status") == ["interrupted"]
    assert (shop.labelled(), shop.left_over(), shop.scratch()) == ([], [], [])
    assert shop.run([*words, RESUMED])[0] == 0
    check_results(shop, LABELS)


def test_the_leader_alone_is_enough_to_find_an_engine(shop: Shop) -> None:
    """A process whose environment was cleared is found by the session that the journal names."""
    with killed(shop, shop.words(*PAIR, mode="cleared"), "server_started"):
        until(lambda: bool(shop.pids.read_text()))
        [pid] = shop.left_over()
        until(lambda: pid not in shop.labelled())
        status, out, _err = shop.run(["reap", "--yes", "outputs/s"])
        assert status == 0
        assert f"process {pid}, since" in out
        assert not runs(pid)
