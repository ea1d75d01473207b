"""Clients that misbehave: real processes, which crash, hang, fork or leave half a report behind."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autotune import process_table, scratch
from autotune.benchmark.external.client import ExternalClient, bound_s
from autotune.benchmark.external.reading import read_object
from autotune.benchmark.external.tool import Abilities, Command, Report, Task, words_of
from autotune.benchmark.metrics import RequestRecord
from autotune.benchmark.protocol import MeasureRequest, Progress
from autotune.errors import ConfigError, Interrupted, TrialError
from autotune.records import Endpoint, Load, Measurement, Mode
from tests.contracts.benchmark import TRAFFIC, children
from tests.shop import until

GOOD = """
import json, sys
rows = [[1000.0 + n, 1000.1 + n, 1000.3 + n] for n in range(3)]
open("report.json", "w").write(json.dumps({"rows": rows}))
"""
TRUNCATED = """open("report.json", "w").write('{"rows": [[1000.0, 1000.1,')"""
OTHER = """open("report.json", "w").write('{"v": 2, "results": {"ttft": 0.1}}')"""
CRASHES = """
import sys
open("report.json", "w").write('{"rows": [')
print("loading")
sys.exit("its own reason")
"""
LATE_CRASH = GOOD + """\nsys.exit("after the report")"""
HANGS = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""
TELLS = (
    """
import os
print("token", os.environ["MY_TOKEN"], "path", os.environ.get("PYTHONPATH"), os.environ["TMPDIR"], flush=True)
"""
    + GOOD
)


@dataclass
class Scripted:
    """A tool that is a few lines of Python; its report has when each request was sent, began and ended."""

    script: str
    env: Mapping[str, str] = field(default_factory=dict)
    kind: str = "scripted"
    version: str = "1"
    abilities: Abilities = field(default_factory=lambda: Abilities(arrivals=frozenset({"poisson"})))

    def command(self, task: Task) -> Command:
        """Run it with the task's own interpreter."""
        return Command(argv=(str(task.program), "-c", self.script, *words_of(task.args)), env=self.env)

    def progress(self, task: Task) -> Progress:
        """Whether it has written anything."""
        return Progress(phase="warmup", requests_completed=0, requests_failed=0, requests_total=task.measured)

    def read(self, task: Task) -> Report:
        """Its three numbers a request."""
        rows = read_object(task.folder / "report.json")["rows"]
        return Report(records=tuple(_record(number, *row) for number, row in enumerate(rows)))


def _record(number: int, sent_s: float, first_s: float, last_s: float) -> RequestRecord:
    return RequestRecord(
        phase="measure",
        index=number,
        sent_s=sent_s,
        begun_s=sent_s,
        scheduled_s=None,
        ended_s=last_s,
        chunks_s=(first_s, last_s),
        prompt_tokens=7,
        output_tokens=5,
        status=200,
        error=None,
        detail="",
    )


def _client(script: str, program: str = sys.executable, **tool: Any) -> ExternalClient:
    return ExternalClient(Scripted(script, **tool), program=lambda: Path(program))


@pytest.fixture
def request_(tmp_path: Path) -> MeasureRequest:
    """Three requests, one after the other."""
    return MeasureRequest(
        endpoint=Endpoint(url="http://127.0.0.1:1", model="known"),
        traffic=TRAFFIC,
        load=Load(mode=Mode.CONCURRENCY, value=1),
        repeat=0,
        out_dir=tmp_path / "trial",
        on_progress=lambda _: None,
        timeout_s=20,
    )


def test_its_report_becomes_a_measurement(request_: MeasureRequest) -> None:
    """Times are from the first request on, and the report stays under the trial's folder."""
    measured = _client(GOOD).measure(request_)
    assert measured.metrics["ttft_ms_mean"] == pytest.approx(100)
    assert measured.metrics["tpot_ms_mean"] == pytest.approx(50)
    assert measured.duration_s == pytest.approx(2.3)
    assert measured.metrics["output_tokens_per_s"] == pytest.approx(15 / 2.3)
    folder = request_.out_dir / "clients" / "scripted-concurrency-1-0"
    assert sorted(path.name for path in folder.iterdir()) == ["client.log", "report.json"]
    assert measured.raw is not None
    assert json.loads(measured.raw.read_text())[0]["sent_s"] == 0
    assert not scratch.left_of(request_.out_dir)


@pytest.mark.parametrize(
    ("script", "said", "evidence"),
    [
        (CRASHES, "scripted ended with status 1", "client.log: its own reason"),
        (LATE_CRASH, "scripted ended with status 1", "client.log: after the report"),
        (TRUNCATED, "the report of scripted cannot be read: report.json is not whole", ""),
        (OTHER, "the report of scripted cannot be read: KeyError: 'rows'", ""),
        ("pass", "the report of scripted cannot be read: it left no report.json", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "scripted ended with status -9", ""),
    ],
)
def test_a_client_that_fails_is_a_failed_measurement(
    script: str, said: str, evidence: str, request_: MeasureRequest
) -> None:
    """With its last words, and never a number; nothing of it is left."""
    before = children()
    with pytest.raises(TrialError) as failed:
        _client(script).measure(request_)
    assert failed.value.kind == "benchmark_failed"
    assert said in failed.value.message
    assert failed.value.evidence == evidence
    assert failed.value.advice
    assert children() == before
    assert not scratch.left_of(request_.out_dir)


def test_fewer_requests_than_asked_are_no_measurement(request_: MeasureRequest) -> None:
    """A client that stopped early, whatever it calls that."""
    short = GOOD.replace("range(3)", "range(2)")
    with pytest.raises(TrialError, match="tells of 2 requests, 3 were to be measured"):
        _client(short).measure(request_)


def test_a_client_that_cannot_be_started_is_said_to_be(request_: MeasureRequest) -> None:
    """With how to get it."""
    with pytest.raises(TrialError, match="cannot be started: No such file") as failed:
        _client(GOOD, program="/nowhere/scripted").measure(request_)
    assert "doctor --install scripted" in failed.value.advice


def test_a_client_that_went_away_is_said_to_have(request_: MeasureRequest) -> None:
    """Its environment was removed while the sweep ran."""

    def gone() -> Path:
        raise ConfigError(["benchmark.kind=scripted: is not installed"])

    with pytest.raises(TrialError, match="is not installed") as failed:
        ExternalClient(Scripted(GOOD), program=gone).measure(request_)
    assert failed.value.kind == "benchmark_failed"


def test_stop_ends_what_hangs_and_what_it_started(request_: MeasureRequest) -> None:
    """At once, from another thread; nothing is read, and later measurements are refused."""
    client, log = _client(HANGS), request_.out_dir / "clients/scripted-concurrency-1-0/client.log"
    results: list[Measurement | Exception] = []

    def measure() -> None:
        try:
            results.append(client.measure(request_))
        except Interrupted as interrupted:
            results.append(interrupted)

    thread = threading.Thread(target=measure)
    thread.start()
    until(lambda: log.exists() and log.read_text().endswith("\n"))
    child = int(log.read_text().split()[1])
    stopped_s = time.monotonic()
    client.stop()
    thread.join(30)
    assert time.monotonic() - stopped_s < 10
    assert isinstance(results[0], Interrupted)
    until(lambda: (stat := process_table.stat_of(child)) is None or stat.state in process_table.GONE)
    assert not scratch.left_of(request_.out_dir)
    with pytest.raises(Interrupted):
        client.measure(request_)


def test_a_client_that_never_ends_is_ended(request_: MeasureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time that its requests may take, and what it needs around them."""
    monkeypatch.setattr("autotune.benchmark.external.client.AROUND_S", -4 * 20 + 1.0)
    before = children()
    with pytest.raises(TrialError, match="scripted did not end within 1 s") as failed:
        _client(HANGS).measure(request_)
    assert failed.value.evidence.startswith("client.log: child")
    assert children() == before


def test_it_is_heard_of_about_once_a_second(request_: MeasureRequest) -> None:
    """Also while it tells nothing: a trial is not taken for hung for that."""
    heard: list[float] = []
    slow = "import time; time.sleep(3)\n" + GOOD
    _client(slow).measure(replace(request_, on_progress=lambda _: heard.append(time.monotonic())))
    gaps = [after - before for before, after in pairwise(heard)]
    assert len(heard) >= 4
    assert max(gaps) < 3


def test_secrets_are_in_its_environment_and_not_in_its_log(
    request_: MeasureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It inherits them; the environment that autotune itself runs in does not lead its own astray."""
    monkeypatch.setenv("MY_TOKEN", "hush-hush-hush")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    _client(TELLS).measure(request_)
    text = (request_.out_dir / "clients/scripted-concurrency-1-0/client.log").read_text()
    assert "hush" not in text
    assert "token ************** path None" in text


def test_what_an_attempt_before_left_is_not_read(request_: MeasureRequest) -> None:
    """A folder that is used again holds nothing of before."""
    _client(GOOD).measure(request_)
    with pytest.raises(TrialError, match=r"it left no report\.json"):
        _client("pass").measure(request_)


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [(Mode.CONCURRENCY, 1, 300 + 4 * 20), (Mode.CONCURRENCY, 4, 300 + 4 * 20), (Mode.RATE, 2, 300 + 40 + 8)],
)
def test_how_long_it_may_take(
    mode: Mode, value: float, expected: float, request_: MeasureRequest, tmp_path: Path
) -> None:
    """Every request its time-out, as many side by side as are in flight; an open loop its schedule too."""
    asked = replace(request_, load=Load(mode=mode, value=value))
    task = Task(request=asked, folder=tmp_path, scratch=tmp_path, program=Path("/bin/true"))
    assert bound_s(task) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, []),
        ({"a_b": 1, "c": "x y"}, ["--a-b", "1", "--c", "x y"]),
        ({"on": True, "off": False, "none": None}, ["--on"]),
        ({"d": ["k=1", "k=2"]}, ["--d", "k=1", "--d", "k=2"]),
    ],
)
def test_more_options_of_its_command(args: dict[str, Any], words: list[str]) -> None:
    """`benchmark.args` as words."""
    assert words_of(args) == words


def test_os_environ_is_left_alone(request_: MeasureRequest) -> None:
    """A trial never touches it."""
    before = dict(os.environ)
    _client(GOOD, env={"MY_OWN": "1"}).measure(request_)
    assert dict(os.environ) == before


@pytest.mark.parametrize(("spacing_s", "bound"), [(0.05, False), (0.001, True), (1.0, True)])
def test_a_rate_that_was_not_offered_is_not_ranked(
    spacing_s: float, request_: MeasureRequest, *, bound: bool
) -> None:
    """400 requests at 20/s: a client that sends them all at once, or late, measured another load."""
    traffic = replace(TRAFFIC, min_requests=400)
    asked = replace(request_, traffic=traffic, load=Load(mode=Mode.RATE, value=20))
    script = GOOD.replace("range(3)", "range(400)").replace("+ n", f"+ {spacing_s} * n")
    measured = _client(script).measure(asked)
    assert bool(measured.client_bound) is bound
    assert measured.metrics["load_achieved"] == pytest.approx(1 / spacing_s)
