"""Real logs of vLLM 0.32.0 on a CPU, each provoked once and trimmed: its kind and the line that shows it.

How each was provoked stands in `provoked` of the case; lines that were left out are counted in the log.
Memory limits were set with a memory cgroup and with `ulimit -v`, on the whole engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from autotune.failures import Evidence, classify

LOGS = Path(__file__).parents[1] / "logs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Real:
    """A log, how the engine ended, and what is to be found."""

    log: str
    provoked: str
    kind: str
    line: str
    message: str = ""
    exit_code: int = 1
    serving: bool = False
    oom_killed: bool = False


CASES = (
    Real(log="unknown-flag", provoked="--no-such-flag 3", kind="bad_arguments", line="vllm: error: unrecognized arguments: --no-such-flag 3", exit_code=2),
    Real(log="invalid-choice", provoked="--kv-cache-dtype int8", kind="bad_arguments", line="error: argument --kv-cache-dtype: invalid choice: 'int8'", exit_code=2),
    Real(log="batched-tokens-64", provoked="--max-num-batched-tokens 64 --max-num-seqs 128", kind="bad_arguments", line="max_num_batched_tokens (64) must be greater than or equal to max_num_seqs (128)."),
    Real(log="remote-code", provoked="an auto_map in config.json", kind="bad_arguments", line="Please pass the argument `trust_remote_code=True` to allow custom code to be run."),
    Real(log="tensor-parallel-3", provoked="-tp 3 with 4 heads", kind="layout_invalid", line="Value error, Total number of attention heads (4) must be divisible by tensor parallel size (3)."),
    Real(log="tensor-parallel-2", provoked="-tp 2 on one NUMA node", kind="layout_invalid", line="AssertionError: Not enough allowed NUMA nodes to bind threads of 2 local CPUWorkers."),
    Real(log="expert-parallel-dense", provoked="--enable-expert-parallel", kind="layout_invalid", line="Number of experts in the model must be greater than 0 when expert parallelism is enabled."),
    Real(log="decode-context-parallel", provoked="-tp 2 -dcp 2 with 2 KV heads", kind="layout_invalid", line="Decode context parallelism for GQA/MQA requires `--tensor-parallel-size` (2) to be greater"),
    Real(log="pipeline-parallel-8", provoked="-pp 8 with 4 layers", kind="engine_died", line="(EngineCore pid=18924) ERROR 11-25 08:57:19 [core.py:1510] ZeroDivisionError: integer division or modulo by zero", message="the engine broke off with ZeroDivisionError while starting"),
    Real(log="kv-space-500", provoked="VLLM_CPU_KVCACHE_SPACE=500", kind="kv_cache_too_small", line="ValueError: Available memory on node 0 (7.14/8.46 GiB) on kv cache allocation is less than requested"),
    Real(log="context-1048576", provoked="max_position_embeddings 1048576, 1 GiB for the KV cache", kind="kv_cache_too_small", line="ValueError: To serve at least one request with the model's max seq len (1048576)"),
    Real(log="max-model-len-9000", provoked="--max-model-len 9000 with 4096", kind="context_too_long", line="Value error, User-specified max_model_len (9000) is greater than the derived max_model_len"),
    Real(log="quantization-fp8", provoked="-q fp8: passes the parser", kind="quantization_unsupported", line="RuntimeError: _C::static_scaled_fp8_quant() expected at most 0 argument(s) but received 4 argument(s)."),
    Real(log="unknown-quantization", provoked="-q w4afp8", kind="quantization_unsupported", line="Value error, Unknown quantization method: w4afp8. Must be one of"),
    Real(log="awq-on-bf16", provoked="-q awq, model in bf16", kind="quantization_unsupported", line="Value error, Cannot find the config file for awq"),
    Real(log="missing-model", provoked="a folder that is not there", kind="model_missing", line="HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/models/absent'."),
    Real(log="missing-hub-model", provoked="nobody/absent, HF_HUB_OFFLINE=1", kind="model_missing", line="LocalEntryNotFoundError: Cannot find an appropriate cached snapshot folder for the specified revision"),
    Real(log="no-config", provoked="without config.json", kind="model_missing", line="Value error, Invalid repository ID or local directory specified: '/models/nocfg'."),
    Real(log="no-weights", provoked="without model.safetensors", kind="model_missing", line="RuntimeError: Cannot find any model weights with `/models/noweights`"),
    Real(log="truncated-weights", provoked="3 MB of 10.5", kind="model_missing", line="SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered"),
    Real(log="unsupported-architecture", provoked="architectures: HyperLlamaForCausalLM", kind="architecture_unsupported", line="Value error, Model architectures ['HyperLlamaForCausalLM'] are not supported for now."),
    Real(log="unknown-model-type", provoked="model_type: hyper_llama", kind="architecture_unsupported", line="The checkpoint you are trying to load has model type `hyper_llama` but Transformers does not recognize"),
    Real(log="port-in-use", provoked="another server on the port", kind="port_in_use", line="OSError: [Errno 98] Address already in use"),
    Real(log="parent-killed", provoked="kill -9 of the API server", kind="engine_died", line='"GET /health HTTP/1.1" 200 OK', message="the engine was killed by signal 9 while serving", exit_code=-9, serving=True),
    Real(log="engine-core-killed", provoked="kill -9 of EngineCore", kind="engine_died", line="MPClient: engine core exited unexpectedly; starting cleanup", message="the engine's core process was killed while serving", exit_code=0, serving=True),
    Real(log="engine-core-segfault", provoked="kill -11 of EngineCore", kind="engine_died", line="MPClient: engine core exited unexpectedly; starting cleanup", message="the engine's core process was killed while serving", exit_code=0, serving=True),
    Real(log="worker-killed", provoked="kill -9 of the worker", kind="engine_died", line="Worker proc VllmWorker-0 died unexpectedly (exit code: None), shutting down executor.", message="a worker process of the engine was killed while serving", exit_code=0, serving=True),
    Real(log="worker-killed", provoked="the same, had the kernel done it", kind="host_oom", line="Worker proc VllmWorker-0 died unexpectedly", exit_code=0, serving=True, oom_killed=True),
    Real(log="ended-by-another", provoked="SIGTERM, not from autotune", kind="infrastructure", line="[shutdown] API server: shutdown triggered", message="someone else told the engine to stop while serving", exit_code=0, serving=True),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.log}-{case.kind}")
def test_a_real_failure_gets_its_kind_and_its_line(case: Real) -> None:
    """The evidence is a line of the log, with the number that an editor gives it."""
    log = (LOGS / f"vllm-0.32.0-{case.log}.log").read_bytes().decode()
    error = classify(
        Evidence(
            log=log,
            exit_code=case.exit_code,
            runtime="vllm",
            serving=case.serving,
            oom_killed=case.oom_killed,
        )
    )
    assert error.kind == case.kind
    assert case.line in error.evidence
    assert error.advice
    assert case.message in error.message
    number = int(error.evidence.split(":")[1])
    assert case.line[:60] in log.split("\n")[number - 1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.log}-{case.kind}")
def test_the_kind_does_not_hang_on_knowing_the_runtime(case: Real) -> None:
    """Without it, no other engine's text gets in the way."""
    log = (LOGS / f"vllm-0.32.0-{case.log}.log").read_text(encoding="utf-8")
    evidence = Evidence(log=log, exit_code=case.exit_code, serving=case.serving, oom_killed=case.oom_killed)
    assert classify(evidence).kind == case.kind


def test_every_log_has_a_case() -> None:
    """A log without one proves nothing."""
    clean = {"served-and-stopped", "long-prompt"}
    assert {case.log for case in CASES} | clean == {path.stem.split("-", 2)[2] for path in LOGS.glob("*.log")}


@pytest.mark.parametrize("log", ["served-and-stopped", "long-prompt"])
def test_a_clean_stop_shows_no_cause(log: str) -> None:
    """It may log EngineDeadError: nobody asks after a stop of ours; asked all the same, no cause is made up."""
    text = (LOGS / f"vllm-0.32.0-{log}.log").read_text(encoding="utf-8")
    told = classify(Evidence(log=text, exit_code=0, runtime="vllm", serving=True))
    assert told.kind in {"engine_died", "infrastructure"}
