"""The flag lists: what the engines' own command lines accept."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from autotune.errors import ConfigError
from autotune.plan.runtimes.flags import FLAG_LISTS, known_versions, load_flags
from scripts.dump_flags import canonical, rows

LISTS = sorted(path.stem for path in FLAG_LISTS.glob("*.json"))

# Gone since: a hard "unrecognized arguments". Source: vLLM 0.33.0 engine/arg_utils.py.
REMOVED_FROM_VLLM = (
    "--swap-space",
    "--num-scheduler-steps",
    "--calculate-kv-scales",
    "--max-seq-len-to-capture",
    "--preemption-mode",
    "--guided-decoding-backend",
    "--cuda-graph-sizes",
    "--use-v2-block-manager",
    "--expert-parallel-size",
    "--tp",
)


def test_every_shipped_list_is_one_that_the_tests_know() -> None:
    """A new list comes with facts about it."""
    assert LISTS == [
        "sglang-0.5.23",
        "tensorrt_llm-1.2.1",
        "tensorrt_llm-1.3.0rc24",
        "vllm-0.32.0",
        "vllm-0.33.0",
    ]


@pytest.mark.parametrize(
    ("engine", "version", "name", "first"),
    [
        ("vllm", "0.32.0", "--no-enable-prefix-caching", "--enable-prefix-caching"),
        ("vllm", "0.33.0", "--no-enable-prefix-caching", "--enable-prefix-caching"),
        ("vllm", "0.33.0", "--disable-prefix-caching", "--enable-prefix-caching"),
        ("vllm", "0.33.0", "--no-disable-sliding-window", "--disable-sliding-window"),
        ("vllm", "0.32.0", "-tp", "--tensor-parallel-size"),
        ("vllm", "0.33.0", "-tp", "--tensor-parallel-size"),
        ("vllm", "0.33.0", "-dpm", "--data-parallel-multi-port-external-lb"),
        ("vllm", "0.33.0", "-ep", "--enable-expert-parallel"),
        ("vllm", "0.33.0", "-q", "--quantization"),
        ("vllm", "0.33.0", "--device-memory-utilization", "--gpu-memory-utilization"),
        ("vllm", "0.32.0", "--host", "--host"),
        ("vllm", "0.33.0", "--host", "--host"),
        ("vllm", "0.33.0", "--api-key", "--api-key"),
        ("vllm", "0.33.0", "--served-model-name", "--served-model-name"),
        ("sglang", "0.5.23", "--model", "--model-path"),
        ("sglang", "0.5.23", "--tensor-parallel-size", "--tp-size"),
        ("sglang", "0.5.23", "--attention-data-parallel-size", "--attn-dp-size"),
        ("sglang", "0.5.23", "--ep", "--ep-size"),
        ("sglang", "0.5.23", "--nccl-init-addr", "--dist-init-addr"),
    ],
)
def test_a_flag_is_found_by_any_of_its_spellings(engine: str, version: str, name: str, first: str) -> None:
    """Aliases and off forms lead to the same flag."""
    flag = load_flags(engine, version).find(name)
    assert flag is not None
    assert flag.names[0] == first
    assert flag is load_flags(engine, version).find(first)


@pytest.mark.parametrize(
    ("engine", "version", "name"),
    [
        *[("vllm", version, name) for version in ("0.32.0", "0.33.0") for name in REMOVED_FROM_VLLM],
        ("vllm", "0.32.0", "--disable-prefix-caching"),
        ("vllm", "0.32.0", "--watchdog-config"),
        ("sglang", "0.5.23", "--torchao-config"),
        ("sglang", "0.5.23", "--cuda-graph-max-bs"),
        ("sglang", "0.5.23", "--cuda-graph-bs"),
        ("sglang", "0.5.23", "--no-disable-radix-cache"),
        ("sglang", "0.5.23", "--help"),
    ],
)
def test_what_the_engine_refuses_is_not_found(engine: str, version: str, name: str) -> None:
    """Removed flags, forms of another version, abbreviations."""
    assert load_flags(engine, version).find(name) is None


@pytest.mark.parametrize(
    ("engine", "version", "name", "takes", "kind"),
    [
        ("vllm", "0.32.0", "--max-num-seqs", "value", "int"),
        ("vllm", "0.33.0", "--max-num-seqs", "value", "int"),
        ("vllm", "0.33.0", "--max-model-len", "value", "human_int"),
        ("vllm", "0.33.0", "--gpu-memory-utilization", "value", "float"),
        ("vllm", "0.33.0", "--compilation-config", "value", "json"),
        ("vllm", "0.33.0", "--enforce-eager", "none", None),
        ("vllm", "0.33.0", "--cudagraph-capture-sizes", "list", "int"),
        ("sglang", "0.5.23", "--mem-fraction-static", "value", "float"),
        ("sglang", "0.5.23", "--disable-radix-cache", "none", None),
        ("sglang", "0.5.23", "--cuda-graph-bs-decode", "list", "int"),
    ],
)
def test_a_flag_tells_what_it_takes(
    engine: str, version: str, name: str, *, takes: str, kind: str | None
) -> None:
    """Switch, one value or several, and the type of a value."""
    flag = load_flags(engine, version).find(name)
    assert flag is not None
    assert (flag.takes, flag.type) == (takes, kind)


@pytest.mark.parametrize(
    ("engine", "version", "name", "allowed", "refused"),
    [
        ("vllm", "0.32.0", "--dtype", "bfloat16", "bf16"),
        ("vllm", "0.33.0", "--dtype", "bfloat16", "bf16"),
        ("vllm", "0.33.0", "--performance-mode", "throughput", "fast"),
        ("vllm", "0.33.0", "--spec-method", "step5_mtp", "medusa"),
        ("sglang", "0.5.23", "--kv-cache-dtype", "fp8_e4m3", "fp8"),
        ("sglang", "0.5.23", "--schedule-policy", "lpm", "fifo"),
    ],
)
def test_choices_are_those_of_the_version(
    engine: str, version: str, name: str, *, allowed: str, refused: str
) -> None:
    """What one engine calls fp8 another calls fp8_e4m3."""
    flag = load_flags(engine, version).find(name)
    assert flag is not None
    assert flag.choices is not None
    assert allowed in flag.choices
    assert refused not in flag.choices


def test_choices_that_depend_on_the_machine_are_free() -> None:
    """The lists were dumped without a GPU: a device that machine lacks is no error elsewhere."""
    flag = load_flags("vllm", "0.32.0").find("--mm-processor-device")
    assert flag is not None
    assert flag.choices is None


@pytest.mark.parametrize(
    ("engine", "version", "name", "near"),
    [
        ("vllm", "0.33.0", "--max-num-seq", "--max-num-seqs"),
        ("vllm", "0.33.0", "--gpu-memory-utilisation", "--gpu-memory-utilization"),
        ("sglang", "0.5.23", "--mem-fraction", "--mem-fraction-static"),
        ("sglang", "0.5.23", "--xyzzy", None),
    ],
)
def test_nearest_is_what_was_probably_meant(engine: str, version: str, name: str, near: str | None) -> None:
    """A typing error gets a suggestion, nonsense gets none."""
    assert load_flags(engine, version).nearest(name) == near


def test_versions_are_ordered_by_age() -> None:
    """Oldest first; an engine without lists has none."""
    assert known_versions("vllm") == ("0.32.0", "0.33.0")
    assert known_versions("sglang") == ("0.5.23",)
    assert known_versions("vl*") == ()


@pytest.mark.parametrize(
    ("engine", "version", "message"),
    [
        (
            "vllm",
            "0.31.0",
            r"runtime\.version=0\.31\.0: no flag list for vllm: must be one of 0\.32\.0, 0\.33\.0",
        ),
        ("trtllm", "1.2.1", r"no flag list for trtllm: no version of trtllm has one"),
        ("vllm", "../x", r"runtime\.version=\.\./x"),
    ],
    ids=["version", "engine", "path"],
)
def test_an_unknown_version_is_a_config_error(engine: str, version: str, message: str) -> None:
    """The message names the known versions."""
    with pytest.raises(ConfigError, match=message):
        load_flags(engine, version)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_in_canonical_form(name: str) -> None:
    """Dumping a list again gives the same bytes, so that a diff shows nothing but changed flags."""
    text = (FLAG_LISTS / f"{name}.json").read_text("utf-8")
    content = json.loads(text)
    assert canonical(content) == text
    assert f"{content['engine']}-{content['version']}" == name


@pytest.mark.parametrize("name", LISTS)
def test_no_spelling_stands_for_two_flags(name: str) -> None:
    """Every spelling occurs once, and every flag has a long one in front."""
    engine, _, version = name.partition("-")
    flags = load_flags(engine, version).flags
    spellings = [spelling for flag in flags for spelling in flag.names]
    assert len(spellings) == len(set(spellings))
    assert all(flag.names[0].startswith("--") for flag in flags)


def test_rows_of_a_parser_hold_all_it_accepts() -> None:
    """Aliases, arity, choices in order, and an off form that the help does not show."""
    import argparse

    parser = argparse.ArgumentParser()
    switch = parser.add_argument("--enable-x", action=argparse.BooleanOptionalAction)
    switch.option_strings = ["--enable-x"]
    parser.add_argument("-r", "--rank", type=int, choices=[16, 8, 128])
    parser.add_argument("--names", nargs="+", type=str)
    parser.add_argument("--token", nargs="?")
    assert rows(parser) == [
        {"names": ["--enable-x", "--no-enable-x"], "takes": "none", "choices": None, "type": None},
        {"names": ["--rank", "-r"], "takes": "value", "choices": ["8", "16", "128"], "type": "int"},
        {"names": ["--names"], "takes": "list", "choices": None, "type": "str"},
        {"names": ["--token"], "takes": "value", "choices": None, "type": None},
    ]


def test_the_lists_load_without_the_heavy_imports() -> None:
    """The stand-in engine starts with them, and its start-up time is part of every test."""
    probe = (
        "import sys\n"
        "from autotune.plan.runtimes import flags\n"
        "print(sorted({'hydra', 'omegaconf', 'docker', 'mlflow', 'optuna'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=FLAG_LISTS.parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"
