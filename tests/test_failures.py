"""Why an engine ended, from its whole log."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.failures import classify

LOGS = Path(__file__).parent / "logs"


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("vllm: error: unrecognized arguments: --foo", "bad_arguments"),
        ("launch_server.py: error: argument --dtype: invalid choice: 'x' (choose from ...)", "bad_arguments"),
        ("OSError: [Errno 98] Address already in use", "port_in_use"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "cuda_oom"),
        ("ValueError: No available memory for the cache blocks. Try increasing", "kv_cache_too_small"),
        ("Value error, Total number of attention heads (4) must be divisible by tensor parallel size (3).", "layout_invalid"),
        ("ValueError: World size (8) is larger than the number of available GPUs (4) in this node.", "layout_invalid"),
        ("The quantization method x is not supported for the current GPU. Minimum capability: 89.", "quantization_unsupported"),
        ("ValueError: User-specified max_model_len (9000) is greater than the derived max_model_len", "context_too_long"),
    ],
)  # fmt: skip
def test_the_specific_cause_wins(line: str, kind: str) -> None:
    """What always comes last, and says nothing, is not taken for the cause."""
    log = f"INFO starting\n{line}\nRuntimeError: Engine core initialization failed. See root cause above.\n"
    error = classify(log, 1)
    assert error.kind == kind
    assert error.evidence == f"engine.log:2: {line}"
    assert error.advice


def test_an_unknown_end_tells_status_and_last_line() -> None:
    """Nothing is made up."""
    error = classify("one\nthe last words\n\n", -9)
    assert (error.kind, error.message) == ("engine_died", "the engine ended by signal 9")
    assert "the last words" in error.evidence


def test_an_empty_log() -> None:
    """An engine that said nothing."""
    assert classify("", 3).evidence == "engine.log is empty"


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.log")), ids=lambda path: path.stem)
def test_real_logs(log: Path) -> None:
    """Logs of a real engine: the kind is in the file's name."""
    kinds = {
        "unknown-flag": "bad_arguments",
        "tensor-parallel-3": "layout_invalid",
        "missing-model": "model_missing",
        "port-in-use": "port_in_use",
        "invalid-choice": "bad_arguments",
        "kv-space-500": "kv_cache_too_small",
        "quantization-fp8": "quantization_unsupported",
        "tensor-parallel-2": "layout_invalid",
        "served-and-stopped": "engine_died",
    }
    case = log.stem.split("-", 2)[2]
    assert classify(log.read_text(), 1).kind == kinds[case]
