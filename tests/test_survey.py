"""What a command asks for, or everything that is wrong with it, whichever part finds it."""

from __future__ import annotations

import pytest

from autotune.cli import main

DEMO = ["deploy=simulated", "gpus=h100_8x", "workload=demo"]


def problems(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """What a refused command says: each key with its value."""
    assert main(["plan", "-m", *DEMO, *words]) == 2
    return [
        line.removeprefix("error:").strip().split(": ")[0] for line in capsys.readouterr().err.splitlines()
    ]


def test_values_are_judged_where_others_have_the_wrong_type(capsys: pytest.CaptureFixture[str]) -> None:
    """Types, ranges, bounds and the values of a space in one go."""
    words = ["parallel.pp=0,1", "serving.max_running_requests=-1", "search.space.vllm.x=range(1,1)"]
    space = ["runtime.args.max_num_seqs=interval(16,32)", "runtime.env.A=range(2,1)"]
    bounds = ["search.space.vllm.x=range(1,1)", "parallel.pp=0", "serving.max_running_requests=-1"]
    fraction = "runtime.args.max_num_seqs"
    assert problems(capsys, *words) == bounds
    found = problems(capsys, "parallel.tp=two", *words, *space)
    assert sorted(found) == sorted(["parallel.tp=two", "runtime.env.A=range(2,1)", *bounds, fraction])


def test_an_objective_is_not_judged_without_its_workload(capsys: pytest.CaptureFixture[str]) -> None:
    """Whether its load is measured, only the workload that was refused could say."""
    assert problems(capsys, "workload.loads=x", "objective.load=7") == ["workload.loads=x"]
    assert problems(capsys, "parallel.tp=x", "objective.load=7") == ["parallel.tp=x", "objective.load=7"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        pytest.param("runtime.args.max_num_seqs=tag(log,int(interval(0,1024)))", "a log range begins above 0", id="log from 0"),
        pytest.param("runtime.args.max_num_seqs=range(10,1)", "no value lies in this range", id="empty argument"),
        pytest.param("parallel.tp=range(1,1)", "no value lies in this range", id="empty key"),
        pytest.param("parallel.tp=range(1,10,0)", "the step must not be 0", id="no step"),
        pytest.param("runtime.args.max_num_seqs=glob(*)", "a glob chooses presets", id="glob of numbers"),
        pytest.param("runtime.args.max_num_seqs=interval(16,1024)", "runtime.args.max_num_seqs: takes whole numbers; did you mean int(interval(16,1024))?", id="fractions of a whole argument"),
        pytest.param("search.space.vllm.max_num_seqs=tag(log,interval(16,1024))", "search.space.vllm.max_num_seqs: takes whole numbers; did you mean tag(log,int(interval(16,1024)))?", id="fractions in a space"),
        pytest.param("search.space.vllm.max_num_seqs=tag(log,interval(0,9))", "search.space.vllm.max_num_seqs=tag(log,interval(0,9)): a log range begins above 0", id="log from 0 in a space"),
        pytest.param("search.space.tensorrt_llm.a.b=1,2", "search.space.tensorrt_llm.a.b: a name with dots can only be given in a file", id="dots in a space"),
    ],
)  # fmt: skip
def test_ranges_that_cannot_be_drawn(word: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One message, no traceback, nothing started; what was typed, without Hydra's pluses."""
    assert main(["plan", "-m", *DEMO, word]) == 2
    streams = capsys.readouterr()
    assert len(streams.err.splitlines()) == 1
    assert expected in streams.err
    assert "++" not in streams.err
    assert streams.out == ""
