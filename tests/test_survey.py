"""What a command asks for, or everything that is wrong with it, whichever part finds it."""

from __future__ import annotations

import pytest

from autotune.cli import main

DEMO = ["deploy=simulated", "gpus=h100_8x", "workload=demo"]


def test_values_are_judged_where_others_have_the_wrong_type(capsys: pytest.CaptureFixture[str]) -> None:
    """Types, bounds, ranges and the values of a space in one go; an objective that cannot be judged is not."""
    words = ["parallel.tp=two", "parallel.pp=0,1", "serving.max_running_requests=-1", "workload.loads=x"]
    space = ["search.space.vllm.x=range(1,1)", "objective.load=7"]
    assert main(["-m", *DEMO, *words, *space]) == 2
    assert [
        line.split(":")[1 if n == 0 else 0].strip()
        for n, line in enumerate(capsys.readouterr().err.splitlines())
    ] == [
        "parallel.tp=two",
        "workload.loads=x",
        "search.space.vllm.x=range(1,1)",
    ]
    assert main(["-m", *DEMO, *words, "objective.load=7"]) == 2
    error = capsys.readouterr().err
    assert "parallel.pp=0: must be at least 1" in error
    assert "serving.max_running_requests=-1: must be at least 1" in error
    assert "objective.load" not in error


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
