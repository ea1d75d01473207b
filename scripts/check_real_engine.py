"""Checks a sweep of `max_num_seqs=1,32` on a real engine: `check_real_engine.py outputs/NAME`.

With `--chats`: a trial of chats, whose prompts must have the lengths that were asked for. `--bound` prints a
bound on the time per token, 1.5 times that of a sweep's winner, and `--search` checks a search under it.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import Any

from autotune.process_table import snapshot
from autotune.track.journal import read

RATIO = 1.5  # the least by which 32 sequences must beat 1; measured here: 3 and more


def main(folder: Path) -> int:
    """Print what holds and what does not; return the exit status."""
    events = list(read(folder / "journal.jsonl"))
    queued = {event["trial"]: event for event in events if event["event"] == "trial_queued"}
    ends = {event["trial"]: event for event in events if event["event"] == "trial_finished"}
    by_value = {_sequences(queued[trial]): (queued[trial], end) for trial, end in ends.items()}
    checks = [
        ("both trials were measured", sorted(by_value) == ["1", "32"] and _all_measured(ends)),
        ("32 sequences beat 1 by the ratio", _ratio(by_value) > RATIO),
        ("32 won", _winner(events) == by_value["32"][0]["trial"]),
        ("the argv is recorded", all(_argv_holds(value, queued) for value, (queued, _) in by_value.items())),
        ("the engine told its version", all(e["engine_version"].startswith("0.32.0") for e in ends.values())),
        (
            "64 tokens in and out, by the count of the engine",
            all(_counts(folder / queued[n]["folder"]) for n in ends),
        ),
        ("the engine told how busy it was", all(_busy(e) for e in ends.values())),
        ("its series are in the store", _points(folder, "server/running") >= 2 * len(ends)),
        ("the store says real", _tag(folder, "autotune.simulated") == ["false", "false"]),
        ("no engine is left", _engines(folder) == []),
        ("no temporary file is left", not list(Path(tempfile.gettempdir()).glob("autotune-*"))),
    ]
    for name, holds in checks:
        print(f"{'ok  ' if holds else 'FAIL'} {name}")
    print(f"ratio of total tokens/s, 32 to 1 sequences: {_ratio(by_value):.2f} (must be above {RATIO})")
    return 0 if all(holds for _, holds in checks) else 1


def _sequences(queued: dict[str, Any]) -> str:
    words = queued["plan"]["argv"]
    return str(words[words.index("--max-num-seqs") + 1])


def _all_measured(ends: dict[int, dict[str, Any]]) -> bool:
    return all(end["status"] == "measured" and len(end["score_repeats"]) >= 3 for end in ends.values())


def _ratio(by_value: dict[str, Any]) -> float:
    """Medians of the repeats."""
    return float(by_value["32"][1]["score"] / by_value["1"][1]["score"])


def _winner(events: list[dict[str, Any]]) -> int | None:
    return next((e["winners"][0] for e in events if e["event"] == "sweep_finished" and e["winners"]), None)


def _argv_holds(value: str, queued: dict[str, Any]) -> bool:
    argv = " ".join(map(str, queued["plan"]["argv"]))
    wanted = (
        "vllm serve ",
        "--host 127.0.0.1",
        "--port {port}",
        f"--max-num-seqs {value}",
        "--enforce-eager",
    )
    return all(part in argv for part in wanted)


def _counts(trial: Path) -> bool:
    """64 output tokens in every request that was measured, by the engine's own count."""
    rows = json.loads((trial / "measurements.json").read_text())
    measured = [r for row in rows for r in row["requests"] if r["phase"] == "measure"]
    return len(measured) >= 96 and all(r["output_tokens"] == r["prompt_tokens"] == 64 for r in measured)


def check_chats(folder: Path) -> int:
    """Print whether prompts of 64 tokens, 32 of them shared, and of 160 with a history, are exact."""
    end = next(event for event in read(folder / "journal.jsonl") if event["event"] == "trial_finished")
    rows = json.loads(next(folder.glob("*/measurements.json")).read_text())
    counted = [r["prompt_tokens"] for row in rows for r in row["requests"] if r["phase"] == "measure"]
    exact = set(counted) == {64, 160} and any("exact" in note for note in end["notes"])
    print(f"{'ok  ' if exact else 'FAIL'} chats of two turns have prompts of exact lengths: {set(counted)}")
    return 0 if exact else 1


def tell_bound(folder: Path) -> int:
    """Print 1.5 times the p90 time per token of the winner."""
    events = list(read(folder / "journal.jsonl"))
    ends = {event["trial"]: event for event in events if event["event"] == "trial_finished"}
    winner = _winner(events)
    print(round(1.5 * ends[min(ends) if winner is None else winner]["metrics"]["tpot_ms_p90"], 1))
    return 0


def check_search(folder: Path) -> int:
    """Print whether one engine was enough, and a load that was measured within the SLO is reported."""
    events = list(read(folder / "journal.jsonl"))
    [end] = [event for event in events if event["event"] == "trial_finished"]
    loads = {event["load"]["value"] for event in events if event["event"] == "measured"}
    checks = [
        ("the engine was started once", [e["event"] for e in events].count("server_ready") == 1),
        ("a load within the SLO is reported", end["status"] == "measured" and end["slo"]["meets"]),
        ("it is one that was measured", end["load"]["value"] in loads),
        ("no more loads than allowed were measured", 2 <= len(loads) <= 5),
        ("no engine is left", _engines(folder) == []),
    ]
    for name, holds in checks:
        print(f"{'ok  ' if holds else 'FAIL'} search: {name}")
    print(f"loads {sorted(loads)}, reported {end['load']['value']:g}")
    return 0 if all(holds for _, holds in checks) else 1


def _busy(end: dict[str, Any]) -> bool:
    """Requests in its batch, no more than it may have, and some of its KV cache in use."""
    metrics = end["metrics"]
    names = ("server/running_max", "server/kv_cache_usage_max", "server/waiting_mean", "server/preemptions")
    if any(name not in metrics for name in names):
        return False
    return bool(0 < metrics["server/running_max"] <= 32 and 0 < metrics["server/kv_cache_usage_max"] < 1)


def _points(folder: Path, name: str) -> int:
    with sqlite3.connect(folder.parents[1] / "mlruns" / "mlflow.db") as store:
        [(count,)] = store.execute("select count(*) from metrics where key = ?", (name,)).fetchall()
    store.close()
    return int(count)


def _tag(folder: Path, key: str) -> list[str]:
    with sqlite3.connect(folder.parents[1] / "mlruns" / "mlflow.db") as store:
        rows = store.execute("select value from tags where key = ?", (key,)).fetchall()
    store.close()
    return [str(row[0]) for row in rows]


def _engines(folder: Path) -> list[str]:
    """Command lines of the sweep's processes that still run, known by their label."""
    sweep = folder.resolve()
    left = [each for each in snapshot() if each.trial is not None and each.trial.parent == sweep]
    return [" ".join(each.words) for each in left]


if __name__ == "__main__":
    checks = {"--chats": check_chats, "--bound": tell_bound, "--search": check_search}
    check = checks.get(sys.argv[1], main)
    raise SystemExit(check(Path(sys.argv[-1])))
