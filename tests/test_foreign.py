"""Hydra's and OmegaConf's errors in the words of a user."""

from __future__ import annotations

import re

import pytest

from autotune import compose
from autotune.errors import ConfigError
from autotune.foreign import HYDRAS_WORDS
from autotune.survey import survey

LIBRARY = re.compile(
    r"full_key|reference_type|object_type|DictConfig|ListConfig|AnyNode|<enum|Traceback|provider=|viable|\+\+runtime"
)
CASES = {
    "+parallel=tp2": "+parallel=tp2: write parallel=tp2",
    "++parallel=tp2": "++parallel=tp2: write parallel=tp2",
    "experiment=demo": "experiment: nothing chooses it yet: write +experiment=PRESET",
    "+parallel.tp=2": "+parallel.tp: is there already: leave out +",
    "parallel.tp=${nope}": "parallel.tp: refers to nope, which is not there",
    "parallel.tp=${oc.env:AUTOTUNE_NOPE}": "parallel.tp: a reference that leads nowhere: Environment variable",
    "parallel.tp=${parallel.tp}": "parallel.tp: a reference that leads nowhere: Recursive interpolation",
    "parallel.tp=${foo:1}": "parallel.tp: no such kind of reference: write ${KEY} or ${oc.env:NAME}",
    "seed=${parallel}": "workload.seed: expected a whole number, got {tp:1,",
    "parallel.tp=${model.path}": "parallel.tp: expected a whole number, got meta-llama/Llama-3.1-8B-Instruct",
    "parallel.tp=???": "parallel.tp: must be given",
    "hydra.choices=5": "hydra.choices: no such key of Hydra",
    "hydra.job=null": "hydra.job: Hydra takes no such value",
    "hydra.sweeper.params=abc": "hydra.sweeper.params: Hydra takes no such value",
    "hydra/launcher=null": "hydra/launcher=null: no such preset of Hydra; known: autotune, basic",
    "hydra.job.env_copy=[AUTOTUNE_NOPE]": "the overrides cannot be put together (KeyError)",
    "runtime.args.x=[": "runtime.args.x=[: cannot be read: check its brackets",
    "runtime.args.x=foo(1)": "runtime.args.x=foo(1): cannot be read: foo(1): Unknown function",
    "runtime.args.x=int(interval(1,inf))": "a range needs two ends that are numbers",
    "runtime.args.x={a:choice(1,2)}": "several values stand for the whole value, not inside it",
    "parallel@x=tp2": "parallel@x=tp2: a preset has its own place: leave out @x",
    "quant={gemm_dtype:fp8}": "expected the name of a preset; values are set by quant.KEY=VALUE",
    "=3": "=3: which key? Give KEY=VALUE",
}


def refused(*words: str, multirun: bool = False, config_name: str = "config") -> tuple[str, ...]:
    """The problems of a command."""
    with compose.hydra_on(None) as hydra, pytest.raises(ConfigError) as failed:
        survey(hydra, ["gpus=h100_8x", *words], multirun=multirun, config_name=config_name)
    return failed.value.problems


@pytest.mark.parametrize("word", CASES)
def test_a_foreign_error_is_one_line_without_the_libraries_words(word: str) -> None:
    """What is wrong and what to do."""
    (problem,) = refused(word)
    assert CASES[word] in problem
    assert LIBRARY.search(problem) is None


def test_every_message_in_the_table_is_one_that_hydra_has() -> None:
    """A pattern that no message matches any more is a translation that is lost."""
    with compose.hydra_on(None) as hydra:
        said = []
        for word in list(CASES)[:4]:
            with pytest.raises(Exception, match=r".") as failed:
                compose.compose(hydra, [word])
            said.append(str(failed.value))
    assert [[bool(re.search(p, text)) for p in HYDRAS_WORDS].count(True) for text in said] == [1, 1, 1, 1]
    assert all(any(re.search(pattern, text) for text in said) for pattern in HYDRAS_WORDS)


@pytest.mark.parametrize("sweeper", ["hydra/sweeper=basic"])
def test_pythons_own_errors_from_composing_are_told_too(sweeper: str) -> None:
    """OmegaConf lets an AttributeError through for a dotted key in a map that was null."""
    (problem,) = refused(sweeper, '+hydra.sweeper.params={a.b:"1,2"}', multirun=True)
    assert problem.startswith(
        "the overrides cannot be put together (AttributeError): look at those of hydra.*"
    )


def test_two_overrides_that_contradict_each_other() -> None:
    """One takes away what the other one sets."""
    (problem,) = refused("gpus.spec=null", "gpus.spec.memory_gib=3")
    assert "for one that takes away what another one sets" in problem


@pytest.mark.parametrize("word", ["hydra.sweeper=5", "hydra.sweeper=null"])
def test_a_sweep_needs_a_sweeper(word: str) -> None:
    """Hydra would find out when the sweep begins."""
    with compose.hydra_on(None) as hydra:
        asked = survey(hydra, ["gpus=h100_8x", word], multirun=True)
    assert "hydra.sweeper: is no sweeper" in asked.problems[0]


@pytest.mark.parametrize("word", ["hydra/launcher=basic,autotune", "+hydra.sweeper.params.parallel=tp1,tp2"])
def test_hydras_own_settings_are_the_same_for_all(word: str) -> None:
    """They make no candidates."""
    assert refused(word, multirun=True) == (f"{word}: Hydra's own settings cannot be swept",)


def test_a_root_configuration_that_is_not_there() -> None:
    """The message names those that are."""
    problems = refused("parallel.tp=two", config_name="confg")
    assert problems == (
        "--config-name confg: no such root configuration; did you mean config?; known: config",
        "parallel.tp=two: expected a whole number",
    )
