"""From an engine's log and exit to a failure kind: one table, specific causes first.

The whole log is searched, not its tail: `Engine core initialization failed` always comes last and
never says why.

Kinds that no log shows are found where they happen: `startup_timeout` (`deploy/`), `stalled` and
`trial_timeout` (`watch.py`), `all_requests_failed` and `benchmark_failed` (`benchmark/`), `no_row` (replays).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from autotune.errors import TrialError


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A text in an engine's log, what it means, and what the user can do."""

    kind: str
    pattern: str
    advice: str


# Source: engine-facts section 5 (vLLM 0.33.0, SGLang 0.5.23), and logs of vLLM 0.32.0 on a CPU.
SIGNATURES: tuple[Signature, ...] = (
    Signature(
        kind="bad_arguments",
        pattern=r"error: (unrecognized arguments|argument .*: (invalid|expected|ignored)|ambiguous option).*",
        advice="change runtime.args, or runtime.version to the engine that is installed",
    ),
    Signature(
        kind="bad_arguments",
        pattern=r".*(max_num_batched_tokens \(\d+\) (must be|is smaller)"
        r"|kv_cache_dtype=.* is incompatible).*",
        advice="change runtime.args or the serving preset",
    ),
    Signature(
        kind="port_in_use",
        pattern=r".*(Address already in use|Port is already in use|port \d+ is already in use).*",
        advice="leave deploy.port unset to get a free one",
    ),
    Signature(
        kind="cuda_oom",
        pattern=r".*(OutOfMemoryError|CUDA out of memory|CUDA error: out of memory).*",
        advice="use more GPUs (parallel=tp2, ...) or a smaller serving.max_model_len",
    ),
    Signature(
        kind="kv_cache_too_small",
        pattern=r".*(No available memory for the cache blocks"
        r"|on kv cache allocation is less than requested|To serve at least one request with"
        r"|leave no GPU memory for the KV cache|Not enough memory\. Please try).*",
        advice="use more GPUs, quant.kvcache_dtype=fp8 or a smaller serving.max_model_len",
    ),
    Signature(
        kind="context_too_long",
        pattern=r".*(max_model_len|context_length) \(\d+\) is greater than the derived.*",
        advice="lower serving.max_model_len",
    ),
    Signature(
        kind="layout_invalid",
        pattern=r".*(must be divisible by tensor parallel size|\d+ is not divisible by \d+"
        r"|World size \(\d+\) is larger than|invalid device ordinal"
        r"|Decode context parallelism for GQA/MQA requires|Number of experts in the model must be greater"
        r"|cannot both be larger than 1|Model Runner V1 does not support"
        r"|Not enough allowed NUMA nodes to bind threads|must be divisible by).*",
        advice="choose another parallel preset",
    ),
    Signature(
        kind="quantization_unsupported",
        pattern=r".*(is not supported for the current GPU|no longer supports online quantization"
        r"|Unknown quantization method|Invalid kv_cache_dtype|requires Blackwell|requires an SM100"
        r"|Cannot find the config file for|static_scaled_fp8_quant).*",
        advice="choose another quant preset or a checkpoint that is quantized already",
    ),
    Signature(
        kind="model_missing",
        pattern=r".*(is not a local folder and is not a valid model identifier|Repo id must be"
        r"|No such file or directory: .*config\.json|LocalEntryNotFoundError"
        r"|couldn't connect to|cannot find the requested files).*",
        advice="check model.path",
    ),
    Signature(
        kind="engine_died",
        pattern=r".*(Engine core initialization failed|EngineDeadError|EngineCore encountered"
        r"|Scheduler hit an exception|Received sigquit from a child).*",
        advice="read engine.log of the trial",
    ),
)


def classify(log: str, exit_code: int | None) -> TrialError:
    """Return why an engine ended, with the line that shows it."""
    for signature in SIGNATURES:
        for number, line in enumerate(log.splitlines(), 1):
            found = re.search(signature.pattern, line)
            if found:
                return TrialError(
                    signature.kind,
                    f"the engine ended: {signature.kind.replace('_', ' ')}",
                    evidence=f"engine.log:{number}: {line.strip()[:300]}",
                    advice=signature.advice,
                )
    return TrialError(
        "engine_died",
        f"the engine ended {_how(exit_code)}",
        evidence=last_line(log),
        advice="read engine.log of the trial",
    )


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "without an exit status"
    return f"by signal {-exit_code}" if exit_code < 0 else f"with exit status {exit_code}"


def last_line(log: str) -> str:
    """Return the last line of a log that says anything, with its number."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"engine.log:{len(log.splitlines())}: {lines[-1][:300]}" if lines else "engine.log is empty"
