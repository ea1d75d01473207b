"""The engine's command line as the engine would read it: its flag list, its words, its defaults.

Only the flag lists are shared with the rest of autotune. What a flag means is written here once more, on
purpose: a mistake of the mapper shows as a wrong engine, not as an agreement of two mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.deploy.simulated.cost_model import SGLANG_STATIC_FRACTION, VLLM_MEMORY_UTILIZATION
from autotune.plan.runtimes.flags import Flag, FlagList

Given = Mapping[str, Sequence[str]]
"""Words by the flag's own first name; none for a switch."""


class UsageError(Exception):
    """The engine's parser refuses the command line; it ends with status 2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineArguments:
    """What the command line asks for, in words that both engines have; GPUs and tokens are counts."""

    model: str
    served_name: str
    host: str
    port: int
    tp: int
    pp: int
    context_parallel: int
    replicas: int
    attention_dp: int
    decode_cp: int
    expert_parallel: bool
    max_sequences: int
    max_step_tokens: int
    max_model_len: int | None
    chunked_prefill: bool
    prefix_caching: bool
    memory_fraction: float
    quantization: str | None
    dtype: str
    kv_dtype: str
    metrics: bool


def parse(argv: Sequence[str], flags: FlagList, *, gpu_model: str, memory_gib: float) -> EngineArguments:
    """Return what the engine would do on GPUs of this model and memory.

    Raises: UsageError in the engine's words.
    """
    if flags.engine == "vllm":
        return _vllm(argv, flags, _vllm_defaults(gpu_model, memory_gib))
    return _sglang(argv, flags, _sglang_chunk(memory_gib))


def _vllm(argv: Sequence[str], flags: FlagList, defaults: tuple[int, int]) -> EngineArguments:
    if list(argv[:2]) != ["vllm", "serve"]:
        raise UsageError(f"vllm: error: expected `vllm serve`, got `{' '.join(argv[:2])}`")
    given, positional = _read(argv[2:], flags, "vllm")
    options = _Options(given, flags)
    model = options.text("--model", positional[0] if positional else "")
    sequences, step_tokens = defaults
    return EngineArguments(
        model=model,
        served_name=options.text("--served-model-name", model),
        host=options.text("--host", "0.0.0.0"),  # noqa: S104  (the engine's own default)
        port=options.number("--port", 8000),
        tp=options.number("--tensor-parallel-size", 1),
        pp=options.number("--pipeline-parallel-size", 1),
        context_parallel=options.number("--prefill-context-parallel-size", 1),
        replicas=options.number("--data-parallel-size", 1),
        attention_dp=1,
        decode_cp=options.number("--decode-context-parallel-size", 1),
        expert_parallel=options.switch("--enable-expert-parallel", default=False),
        max_sequences=options.number("--max-num-seqs", sequences),
        max_step_tokens=options.number("--max-num-batched-tokens", step_tokens),
        max_model_len=options.number_or_none("--max-model-len"),
        chunked_prefill=options.switch("--enable-chunked-prefill", default=True),
        prefix_caching=options.switch("--enable-prefix-caching", default=True),
        memory_fraction=float(options.text("--gpu-memory-utilization", str(VLLM_MEMORY_UTILIZATION))),
        quantization=options.text("--quantization", "") or None,
        dtype=options.text("--dtype", "auto"),
        kv_dtype=options.text("--kv-cache-dtype", "auto"),
        metrics=True,
    )


def _vllm_defaults(gpu_model: str, memory_gib: float) -> tuple[int, int]:
    """Sequences and step tokens by GPU. Source: vLLM 0.33.0 engine/arg_utils.py:2940-3006."""
    large = memory_gib >= 70 and "A100" not in gpu_model
    if memory_gib >= 160:
        return 1024, 16384
    return (1024, 8192) if large else (256, 2048)


def _sglang(argv: Sequence[str], flags: FlagList, default_chunk: int) -> EngineArguments:
    words = list(argv)
    starts = (["sglang", "serve"], ["python", "-m", "sglang.launch_server"])
    start = next((s for s in starts if words[: len(s)] == s), None)
    if start is None:
        raise UsageError(f"sglang: error: expected `sglang serve`, got `{' '.join(words[:2])}`")
    given, positional = _read(words[len(start) :], flags, "sglang serve")
    if positional:
        raise UsageError(f"sglang serve: error: unrecognized arguments: {' '.join(positional)}")
    options = _Options(given, flags)
    model = options.text("--model-path", "")
    chunk = options.number("--chunked-prefill-size", default_chunk)
    return EngineArguments(
        model=model,
        served_name=options.text("--served-model-name", model),
        host=options.text("--host", "127.0.0.1"),
        port=options.number("--port", 30000),
        tp=options.number("--tp-size", 1),
        pp=options.number("--pp-size", 1),
        context_parallel=1,
        replicas=options.number("--dp-size", 1),
        attention_dp=options.number("--attn-dp-size", 1),
        decode_cp=options.number("--dcp-size", 1),
        expert_parallel=options.number("--ep-size", 1) > 1,
        max_sequences=options.number("--max-running-requests", 4096),
        max_step_tokens=chunk if chunk > 0 else options.number("--max-prefill-tokens", 16384),
        max_model_len=options.number_or_none("--context-length"),
        chunked_prefill=chunk > 0,
        prefix_caching=not options.switch("--disable-radix-cache", default=False),
        memory_fraction=float(options.text("--mem-fraction-static", str(SGLANG_STATIC_FRACTION))),
        quantization=options.text("--quantization", "") or None,
        dtype=options.text("--dtype", "auto"),
        kv_dtype=options.text("--kv-cache-dtype", "auto"),
        metrics=options.switch("--enable-metrics", default=False),
    )


def _sglang_chunk(memory_gib: float) -> int:
    """Default chunk by memory in GiB. Source: SGLang 0.5.23 arg_groups/memory_hook.py."""
    sizes = ((20, 2048), (60, 4096), (160, 8192))
    return next((size for limit, size in sizes if memory_gib < limit), 16384)


class _Options:
    """Looks flags up by any of their names."""

    def __init__(self, given: Given, flags: FlagList) -> None:
        self._given, self._flags = given, flags

    def text(self, name: str, default: str) -> str:
        words = self._words(name)
        return words[0] if words else default

    def number(self, name: str, default: int) -> int:
        found = self.number_or_none(name)
        return default if found is None else found

    def number_or_none(self, name: str) -> int | None:
        words = self._words(name)
        if not words:
            return None
        try:
            return int(words[0])
        except ValueError:
            raise UsageError(f"error: argument {name}: invalid int value: '{words[0]}'") from None

    def switch(self, name: str, *, default: bool) -> bool:
        words = self._words(name)
        if words is None:
            return default
        return not words[0].startswith(("--no-", "--disable-")) or words[0] == name

    def _words(self, name: str) -> Sequence[str] | None:
        flag = self._flags.find(name)
        return None if flag is None else self._given.get(flag.names[0])


def _read(words: Sequence[str], flags: FlagList, program: str) -> tuple[dict[str, list[str]], list[str]]:
    """Return the words of each flag (for a switch: its spelling), and the positional ones."""
    given: dict[str, list[str]] = {}
    positional: list[str] = []
    unknown: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word.lstrip("-").isdigit():
            positional.append(word)
            continue
        name, equals, attached = word.partition("=")
        flag = flags.find(name)
        if flag is None:
            unknown.append(word)
            continue
        values = [attached] if equals else _take(flag, rest)
        given[flag.names[0]] = _checked(flag, name, values, program)
    if unknown:
        raise UsageError(f"{program}: error: unrecognized arguments: {' '.join(unknown)}")
    return given, positional


def _take(flag: Flag, rest: list[str]) -> list[str]:
    """The words that follow a flag and belong to it."""
    if flag.takes == "none":
        return []
    values: list[str] = []
    while rest and (not rest[0].startswith("--")) and (flag.takes == "list" or not values):
        values.append(rest.pop(0))
    return values


def _checked(flag: Flag, name: str, values: list[str], program: str) -> list[str]:
    if flag.takes == "none":
        if values:
            raise UsageError(f"{program}: error: argument {name}: ignored explicit argument '{values[0]}'")
        return [name]
    if not values:
        raise UsageError(f"{program}: error: argument {name}: expected one argument")
    wrong = [value for value in values if flag.choices and value not in flag.choices]
    if wrong:
        known = ", ".join(f"'{choice}'" for choice in flag.choices or ())
        raise UsageError(
            f"{program}: error: argument {name}: invalid choice: '{wrong[0]}' (choose from {known})"
        )
    return values
