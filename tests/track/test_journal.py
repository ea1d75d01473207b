"""The journal: order, flush, torn lines, and its documented schema."""

from __future__ import annotations

import json
import os
import resource
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from autotune.errors import InfrastructureError
from autotune.track.journal import Journal, Tail, read


def test_an_event_is_in_the_file_before_anyone_acts_on_it(tmp_path: Path) -> None:
    """A listener finds the event in the file already."""
    journal = Journal(tmp_path, sweep="s")
    seen: list[list[dict[str, Any]]] = []
    journal.follow(lambda _event: seen.append(list(read(journal.path))))
    journal.write("sweep_finished", status="finished")
    assert [event["event"] for event in seen[0]] == ["sweep_finished"]


def test_every_event_says_when_and_of_which_sweep(tmp_path: Path) -> None:
    """`v`, `time` in UTC and `sweep` are in every line, `trial` where there is one."""
    moment = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc)
    journal = Journal(tmp_path, sweep="s", now=lambda: moment)
    journal.write("measured", trial=7)
    assert list(read(journal.path)) == [
        {"v": 1, "time": "2026-01-02T03:04:05.678Z", "sweep": "s", "event": "measured", "trial": 7}
    ]


def test_threads_never_tear_each_others_lines(tmp_path: Path) -> None:
    """Many writers, whole lines."""
    journal = Journal(tmp_path, sweep="s")

    def write(trial: int) -> None:
        for _ in range(200):
            journal.write("benchmark_progress", trial=trial)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = journal.path.read_text().splitlines()
    assert len(lines) == 800
    assert all(json.loads(line)["event"] == "benchmark_progress" for line in lines)


def test_a_torn_line_of_a_killed_writer_is_passed_over(tmp_path: Path) -> None:
    """What came before and after it is read."""
    journal = Journal(tmp_path, sweep="s")
    journal.write("sweep_started")
    with journal.path.open("a") as file:
        file.write('{"v": 1, "event": "meas')
    Journal(tmp_path, sweep="s").write("sweep_finished")
    assert [event["event"] for event in read(journal.path)] == ["sweep_started", "sweep_finished"]


def test_a_line_that_a_full_disk_tore_spoils_no_later_one(tmp_path: Path) -> None:
    """When there is room again, what is written then can be read."""
    journal = Journal(tmp_path, sweep="s")
    journal.write("sweep_started")
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 10, most))
    try:
        with pytest.raises(InfrastructureError, match="No space left on device"):
            journal.write("trial_started", trial=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    journal.write("sweep_finished")
    assert len(journal.path.read_text().splitlines()) == 3
    assert [event["event"] for event in read(journal.path)] == ["sweep_started", "sweep_finished"]


def test_a_full_disk_is_told_and_nobody_acts(tmp_path: Path) -> None:
    """An event that cannot be written reaches no listener."""
    journal = Journal(tmp_path, sweep="s")
    seen: list[object] = []
    journal.follow(seen.append)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal._descriptor)  # noqa: SLF001  (the disk fills behind the open file)
    with pytest.raises(InfrastructureError, match=r"cannot write .*journal\.jsonl: No space left"):
        journal.write("trial_started", trial=0)
    assert seen == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file in the way of the sweep's folder is named."""
    (tmp_path / "outputs").write_text("")
    with pytest.raises(InfrastructureError, match=r"cannot write .*outputs"):
        Journal(tmp_path / "outputs" / "x", sweep="x")


def test_a_closed_journal_writes_into_no_other_file(tmp_path: Path) -> None:
    """The number of its descriptor may belong to another file by then."""
    journal = Journal(tmp_path, sweep="s")
    journal.close()
    other = (tmp_path / "other").open("wb")
    with pytest.raises(InfrastructureError, match="is closed"):
        journal.write("measured", trial=0)
    other.close()
    assert (tmp_path / "other").read_bytes() == b""


def test_a_tail_yields_what_has_come_and_no_half_line(tmp_path: Path) -> None:
    """A line that is being written is left until it is whole; one that was torn for good is passed over."""
    path = tmp_path / "journal.jsonl"
    path.write_bytes(b'{"event": "a"}\n{"event": "b", "long')
    tail = Tail(path)
    assert [event["event"] for event in tail.news()] == ["a"]
    assert list(tail.news()) == []
    with path.open("ab") as file:
        file.write(b'": 1}\n{"event": "to')
        file.flush()
        assert list(tail.news()) == [{"event": "b", "long": 1}]
        place = tail.place
        file.write(b'\n[1]\n{"event": "c"}\n')
    assert [event["event"] for event in tail.news()] == ["c"]
    assert tail.at(place) == {"event": "b", "long": 1}
    assert tail.at(tail.place) == {"event": "c"}
