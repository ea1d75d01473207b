"""Several values on a command line: what can be drawn or listed, and what is refused."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from autotune.ranges import MOST, sweep_problem

PARSER = OverridesParser.create()
PRESETS = {"parallel": ["tp1", "tp2", "dp2"], "quant": ["default"]}
SEQS = "runtime.args.max_num_seqs"


def problem(word: str) -> str | None:
    """What is wrong with an override of several values."""
    override = PARSER.parse_override(word)
    return sweep_problem(override, PRESETS.get(override.key_or_group))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        pytest.param(f"{SEQS}=tag(log,int(interval(0,1024)))", "a log range begins above 0, not at 0", id="log from 0"),
        pytest.param("runtime.args.x=tag(log,interval(-1,1))", "a log range begins above 0, not at -1", id="log from below 0"),
        pytest.param(f"{SEQS}=int(interval(1024,16))", "the lower end comes first: interval(16,1024)", id="reversed"),
        pytest.param(f"{SEQS}=int(interval(16,16))", "a range of one value: give 16", id="one value"),
        pytest.param(f"{SEQS}=int(interval(0.2,0.8))", "a range of one value: give 0", id="one whole value"),
        pytest.param(f"{SEQS}=interval(1,inf)", "a range needs two ends that are numbers", id="without an end"),
        pytest.param(f"{SEQS}=interval(nan,1)", "a range needs two ends that are numbers", id="not a number"),
        pytest.param(f"{SEQS}=tag(foo,interval(1,2))", "foo: no such tag; known: log", id="unknown tag"),
        pytest.param(f"{SEQS}=tag(foo,choice(1,2))", "foo: no such tag; known: log", id="unknown tag of a choice"),
        pytest.param("parallel.tp=interval(1,4)", "takes whole numbers; did you mean int(interval(1,4))?", id="fractions for a whole number"),
        pytest.param("serving.max_running_requests=tag(log,interval(16,1024))", "did you mean tag(log,int(interval(16,1024)))?", id="log fractions for a whole number"),
        pytest.param("serving.prefix_caching=interval(0,1)", "takes no range: expected true or false or null", id="range of a switch"),
        pytest.param("quant.attention_dtype=interval(0,1)", "takes no range: expected one of auto, fp8", id="range of names"),
        pytest.param("workload.loads=interval(1,8)", "takes no range: expected a list of numbers", id="range of a list"),
        pytest.param("parallel=interval(1,2)", "presets have no range: give a list such as parallel=tp1,tp2", id="interval of presets"),
        pytest.param("parallel=range(1,2)", "presets have no range: give a list such as parallel=tp1,tp2", id="range of presets"),
        pytest.param(f"{SEQS}=range(10,1)", "it falls: range(10,1,-1)", id="empty, falling"),
        pytest.param("parallel.tp=range(1,1)", "no value lies in this range, whose end 1 is not part of it", id="empty"),
        pytest.param("parallel.tp=range(1,10,0)", "the step must not be 0", id="step of nothing"),
        pytest.param("parallel.tp=range(1,10,0.0)", "the step must not be 0", id="fractional step of nothing"),
        pytest.param("parallel.tp=range(0,inf)", "a range needs two ends and a step that are numbers", id="listed without an end"),
        pytest.param("parallel.tp=range(1,9,nan)", "a range needs two ends and a step that are numbers", id="step not a number"),
        pytest.param("parallel.tp=range(0,1000000000)", "1,000,000,000 values, at most 10,000", id="endless"),
        pytest.param(f"{SEQS}=glob(*)", f"a glob chooses presets, and {SEQS} has none", id="glob of numbers"),
        pytest.param("parallel=glob(x*)", "no preset looks like that; known: tp1, tp2, dp2", id="glob of nothing"),
    ],
)  # fmt: skip
def test_values_that_cannot_be_drawn_are_refused(word: str, expected: str) -> None:
    """Each in words that say what to do."""
    assert expected in (problem(word) or "")


@pytest.mark.parametrize(
    "word",
    [
        f"{SEQS}=tag(log,int(interval(1,1024)))",
        f"{SEQS}=interval(16,1024)",
        "parallel.tp=int(interval(1,4))",
        "workload.input_spread=interval(0,1)",
        "runtime.env.OMP_NUM_THREADS=int(interval(1,4))",
        "parallel.tp=range(1,5)",
        "parallel.tp=range(8,0,-4)",
        "workload.input_spread=range(0,1,0.5)",
        f"{SEQS}=range(0,{MOST})",
        f"{SEQS}=tag(log,choice(1,2))",
        "parallel=glob(tp*)",
        "parallel=tp1,dp2",
    ],
)
def test_values_that_can_be_drawn_are_not(word: str) -> None:
    """An engine's argument is judged with the engine's flags, where those are known."""
    assert problem(word) is None
