"""Engine arguments under canonical names: checked against the flag list of the version, written out.

The canonical name of a setting is its flag's first spelling with underscores (`max_num_seqs`,
`tensor_parallel_size`), or the key of the options file where it has no flag (`kv_cache_config.dtype`).
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from autotune.plan.runtimes.flags import Flag, FlagList, known_versions, load_flags

WHOLE = ("int", "human_int")  # types of flags that take no fraction; human_int: 16k too
ELSEWHERE = {
    "parallel.tp": ("tp", "tp_size", "tensor_parallel_size"),
    "parallel.pp": ("pp", "pp_size", "pipeline_parallel_size"),
    "parallel.dp": ("dp", "dp_size", "data_parallel_size"),
    "parallel.attn_dp": (
        *("attn_dp", "attn_dp_size", "attention_data_parallel_size"),
        *("enable_dp_attention", "enable_attention_dp"),
    ),
    "parallel.ep": (
        *("ep", "ep_size", "expert_parallel_size", "moe_expert_parallel_size", "enable_expert_parallel"),
    ),
    "parallel.dcp": ("dcp", "dcp_size", "decode_context_parallel_size"),
    "parallel.cp": (
        *("cp", "cp_size", "context_parallel_size", "prefill_context_parallel_size"),
        *("attn_cp_size", "attention_context_parallel_size"),
    ),
    "parallel.moe_tp": ("moe_tp", "moe_tp_size", "moe_tensor_parallel_size"),
    "parallel.moe_dense_tp": ("moe_dense_tp", "moe_dense_tp_size"),
    "serving.max_running_requests": ("max_running_requests", "max_num_seqs", "max_batch_size"),
    "serving.max_batched_tokens": (
        *("max_batched_tokens", "max_num_batched_tokens", "chunked_prefill_size", "max_num_tokens"),
    ),
    "serving.max_model_len": ("max_model_len", "context_length", "max_seq_len"),
    "serving.prefix_caching": ("prefix_caching", "enable_prefix_caching"),
    "serving.chunked_prefill": ("chunked_prefill", "enable_chunked_prefill"),
}
"""The key that says for every engine what one of them calls otherwise. Source: the engines' flag lists."""


def canonical(args: Mapping[str, Any], flags: FlagList) -> tuple[dict[str, Any], list[str]]:
    """Return `args` by canonical names, and what is wrong with them: a setting that is given twice.

    A name that the engine lacks is kept, for `check` to find. Options that are nested become dotted keys.
    """
    found: dict[str, Any] = {}
    given: dict[str, str] = {}
    problems = []
    for name, value in _flattened(args, flags):
        key, meant = _canonical(name, value, flags)
        if key in found and found[key] != meant:
            problems.append(f"runtime.args.{name} and runtime.args.{given[key]} are one setting: give one")
        found[key], given[key] = meant, name
    return found, problems


def check(args: Mapping[str, Any], flags: FlagList) -> list[str]:
    """Return what is wrong with canonical `args`: names the engine lacks, values outside its choices."""
    problems: list[str] = []
    for name, value in args.items():
        flag = _flag(name, flags)
        if flag is None:
            problems.append(_unknown(name, flags))
        elif value is not None:
            problems.extend(_value_problems(name, value, flag))
    return problems


def command_line(args: Mapping[str, Any], flags: FlagList) -> list[str]:
    """Return the words for those `args` that are flags.

    Null leaves one out, true and false switch, lists and maps expand.
    """
    words: list[str] = []
    for name, value in args.items():
        spelling = flags.spelling(name)
        if value is None or spelling is None:
            continue
        flag = flags.find(spelling)
        if isinstance(value, bool) and flag is not None and flag.takes == "none":
            words.extend(_switch(spelling, flags, on=value))
        elif isinstance(value, Mapping):
            words.extend([spelling, json.dumps(value, sort_keys=True)])
        elif isinstance(value, Sequence) and not isinstance(value, str):
            words.extend([spelling, *map(_word, value)])
        else:
            words.extend([spelling, _word(value)])
    return words


def options_file(args: Mapping[str, Any], flags: FlagList) -> dict[str, Any]:
    """Return those `args` that have no flag as the nested content of the engine's options file."""
    content: dict[str, Any] = {}
    for name, value in args.items():
        if value is None or flags.spelling(name) is not None or name not in flags.options:
            continue
        *folders, last = name.split(".")
        node = content
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value
    return content


def _flattened(args: Mapping[str, Any], flags: FlagList, prefix: str = "") -> list[tuple[str, Any]]:
    """A map stays one where a flag or an option takes it; an options file's groups become dotted."""
    pairs: list[tuple[str, Any]] = []
    for name, value in args.items():
        key = f"{prefix}{name}"
        group = flags.options_flag is not None and key not in flags.options and not flags.spelling(key)
        if group and isinstance(value, Mapping):
            pairs += _flattened(value, flags, f"{key}.")
        else:
            pairs.append((key, value))
    return pairs


def _canonical(name: str, value: Any, flags: FlagList) -> tuple[str, Any]:
    """An off form of a switch is its on form with the opposite value."""
    spelling = flags.spelling(name)
    flag = flags.find(spelling) if spelling is not None else flags.setting(name)
    if flag is None:
        return name, value
    first = flag.names[0]
    key = first.removeprefix("--").replace("-", "_")
    if spelling is not None and isinstance(value, bool) and _is_off(spelling, first):
        return key, not value
    return key, value


def _is_off(spelling: str, first: str) -> bool:
    off = (f"--no-{first[2:]}", first.replace("--enable-", "--disable-", 1))
    return spelling != first and spelling in off


def _flag(name: str, flags: FlagList) -> Flag | None:
    spelling = flags.spelling(name)
    return flags.find(spelling) if spelling is not None else flags.options.get(name)


def _unknown(name: str, flags: FlagList) -> str:
    kind = "argument or option" if flags.options else "argument"
    return f"runtime.args.{name}: {flags.engine} {flags.version} has no such {kind}{_instead(name, flags)}"


def _instead(name: str, flags: FlagList) -> str:
    """What was probably meant: a key of ours, another version's argument, or one with a name like it."""
    for key, names in ELSEWHERE.items():
        if name.replace("-", "_") in names:
            return f"; set {key}, which every engine has"
    has = [v for v in known_versions(flags.engine) if _flag(name, load_flags(flags.engine, v)) is not None]
    if has:
        return f"; {flags.engine} {', '.join(has)} has it: set runtime.version"
    long = (word[2:] for flag in flags.flags for word in flag.names if word.startswith("--"))
    return _near(name, tuple(sorted({*(word.replace("-", "_") for word in long), *flags.options})))


@lru_cache(maxsize=256)
def _near(name: str, known: tuple[str, ...]) -> str:
    """Asked for each candidate of a sweep, and slow: 1 ms."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _switch(spelling: str, flags: FlagList, *, on: bool) -> list[str]:
    """A flag without an off form is off when it is left out; 0.32 of vLLM knows --no-enable-x only."""
    if on:
        return [spelling]
    off = [f"--no-{spelling[2:]}", spelling.replace("--enable-", "--disable-", 1)]
    return [word for word in off if word != spelling and flags.find(word)][:1]


def _value_problems(name: str, value: Any, flag: Flag) -> list[str]:
    where = f"runtime.args.{name}={_word(value)}"
    if flag.takes == "none":
        return [] if isinstance(value, bool) else [f"{where}: a switch; give true, false or null"]
    if isinstance(value, bool) and flag.choices is None and flag.type in {"int", "float"}:
        return [f"{where}: expected a number"]
    if flag.takes == "value" and isinstance(value, Sequence) and not isinstance(value, str):
        return [f"{where}: takes one value, got {len(value)}"]
    values = value if flag.takes == "list" and isinstance(value, Sequence) else [value]
    if flag.choices and not isinstance(values, str):
        return [
            f"{where}: must be one of {', '.join(flag.choices)}"
            for item in values
            if _word(item) not in flag.choices
        ]
    return _type_problems(where, value, flag)


def is_whole(name: str, flags: FlagList) -> bool:
    """Return whether the engine takes nothing but whole numbers for the argument `name`."""
    flag = _flag(name, flags)
    return flag is not None and flag.takes == "value" and flag.type in WHOLE


def _type_problems(where: str, value: Any, flag: Flag) -> list[str]:
    if flag.takes == "value" and flag.type in WHOLE and isinstance(value, float):
        return [f"{where}: expected a whole number; for a range give int(interval(...))"]
    kinds: dict[str | None, tuple[Callable[[str], object], str]] = {
        "int": (int, "a whole number"),
        "float": (_finite, "a number"),
        "bool": (_bool, "true or false"),
    }
    if flag.takes != "value" or flag.type not in kinds:
        return []
    convert, expected = kinds[flag.type]
    try:
        convert(str(value))
    except ValueError:
        return [f"{where}: expected {expected}"]
    return []


def _finite(word: str) -> float:
    if not math.isfinite(number := float(word)):
        raise ValueError(word)
    return number


def _bool(word: str) -> bool:
    if word not in {"True", "False"}:
        raise ValueError(word)
    return word == "True"


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
