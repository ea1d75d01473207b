"""The hardware and the model that these tests stand on: H100 data sheet, Llama-3.1-8B."""

from __future__ import annotations

from typing import Any

GPU: dict[str, Any] = {
    "tflops_16bit": 989,
    "tflops_8bit": 1979,
    "memory_gib": 80,
    "memory_gb_per_s": 3350,
    "link_gb_per_s": 450,
    "compute_capability": 9.0,
}
MODEL: dict[str, int] = {
    "params": 8_030_261_248,
    "layers": 32,
    "hidden_size": 4096,
    "heads": 32,
    "kv_heads": 8,
    "head_dim": 128,
    "intermediate_size": 14336,
    "vocab_size": 128256,
    "max_model_len": 131072,
}
VLLM = ["vllm", "serve", "m", "--host", "127.0.0.1", "--port", "{port}"]
SGLANG = ["sglang", "serve", "--model-path", "m", "--host", "127.0.0.1", "--port", "{port}"]


def specification(engine: str = "vllm", gpus: int = 8, **model: int) -> dict[str, Any]:
    """What stands for hardware and model files."""
    version = {"vllm": "0.33.0", "sglang": "0.5.23"}[engine]
    return {
        "engine": engine,
        "version": version,
        "gpu": GPU,
        "gpu_model": "H100",
        "gpus_visible": gpus,
        "model": {**MODEL, **model},
        "startup_s": 0.0,
    }


def command(engine: str, *words: str) -> list[str]:
    """The engine's command line on port 8000."""
    start = VLLM if engine == "vllm" else SGLANG
    return [word.replace("{port}", "8000") for word in [*start, *words]]
