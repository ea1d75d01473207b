"""Files of the user's own presets: everything that is wrong, with the file's name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from autotune import compose
from autotune.errors import ConfigError
from autotune.overrides import OverrideChecker
from autotune.preset_files import PresetFiles
from autotune.survey import survey

Write = Callable[[str, str | bytes], None]
Problems = Callable[..., tuple[str, ...]]
EXPERIMENT = "# @package _global_\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a preset into the user's own folder."""

    def to_file(name: str, content: str | bytes) -> None:
        file = tmp_path / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    return to_file


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """The problems of a command with the user's own folder; none if it is understood."""

    def of(*words: str, multirun: bool = True, config_name: str = "config") -> tuple[str, ...]:
        try:
            with compose.hydra_on(str(tmp_path)) as hydra:
                return survey(
                    hydra, ["gpus=h100_8x", *words], multirun=multirun, config_name=config_name
                ).problems
        except ConfigError as error:
            return error.problems

    return of


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"tp: 2\n\xff\xfe\n", "not UTF-8 text (byte 6): save it as UTF-8", id="no text"),
        pytest.param("tp: [\n", "not YAML that can be read in line 2: expected the node content", id="broken"),
        pytest.param("tp: 1\ntp: 2\n", "not YAML that can be read in line 2: found duplicate key tp", id="twice"),
        pytest.param("- 1\n", "expected keys with their values, such as tp: 2; got a list", id="a list"),
        pytest.param("5\n", "expected keys with their values, such as tp: 2", id="a number"),
        pytest.param("tp: ${\n", "a reference that cannot be read: write ${KEY}", id="broken reference"),
        pytest.param("tp: many\n", "parallel.tp=many: expected a whole number", id="wrong value"),
        pytest.param("tpp: 2\n", "parallel.tpp: no such key; did you mean parallel.tp?", id="unknown key"),
        pytest.param("defaults: foo\n", "its defaults list: expected lines such as", id="defaults are a word"),
        pytest.param("defaults: [1]\n", "its defaults list: expected lines such as", id="defaults are numbers"),
        pytest.param("defaults: [nope, _self_]\n", "defaults: nope: no such file", id="defaults name no file"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong(content: str | bytes, expected: str, write: Write, problems: Problems) -> None:
    """One line with its name; the problems of the other overrides are told beside it."""
    write("parallel/mine", content)
    found = problems("parallel=mine", "serving.max_running_requests=0", multirun=False)
    assert found[0].startswith(f"parallel/mine.yaml: {expected}")
    assert found[1:] == ("serving.max_running_requests=0: must be at least 1",)


def test_a_value_left_open_must_be_given(write: Write, problems: Problems) -> None:
    """It does not fall back to the schema's default."""
    write("parallel/mine", "tp: ???\npp: 2\n")
    must = ("parallel.tp: must be given: parallel/mine.yaml leaves it open",)
    assert problems("parallel=mine", multirun=False) == must
    assert problems("parallel=mine,tp2") == must
    assert problems("parallel=mine", "parallel.tp=2") == ()
    assert problems("parallel=mine", "parallel.tp=1,2") == ()
    write("experiment/e", f"{EXPERIMENT}defaults: [override /parallel: mine]\nparallel: {{tp: 2}}\n")
    assert problems("+experiment=e") == ()


def test_values_of_a_space_are_read_like_those_of_the_command_line(write: Write, problems: Problems) -> None:
    """All of them at once."""
    space = "vllm:\n  a: int(interval(9,1))\n  b: [16, 32]\n  c: choice(\n  d: 1,2\nsgl:\n  e: 1,2\n"
    write("search/space/mine", space)
    found = problems("search/space=mine", "parallel.tp=two")
    assert [problem.split(": ")[:-1] for problem in found[1:4]] == [
        ["search/space/mine.yaml", "search.space.vllm.b=[16,32]"],
        ["search/space/mine.yaml", "search.space.vllm.a=int(interval(9,1))", "the lower end comes first"],
        [
            "search/space/mine.yaml",
            "search.space.vllm.c=choice(",
            "cannot be read",
            *found[3].split(": ")[3:-1],
        ],
    ]
    assert found[0] == "parallel.tp=two: expected a whole number"
    assert found[4:] == (
        "search/space/mine.yaml: search.space.sgl: no such runtime; known: sglang, tensorrt_llm, vllm",
    )


def test_an_experiment_is_read_with_all_that_it_chooses(write: Write, problems: Problems) -> None:
    """Its keys, its defaults list with the files there, what it sweeps and searches."""
    write("parallel/bad", "tp: two\n")
    write("quant/worse", "gemm_dtype: fp9\n")
    write(
        "experiment/mine",
        f"{EXPERIMENT}defaults:\n  - override /modell: tiny\n  - override /model: tinyy\n"
        "  - override /parallel: bad\nparalel:\n  tp: 2\nworkload:\n  loads: 4\n"
        "search:\n  space:\n    vllm:\n      z: range(1,1)\n"
        "hydra:\n  sweeper:\n    params:\n      quant: worse,nope\n      foo: 1,2\n",
    )
    found = "\n".join(problems("+experiment=mine"))
    for expected in (
        "experiment/mine.yaml: defaults: modell: no such group; did you mean model?",
        "experiment/mine.yaml: defaults: model=tinyy: no such preset; did you mean tiny?; known: ",
        "parallel/bad.yaml: parallel.tp=two: expected a whole number",
        "experiment/mine.yaml: paralel: no such key; did you mean parallel?",
        "experiment/mine.yaml: workload.loads=4: expected a list of numbers",
        "experiment/mine.yaml: search.space.vllm.z=range(1,1): no value lies in this range",
        "experiment/mine.yaml: hydra.sweeper.params: quant=nope: no such preset",
        "experiment/mine.yaml: hydra.sweeper.params: foo: no such key or group",
    ):
        assert expected in found
    assert len(found.splitlines()) == 8


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("parallel:\n  tp: 2\n", "begin the file with the line '# @package _global_'", id="no package"),
        pytest.param("# @package nope\ntp: 2\n", "nope is no key: begin the file with", id="unknown package"),
        pytest.param(f"{EXPERIMENT}hydra: {{sweeper: {{params: abc}}}}\n", "hydra.sweeper.params: expected keys with", id="no params"),
        pytest.param(f"{EXPERIMENT}hydra: {{sweeper: {{params: [1]}}}}\n", "hydra.sweeper.params: expected keys with", id="list of params"),
        pytest.param(f"{EXPERIMENT}- a\n", "expected keys with their values", id="a list"),
        pytest.param(f"{EXPERIMENT}quality: 5\n", "quality=5: expected nothing: it has no keys yet", id="node without keys"),
    ],
)  # fmt: skip
def test_an_experiment_that_is_wrong(content: str, expected: str, write: Write, problems: Problems) -> None:
    """In words that say what to do."""
    write("experiment/mine", content)
    (problem,) = problems("+experiment=mine")
    assert problem.startswith("experiment/mine.yaml: ")
    assert expected in problem


def test_what_the_command_chooses_wins_over_an_experiment(write: Write, problems: Problems) -> None:
    """A file that is not used is not read."""
    write("parallel/bad", "tp: two\n")
    params = "hydra:\n  sweeper:\n    params:\n      quant: nope\n"
    write("experiment/mine", f"{EXPERIMENT}defaults: [override /parallel: bad]\n{params}")
    assert problems("+experiment=mine", "parallel=tp2", "quant=default") == ()


def test_a_root_configuration_of_the_user(write: Write, problems: Problems) -> None:
    """Its keys, and the files that it chooses."""
    write("parallel/bad", "tp: two\n")
    write("mine", "defaults: [config, override /parallel: bad, _self_]\nseed: x\nfoo: 2\n")
    assert problems(config_name="mine") == (
        "parallel/bad.yaml: parallel.tp=two: expected a whole number",
        "mine.yaml: seed=x: expected a whole number",
        "mine.yaml: foo: no such key",
    )


def test_the_presets_that_come_with_autotune_are_fine() -> None:
    """The check has no complaints about any of them."""
    with compose.hydra_on(None) as hydra:
        presets = compose.presets(hydra)
        checker = OverrideChecker(presets, hydra.config_loader)
        files = PresetFiles(hydra, checker, checker.check([], multirun=True)[0])
        files.read((group, name) for group, names in presets.items() for name in names)
    assert files.problems == []
