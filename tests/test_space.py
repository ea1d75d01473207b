"""Spaces: grids, conditional dimensions, ranges."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from autotune.errors import ConfigError
from autotune.space import Space, dimensions, own_dimensions, space_of

PARSER = OverridesParser.create()
TUNING = {
    "vllm": {"max_num_seqs": "16,64", "block_size": "choice(16,32)"},
    "sglang": {"page_size": "range(1,4)"},
    "tensorrt_llm": {"max_batch_size": "tag(log, int(interval(1,1024)))", "x": "interval(0.5,0.9)"},
}


def space(*words: str, own: dict[str, dict[str, str]] | None = None) -> Space:
    """The space of a command."""
    common = dimensions(PARSER.parse_overrides(list(words)))
    chosen = [word for dimension in common if dimension.key == "runtime" for word in dimension.words]
    runtimes = {word: word.partition("=")[2] for word in chosen} or {"": "vllm"}
    return space_of(common, own_dimensions(own or {}, PARSER), runtimes)


def test_the_last_key_varies_fastest() -> None:
    """As Hydra's own grid."""
    assert list(space("a=1,2", "b=x", "c=3,4").points()) == [
        ("a=1", "b=x", "c=3"),
        ("a=1", "b=x", "c=4"),
        ("a=2", "b=x", "c=3"),
        ("a=2", "b=x", "c=4"),
    ]


def test_of_a_key_given_twice_the_later_counts() -> None:
    """As on any command line."""
    assert list(space("a=1,2", "a=3").points()) == [("a=3",)]


def test_a_runtimes_own_arguments_do_not_cross_the_others() -> None:
    """Four points of vLLM and three of SGLang, not twelve."""
    own = {name: TUNING[name] for name in ("vllm", "sglang")}
    points = list(space("runtime=vllm,sglang", own=own).points())
    assert len(points) == 2 * 2 + 3
    assert points[0] == ("runtime=vllm", "++runtime.args.max_num_seqs=16", "++runtime.args.block_size=16")
    assert points[-1] == ("runtime=sglang", "++runtime.args.page_size=3")


def test_the_runtime_of_the_command_has_its_own_arguments_too() -> None:
    """Without a word for the runtime, the preset's serves."""
    assert len(list(space(own=TUNING).points())) == 4


def test_what_the_command_gives_is_not_varied() -> None:
    """An explicit argument wins over the space."""
    points = list(space("runtime=vllm", "++runtime.args.block_size=8", own={"vllm": TUNING["vllm"]}).points())
    assert [point[1:] for point in points] == [
        ("++runtime.args.block_size=8", "++runtime.args.max_num_seqs=16"),
        ("++runtime.args.block_size=8", "++runtime.args.max_num_seqs=64"),
    ]


def test_samples_are_the_same_for_the_same_seed_and_inside_their_ranges() -> None:
    """Whole numbers stay whole; a log range draws orders of magnitude evenly."""
    ranged = space("runtime=tensorrt_llm", own=TUNING)
    samples = list(ranged.samples(400, seed=3))
    assert samples == list(ranged.samples(400, seed=3))
    assert samples != list(ranged.samples(400, seed=4))
    values = [{k: float(v) for k, _, v in (w.partition("=") for w in point[1:])} for point in samples]
    sizes = [value["++runtime.args.max_batch_size"] for value in values]
    assert all(size == int(size) and 1 <= size <= 1024 for size in sizes)
    assert 150 < sum(size <= 32 for size in sizes) < 250
    assert all(0.5 <= value["++runtime.args.x"] <= 0.9 for value in values)


def test_ranges_are_told() -> None:
    """A grid is refused for them."""
    words = ("runtime=vllm,tensorrt_llm", "runtime.args.y=interval(1,2)")
    ranges = ("runtime.args.y", "runtime.args.max_batch_size", "runtime.args.x")
    assert space(*words, own=TUNING).ranges == ranges
    assert space("a=1,2", own={"vllm": TUNING["vllm"]}).ranges == ()


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["runtime=vllm"], id="of a runtime that is not chosen"),
        pytest.param(["runtime=tensorrt_llm", "++runtime.args.max_batch_size=8", "+runtime.args.x=0.6"], id="of an argument that is given"),
    ],
)  # fmt: skip
def test_what_no_point_has_is_no_part_of_the_space(words: list[str]) -> None:
    """Its ranges keep nobody from a grid."""
    assert space(*words, own=TUNING).ranges == ()


def test_true_and_false_are_written_as_users_write_them() -> None:
    """In labels, in the space, in what is recorded."""
    points = list(space("a=choice(true,False)", "b=true").points())
    assert points == [("a=true", "b=true"), ("a=false", "b=true")]


def test_large_whole_numbers_stay_whole() -> None:
    """1048576 is no 1.04858e+06."""
    (dimension,) = dimensions([PARSER.parse_override("a=int(interval(1048575,1048577))")])
    assert dimension.ends() == ("a=1048575", "a=1048577")
    assert str(dimension.interval) == "1048575 to 1048577, whole numbers"
    ((word,),) = space("a=int(interval(1048575,1048577))").samples(1, seed=1)
    assert word in {"a=1048575", "a=1048576", "a=1048577"}


def test_values_that_cannot_be_used_are_named_all_at_once() -> None:
    """With their keys; so is a runtime that does not exist."""
    wrong = {
        "vllm": {"a": "choice(", "b": "[1", "c": "int(interval(9,1))", "d": "glob(*)"},
        "sgl": {"e": "1"},
    }
    with pytest.raises(ConfigError) as failed:
        own_dimensions(wrong, PARSER, runtimes=["vllm", "sglang"])
    assert [problem.split(": ")[0] for problem in failed.value.problems] == [
        "search.space.vllm.a=choice(",
        "search.space.vllm.b=[1",
        "search.space.vllm.c=int(interval(9,1))",
        "search.space.vllm.d=glob(*)",
        "search.space.sgl",
    ]
