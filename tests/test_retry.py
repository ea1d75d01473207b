"""Whole sweeps whose engines fail by chance: what a user sees, and what the store holds."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from typing import Any

from tests.shop import Shop, until


def words(shop: Shop, *more: str) -> list[str]:
    """A sweep of two candidates, of which the engine that starts first finds its port taken."""
    once = f"runtime.env.STANDIN_ONCE={shop.folder / 'once'}"
    return [*shop.words("-m", "sweep.name=s", "runtime.args.max_num_seqs=1,32", mode="once"), once, *more]


def rows(shop: Shop, query: str) -> list[tuple[Any, ...]]:
    """What the store answers."""
    with closing(sqlite3.connect(shop.folder / "mlruns" / "mlflow.db")) as store:
        return store.execute(query).fetchall()


def test_a_port_that_was_taken_is_no_failure(shop: Shop) -> None:
    """The trial is measured at its second attempt; one run tells of both, and no file mixes them."""
    status, out, err = shop.run(words(shop, "retry.backoff_s=0.1"))
    assert (status, err) == (0, "")
    assert [end["status"] for end in shop.finished("s")] == ["measured", "measured"]
    [failed] = [event for event in shop.events("s") if event["event"] == "attempt_failed"]
    number = failed["trial"]
    assert "attempt 1 failed, port_in_use: " in out
    assert "again in 0.1 s" in out
    assert ", attempt 2" in out
    assert f"note: trial {number}: attempt 2; attempt 1 failed: port_in_use: " in out
    folder = shop.folder / "outputs" / "s" / f"trial-{number}"
    assert "Address already in use" in (folder / "engine.attempt-1.log").read_text()
    assert failed["failure"]["evidence"].startswith("engine.attempt-1.log:1: ")
    assert "Address already in use" not in (folder / "engine.log").read_text()
    assert len(json.loads((folder / "measurements.json").read_text())) == 2
    assert shop.left_over() == []
    assert shop.tags("autotune.status") == ["measured", "measured"]
    assert shop.tags("autotune.trial") == ["0", "1"]
    begun = [event for event in shop.events("s") if event["event"] == "trial_started"]
    assert len(begun) == 3
    [artifact] = shop.folder.glob("mlruns/artifacts/*/artifacts/engine.attempt-1.log")
    run = artifact.parts[-3]
    [(start_ms,)] = rows(shop, f"select start_time from runs where run_uuid = '{run}'")  # noqa: S608
    first = next(event["time"] for event in begun if event["trial"] == number)
    assert int(start_ms) % 60_000 == round(float(first[17:-1]) * 1000)


def test_the_run_says_where_the_last_attempt_was_made(shop: Shop) -> None:
    """Its GPUs are those of the attempt that was measured."""
    assert shop.run(words(shop, "retry.backoff_s=0"))[0] == 0
    last = {e["trial"]: e["lease"]["indices"] for e in shop.events("s") if e["event"] == "trial_started"}
    ids = "select t.value, p.value from tags t join params p on t.run_uuid = p.run_uuid where t.key = "
    found = rows(shop, f"{ids} 'autotune.trial' and p.key = 'gpu.device_ids'")
    assert {int(trial): devices for trial, devices in found} == {
        n: ",".join(map(str, g)) for n, g in last.items()
    }


def test_attempts_can_be_forbidden(shop: Shop) -> None:
    """`retry.attempts=1`: the first failure is the last."""
    status, _out, _err = shop.run(words(shop, "retry.attempts=1"))
    assert status == 0
    assert sorted(end["status"] for end in shop.finished("s")) == ["failed", "measured"]


def test_an_interruption_while_one_backs_off(shop: Shop) -> None:
    """Nobody waits for it; its run has ended, and the resumed sweep measures it."""
    command = words(shop, "retry.backoff_s=60")
    with shop.start(command) as process:
        until(lambda: shop.seen("s", "attempt_failed") and len(shop.finished("s")) == 1)
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "sweep.name=s sweep.resume=true" in err
    assert shop.tags("autotune.status") == ["interrupted", "measured"]
    assert shop.run([*command, "sweep.resume=true"])[0] == 0
    assert shop.tags("autotune.status") == ["interrupted", "measured", "measured"]


def test_a_kill_while_one_backs_off(shop: Shop) -> None:
    """The resumed sweep makes the second attempt at the same trial, in the same run."""
    command = words(shop, "retry.backoff_s=60")
    with shop.start(command) as process:
        until(lambda: shop.seen("s", "attempt_failed") and len(shop.finished("s")) == 1)
        process.kill()
        process.communicate(timeout=60)
    code, out, _ = shop.run([*command, "sweep.resume=true"])
    assert code == 0
    assert "starting on GPU 0, attempt 2" in out
    assert [(end["trial"], end["status"]) for end in shop.finished("s")] == [(0, "measured"), (1, "measured")]
    assert shop.tags("autotune.status") == ["measured", "measured"]
