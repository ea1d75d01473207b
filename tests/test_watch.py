"""The watch over a trial, by a clock that stands still."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from autotune.benchmark.protocol import MeasureRequest, Progress
from autotune.deploy.replay import Row, RowClient
from autotune.errors import Interrupted, TrialError
from autotune.records import Endpoint, Failure, Load, Mode
from autotune.watch import LATE_S, POLL_S, Limits, Watch, cause_of
from tests.contracts.benchmark import TRAFFIC

LOAD = Load(mode=Mode.CONCURRENCY, value=8)
EARLY = Progress(
    phase="measure", requests_completed=1, requests_failed=0, requests_total=9, received=7, in_flight=8
)
LATER = replace(EARLY, received=8)
BLIND = replace(EARLY, received=None, in_flight=None)
LIMITS = Limits(trial_s=1000, stall_s=10)


class Scene:
    """A watch with its clock; `at` sets the clock, reports, and looks."""

    def __init__(self, folder: Path, limits: Limits = LIMITS) -> None:
        self.now_s = 100.0
        self.stop = threading.Event()
        self.log = folder / "engine.log"
        self.watch = Watch(self.stop, limits, log=self.log, clock=lambda: self.now_s)

    def at(self, second: float, told: Progress | None = None) -> Failure | None:
        """Return the failure after a report (or none) at this second of the trial."""
        self.now_s = 100.0 + second
        if told is not None:
            self.watch.heard(told)
        self.watch.look()
        return self.watch.failure


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A trial that begins."""
    return Scene(tmp_path)


def test_nothing_for_too_long_is_a_hang(scene: Scene) -> None:
    """Reports that say the same are no sign of life; the message tells how long, where, and what waits."""
    scene.log.write_text("loading\nscheduler stuck\n")
    with scene.watch.measuring(LOAD):
        assert scene.at(5, EARLY) is None
        assert scene.at(15, EARLY) is None
        failure = scene.at(16, EARLY)
    assert failure is not None
    assert failure.kind == "stalled"
    assert failure.message == (
        "nothing came from the engine for 11 s at concurrency 8, with 8 requests waiting (measured: 1 of 9 done)"
    )
    assert failure.evidence == "engine.log:2: scheduler stuck"
    assert "measure.stall_timeout_s (now 10)" in failure.advice
    assert scene.watch.ended.is_set()


@pytest.mark.parametrize(
    ("first", "second", "hangs"),
    [
        pytest.param(EARLY, LATER, False, id="a piece of an answer came"),
        pytest.param(EARLY, replace(EARLY, requests_failed=1), True, id="a request was given up"),
        pytest.param(EARLY, replace(EARLY, in_flight=0), False, id="nothing is asked of it"),
        pytest.param(BLIND, replace(BLIND, requests_completed=2), False, id="without a count: a request ended"),
        pytest.param(BLIND, BLIND, True, id="without a count: none ended"),
    ],
)  # fmt: skip
def test_what_is_a_sign_of_life(first: Progress, second: Progress, scene: Scene, *, hangs: bool) -> None:
    """Between a report at 5 s and the look at 16 s there is one at 12 s."""
    with scene.watch.measuring(LOAD):
        assert scene.at(5, first) is None
        assert scene.at(12, second) is None
        assert (scene.at(16, second) is not None) == hangs


def test_a_client_that_reports_nothing_is_told_apart(scene: Scene) -> None:
    """Its silence is not the engine's."""
    with scene.watch.measuring(LOAD):
        assert scene.at(5, LATER) is None
        failure = scene.at(16)
    assert failure is not None
    assert (failure.kind, failure.message) == (
        "stalled",
        "the load client reported nothing for 11 s at concurrency 8",
    )


def test_between_measurements_nothing_is_expected(scene: Scene) -> None:
    """Start-up has a limit of its own, and every measurement begins anew."""
    assert scene.at(500) is None
    with scene.watch.measuring(LOAD):
        assert scene.at(505, EARLY) is None
    assert scene.at(520) is None
    with scene.watch.measuring(LOAD):
        assert scene.at(529) is None
        assert scene.at(531) is not None


def test_the_whole_trial_has_a_limit(scene: Scene) -> None:
    """From its beginning, whatever it does."""
    assert scene.at(1000) is None
    failure = scene.at(1001)
    assert failure is not None
    assert failure.kind == "trial_timeout"
    assert failure.message == "the trial was not done within 1000 s; it was starting its engine"


def test_an_engine_that_dies_ends_the_measurement(scene: Scene) -> None:
    """Its own cause is the failure, however long the client would go on; before it is ready nobody asks."""
    died: list[TrialError] = []
    assert scene.at(1) is None
    scene.watch.serves(lambda: died[0] if died else None)
    with scene.watch.measuring(LOAD):
        assert scene.at(2) is None
        scene.log.write_text("later words\n")
        died.append(TrialError("cuda_oom", "out of memory", evidence="engine.log:7: why", advice="do"))
        failure = scene.at(3)
    assert failure == Failure(
        kind="cuda_oom", message="out of memory", evidence="engine.log:7: why", advice="do"
    )
    assert scene.watch.ended.is_set()


def test_what_a_trial_was_doing_is_told(scene: Scene) -> None:
    """Also of an engine that cannot be asked."""
    scene.watch.serves(None)
    failure = scene.at(1001)
    assert failure is not None
    assert failure.message.endswith("it was measuring")


def test_the_end_of_the_sweep_is_no_failure(scene: Scene) -> None:
    """Ctrl-C comes first, even if a limit has passed too; and what came first stays."""
    scene.stop.set()
    assert scene.at(2000) is None
    assert scene.watch.ended.is_set()


def test_a_stop_after_a_failure_changes_nothing(scene: Scene) -> None:
    """The trial failed before it was interrupted."""
    failure = scene.at(2000)
    scene.stop.set()
    assert failure is not None
    assert scene.at(2001) is failure


def test_without_limits_nothing_ends_it(tmp_path: Path) -> None:
    """As for a replay."""
    scene = Scene(tmp_path, Limits())
    with scene.watch.measuring(LOAD):
        assert scene.at(10**6) is None
    assert not scene.watch.ended.is_set()


@pytest.mark.parametrize("late", [False, True])
def test_the_client_is_stopped_once_the_trial_is_to_end(tmp_path: Path, *, late: bool) -> None:
    """Also one that is named when it is too late already."""
    scene = Scene(tmp_path)
    row = Row(keys={}, load=8, gpus=None, outcome="", startup_s=0, duration_s=600, metrics={})
    client = RowClient([row], 1.0)
    if late:
        scene.at(2000)
    scene.watch.stops(client)
    if not late:
        scene.at(2000)
    request = MeasureRequest(
        endpoint=Endpoint(url="replay:", model="m"),
        traffic=TRAFFIC,
        load=LOAD,
        repeat=0,
        out_dir=tmp_path,
        on_progress=lambda _: None,
        timeout_s=1,
    )
    with pytest.raises(Interrupted):
        client.measure(request)


def test_an_open_watch_looks_by_itself(tmp_path: Path) -> None:
    """And its thread ends with it."""
    scene = Scene(tmp_path)
    threads = threading.active_count()
    with scene.watch:
        scene.stop.set()
        assert scene.watch.ended.wait(30)
    assert threading.active_count() == threads


class Dying:
    """A server that tells of its end when it is asked the `looks`-th time, in doubt until then."""

    def __init__(self, looks: int, *, doubtful: bool = False) -> None:
        self.left, self.doubtful = looks, doubtful

    def death(self) -> TrialError | None:
        """None, until it is known."""
        self.left -= 1
        return TrialError("engine_died", "gone") if self.left == 0 else None


def test_an_end_that_is_known_a_moment_late_is_the_cause_of_trouble() -> None:
    """Clients see broken connections before anyone has told that the engine is gone."""
    assert cause_of(TrialError("all_requests_failed", "all"), Dying(3)) is not None
    assert cause_of(2, Dying(3)) is not None
    assert cause_of(0, Dying(2)) is None
    assert cause_of(1, Dying(-1)) is None


def test_an_end_in_doubt_is_waited_for() -> None:
    """Longer than one that nobody suspects."""
    looks = 3 + int(LATE_S / POLL_S)
    assert cause_of(1, Dying(looks)) is None
    assert cause_of(1, Dying(looks, doubtful=True)) is not None
