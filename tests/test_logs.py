"""`python -m autotune logs`: what engines say, while they run and after."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from autotune.cli import main
from autotune.logs import last_lines
from tests.shop import Shop, until

SLOW = ("workload.requests_per_load=2000", "runtime.env.STANDIN_PAUSE=0.05")
SAID = [f"line {n}" for n in range(1, 31)]


def swept(shop: Shop, *words: str, name: str = "s") -> list[str]:
    """The words of a sweep whose engines say thirty lines before they serve."""
    (shop.folder / "says").write_text("\n".join(SAID))
    ours = shop.words(f"sweep.name={name}", f"runtime.env.STANDIN_LOGS={shop.folder / 'says'}")
    return [*ours, *words]  # the last word on a key wins


def test_the_logs_of_running_trials_are_shown(shop: Shop) -> None:
    """The newest sweep, all that runs, a header and twenty lines each; one of them with `--trial`."""
    two = swept(shop, "-m", "runtime.args.max_num_seqs=1,2", *SLOW)
    with shop.start(two) as process:
        until(lambda: len([e for e in shop.events("s") if e["event"] == "server_ready"]) == 2)
        both = shop.run(["logs"])
        one = shop.run(["logs", "s", "--trial", "1", "--lines", "3"])
        several = shop.run(["logs", "outputs/s", "--follow"])
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    place = "outputs/s/trial-{}/engine.log"
    heads = [f"== trial {n} max_num_seqs={n + 1}: running ({place.format(n)})" for n in (0, 1)]
    assert both == (0, "\n".join([heads[0], *SAID[-20:], heads[1], *SAID[-20:], ""]), "")
    assert one == (0, "\n".join([heads[1], *SAID[-3:], ""]), "")
    assert several[0] == 2
    assert "--follow follows one trial: give --trial N; running are 0, 1" in several[2]


def test_a_trial_is_followed_to_its_end(shop: Shop) -> None:
    """What comes later is printed when it comes, and the last line says how it ended."""
    with shop.start(swept(shop, *SLOW)) as process:
        until(lambda: shop.seen("s", "server_ready"))
        with shop.start(["logs", "--follow", "--lines", "1"]) as follower:
            assert follower.stdout is not None
            first = [follower.stdout.readline() for _ in range(2)]
            log = shop.folder / "outputs" / "s" / "trial-0" / "engine.log"
            with log.open("a") as file:
                file.write("later words\nand half a line, ")
                file.flush()
                second = follower.stdout.readline()
                process.send_signal(signal.SIGINT)
                process.communicate(timeout=60)
                out, err = follower.communicate(timeout=60)
    *said, last = out.splitlines()
    whole = log.read_text().splitlines()
    last_of_engine = whole.index(SAID[-1])
    assert [line.rstrip("\n") for line in (first[1], second)] == [SAID[-1], "later words"]
    assert [SAID[-1], "later words", *said] == whole[last_of_engine:]
    assert said[0].startswith("and half a line")
    assert (follower.returncode, err) == (0, "")
    assert last == "== trial 0 vllm · tp1: interrupted (outputs/s/trial-0/engine.log)"


def test_following_is_ended_by_ctrl_c(shop: Shop) -> None:
    """With 130, and the sweep goes on."""
    with shop.start(swept(shop, *SLOW)) as process:
        until(lambda: shop.seen("s", "server_ready"))
        with shop.start(["logs", "--follow"]) as follower:
            assert follower.stdout is not None
            assert "running" in follower.stdout.readline()
            follower.send_signal(signal.SIGINT)
            _, err = follower.communicate(timeout=60)
        still = process.poll()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert (follower.returncode, err, still) == (130, "", None)


def test_another_attempt_is_followed_from_its_beginning(shop: Shop) -> None:
    """Its log takes the place of the one before; each of its lines is printed once."""
    words = swept(shop, *SLOW)
    with shop.start(words) as process:
        until(lambda: shop.seen("s", "server_ready"))
        with shop.start(["logs", "--follow", "--lines", "0"]) as follower:
            assert follower.stdout is not None
            follower.stdout.readline()
            log = shop.folder / "outputs" / "s" / "trial-0" / "engine.log"
            log.rename(log.with_name("engine.attempt-1.log"))
            log.write_text("a new beginning\n")
            line = follower.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            out, _ = follower.communicate(timeout=60)
    assert line == "a new beginning\n"
    assert out.count("\n") == 1


def test_an_ended_trial_is_shown_and_where_its_log_is(shop: Shop) -> None:
    """Also by following it; without `--trial` nothing of it runs, which is said."""
    assert shop.run(swept(shop))[0] == 0
    head = "== trial 0 vllm · tp1: measured (outputs/s/trial-0/engine.log)"
    log = (shop.folder / "outputs" / "s" / "trial-0" / "engine.log").read_text().splitlines()
    every = ["logs", "--trial", "0", "--lines", "10000"]
    assert shop.run(every) == (0, "\n".join([head, *log, ""]), "")
    assert shop.run([*every, "--follow"]) == (0, "\n".join([head, *log, head, ""]), "")
    status, out, err = shop.run(["logs"])
    assert (status, err) == (0, "")
    assert "no trial of outputs/s is running; --trial N shows one that has ended: 0 (measured)" in out


def test_a_sweep_that_nobody_works_on_is_told(shop: Shop) -> None:
    """Its trial looks as if it ran; following it ends at once."""
    with shop.start(swept(shop, *SLOW)) as process:
        until(lambda: shop.seen("s", "server_ready"))
        process.kill()
        process.communicate(timeout=60)
    try:
        status, out, _err = shop.run(["logs", "--follow", "--lines", "1"])
    finally:
        for pid in shop.labelled():
            os.kill(pid, signal.SIGKILL)
    assert status == 0
    assert "trial 0 vllm · tp1: running, but nobody works on the sweep" in out


def test_the_newest_sweep_is_the_one_that_was_written_to_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the last by name."""
    monkeypatch.chdir(tmp_path)
    for moment, name in ((2, "a"), (1, "b")):
        journal = tmp_path / "outputs" / name / "journal.jsonl"
        journal.parent.mkdir(parents=True)
        journal.write_text("")
        os.utime(journal, (moment, moment))
    assert main(["logs"]) == 0
    assert "no trial of outputs/a is running" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        pytest.param(["nothing"], "nothing: no sweep of this name or path: here are a, b", id="no such sweep"),
        pytest.param(["a", "--trial", "7"], "--trial 7: outputs/a has no such trial: it has none yet", id="no such trial"),
        pytest.param(["a", "--trial", "x"], "argument --trial: x: must be a whole number from 0 on", id="no number"),
        pytest.param(["a", "--lines", "-1"], "argument --lines", id="fewer than no lines"),
        pytest.param(["a", "b"], "logs takes one sweep, not a b", id="two sweeps"),
        pytest.param(["--tail"], "--tail: no such option", id="unknown option"),
    ],
)  # fmt: skip
def test_bad_input_is_told(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exit status 2, with what there is."""
    monkeypatch.chdir(tmp_path)
    for moment, name in ((2, "a"), (1, "b")):
        journal = tmp_path / "outputs" / name / "journal.jsonl"
        journal.parent.mkdir(parents=True)
        journal.write_text("")
        os.utime(journal, (moment, moment))
    try:
        status = main(["logs", *words])
    except SystemExit as error:
        status = int(str(error.code))
    assert status == 2
    assert told in capsys.readouterr().err


def test_without_a_sweep_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sweeps lie in the folder where they were started."""
    monkeypatch.chdir(tmp_path)
    assert main(["logs"]) == 2
    assert "no sweep in outputs/ here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "count", "shown"),
    [
        pytest.param("a\nb\nc\n", 2, ["b", "c"], id="last ones"),
        pytest.param("a\nb\nc", 2, ["b", "c"], id="a line without its end"),
        pytest.param("a\n", 5, ["a"], id="fewer than asked"),
        pytest.param("", 5, [], id="empty"),
        pytest.param("a\n", 0, [], id="none asked"),
        pytest.param("\n\n", 5, ["", ""], id="empty lines"),
        pytest.param("0 %\r50 %\r100 %\nwindows\r\n", 2, ["100 %", "windows"], id="progress bar"),
        pytest.param("\x1b[32mgreen\x1b[0m \x1b[2Kbell\x07\ttab\n", 1, ["green bell\ttab"], id="control characters"),
        pytest.param("ü" * 100_000 + "\nlast\n", 2, ["ü" * 100_000, "last"], id="a line over several blocks"),
    ],
)  # fmt: skip
def test_the_last_lines_of_a_log(text: str, count: int, shown: list[str], tmp_path: Path) -> None:
    """As a terminal would leave them."""
    (tmp_path / "engine.log").write_bytes(text.encode())
    assert last_lines(tmp_path / "engine.log", count) == shown


def test_a_log_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    """A trial that waits for GPUs has none."""
    assert last_lines(tmp_path / "engine.log", 5) == []


def test_the_reader_may_have_seen_enough(shop: Shop) -> None:
    """A closed pipe is no error."""
    assert shop.run(swept(shop))[0] == 0
    with shop.start(["logs", "--trial", "0"]) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert (process.returncode, err) == (0, "")
