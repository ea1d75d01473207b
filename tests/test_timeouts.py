"""An engine that hangs, or takes too long, costs its own trial and nothing else; on the stand-in program."""

from __future__ import annotations

import re

from tests.shop import Shop


def test_an_engine_that_hangs_while_measured_is_ended_and_the_sweep_goes_on(shop: Shop) -> None:
    """It answers five requests and stops in the middle of the next ones; they would wait for 300 s."""
    words = shop.words("-m", "sweep.name=s", "runtime.env.STANDIN=stalls,ok", "launcher.max_parallel=1")
    words.remove("runtime.env.STANDIN=ok")
    status, out, err = shop.run([*words, "measure.stall_timeout_s=4"])
    assert (status, err) == (0, "")
    hung, good = shop.finished("s")
    assert (hung["status"], good["status"]) == ("failed", "measured")
    failure = hung["failure"]
    assert failure["kind"] == "stalled"
    said = re.search(r"nothing came from the engine for (\d+) s at concurrency 2", failure["message"])
    assert said is not None
    assert 4 <= int(said[1]) < 60
    assert "with 2 requests waiting" in failure["message"]
    assert "measure.stall_timeout_s" in failure["advice"]
    assert failure["message"] in " ".join(out.split())
    assert shop.left_over() == []
    assert shop.tags("autotune.failure") == ["stalled"]


def test_an_engine_that_is_slow_but_streams_is_not_ended(shop: Shop) -> None:
    """One answer takes longer than the limit, the pieces of it do not."""
    words = [*shop.words("sweep.name=s"), "runtime.env.STANDIN_PAUSE=1.2", "measure.stall_timeout_s=5"]
    words += ["workload.output_tokens=60", "workload.warmup_requests=0", "measure.repeats=1"]
    words += ["workload.min_requests=2", "workload.requests_per_load=1"]
    status, _out, err = shop.run(words)
    assert (status, err) == (0, "")
    [end] = shop.finished("s")
    assert end["status"] == "measured"
    assert end["metrics"]["e2e_ms_mean"] > 5000


def test_a_trial_that_takes_too_long_keeps_what_it_measured(shop: Shop) -> None:
    """It failed and is not ranked; its measurements stay in the record."""
    words = [*shop.words("sweep.name=s"), "measure.repeats=1000", "measure.trial_timeout_s=8"]
    status, out, _err = shop.run(words)
    assert status == 1
    [end] = shop.finished("s")
    assert (end["status"], end["failure"]["kind"], end["score"]) == ("failed", "trial_timeout", None)
    assert "not done within 8 s; it was measuring at concurrency 2" in end["failure"]["message"]
    assert end["by_load"][0]["metrics"]["requests_completed"] > 0
    assert (shop.folder / "outputs" / "s" / "trial-0" / "measurements.json").exists()
    assert "winner" not in out
    assert shop.left_over() == []


def test_the_limit_of_a_trial_ends_its_start_up_too(shop: Shop) -> None:
    """Long before the limit of the start-up itself."""
    words = [*shop.words("sweep.name=s", mode="hang"), "measure.trial_timeout_s=1"]
    assert shop.run(words)[0] == 1
    [end] = shop.finished("s")
    assert end["failure"]["kind"] == "trial_timeout"
    assert "it was starting its engine" in end["failure"]["message"]
    assert shop.left_over() == []


def test_a_limit_below_what_clients_can_tell_is_refused(shop: Shop) -> None:
    """Every engine would seem to hang."""
    status, _out, err = shop.run([*shop.words("sweep.name=s"), "measure.stall_timeout_s=1"])
    assert status == 2
    assert "measure.stall_timeout_s=1.0: must be at least 2" in err
