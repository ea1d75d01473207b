"""Whether an engine starts; if not, its cause and the log that it leaves.

The words of each engine stand in `vllm_refusals` and `sglang_refusals`; here are those that both share, and
what the stand-in itself cannot do and says so.
"""

from __future__ import annotations

from dataclasses import dataclass

from autotune.deploy.simulated import sglang_refusals, vllm_refusals
from autotune.deploy.simulated.cost_model import KV_BYTES, WEIGHT_BYTES
from autotune.deploy.simulated.number_formats import MINIMUM_CAPABILITY
from autotune.deploy.simulated.situation import Rule, Situation

OURS = "NotImplementedError: the simulated engine has no cost model for"


def minimum_capability(s: Situation) -> int:
    """Return what the quantization asks of the GPU; 0 if nothing is known."""
    return MINIMUM_CAPABILITY.get((s.engine, s.asked.quantization or ""), 0)


SHARED = (
    Rule(
        holds=lambda s: 0 < s.capability < minimum_capability(s),
        words=(
            "ValueError: The quantization method {s.asked.quantization} is not supported for the current GPU. "
            "Minimum capability: {minimum}. Current capability: {s.capability}."
        ),
        source="vLLM 0.33.0 config/vllm.py:931-936; SGLang 0.5.23 model_loader/loader.py:260-264, likewise",
    ),
    Rule(
        holds=lambda s: s.asked.quantization not in {None, *WEIGHT_BYTES},
        words=OURS + " --quantization {s.asked.quantization}",
        source="our own: the engine would start",
    ),
    Rule(
        holds=lambda s: s.asked.kv_dtype not in KV_BYTES,
        words=OURS + " --kv-cache-dtype {s.asked.kv_dtype}",
        source="our own: the engine would start",
    ),
    Rule(
        holds=lambda s: s.asked.dtype in {"float", "float32"},
        words=OURS + " --dtype {s.asked.dtype}",
        source="our own: the engine would start",
    ),
)

RULES = {"vllm": vllm_refusals.RULES, "sglang": sglang_refusals.RULES}

TRACEBACK = 'Traceback (most recent call last):\n  File "<simulated>", line 1, in <module>'
"""A traceback-like block: the stand-in has no lines of the engine's source to show."""


LAST_WORDS = {
    "vllm": (
        "ERROR EngineCore failed to start.",
        f"{TRACEBACK}\n"
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    ),
    "sglang": (
        "Scheduler hit an exception:",
        "Received sigquit from a child process. It usually means the child failed.",
    ),
}
"""How the log of an engine that died begins and ends. Source: engine-facts section 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an engine does not start: the `rule`, the `cause` in its words, and the end of its `log`."""

    rule: Rule
    cause: str
    log: str


def rules_of(engine: str) -> tuple[Rule, ...]:
    """Return every rule in the order in which they speak: the shared ones before memory is counted."""
    own = RULES[engine]
    memory = next(i for i, rule in enumerate(own) if "OutOfMemory" in rule.words)
    return (*own[:memory], *SHARED, *own[memory:])


def refusal(situation: Situation) -> Refusal | None:
    """Return what the engine has against what it was asked, the first that it would say; None if it starts."""
    for rule in rules_of(situation.engine):
        if rule.holds(situation):
            words = rule.words.format(s=situation, minimum=minimum_capability(situation))
            return _pydantic(rule, words) if rule.config else _dead(situation.engine, rule, words)
    return None


def _pydantic(rule: Rule, words: str) -> Refusal:
    """The configuration of vLLM is refused before an engine is started.

    Source: tests/logs/vllm-0.32.0-tensor-parallel-3.log.
    """
    cause = f"Value error, {words}"
    return Refusal(
        rule=rule,
        cause=cause,
        log=(
            f"{TRACEBACK}\npydantic_core._pydantic_core.ValidationError: 1 validation error for {rule.config}\n"
            f"  {cause} [type=value_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs]\n"
            "    For further information visit https://errors.pydantic.dev/2.14/v/value_error"
        ),
    )


def _dead(engine: str, rule: Rule, cause: str) -> Refusal:
    """The cause comes first, the last words never say it. Source: engine-facts section 5."""
    first, last = LAST_WORDS[engine]
    return Refusal(rule=rule, cause=cause, log=f"{first}\n{TRACEBACK}\n{cause}\n\n{last}")
