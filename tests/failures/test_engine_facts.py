"""Texts that need a GPU, Docker, the hub or another engine: WRITTEN FROM SOURCES, NEVER SEEN HERE.

Each line is made up around the words of engine-facts section 5, or of the source that the signature names;
`test_real_logs` has what was seen.
"""

from __future__ import annotations

import pytest

from autotune.failures import Evidence, classify

AFTERWARDS = {
    "vllm": "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {'EngineCore': 1}",
    "sglang": "[2026-11-24 10:00:00] Received sigquit from a child process. It usually means the child failed.",
    "tensorrt_llm": "RuntimeError: Executor worker returned error",
}
ANY = ("vllm", "sglang", "tensorrt_llm")

CASES: list[tuple[tuple[str, ...], str, str]] = [
    (ANY, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.15 GiB of which 1.00 GiB is free.", "cuda_oom"),
    (ANY, "torch.cuda.OutOfMemoryError: CUDA out of memory.", "cuda_oom"),
    (ANY, "torch.AcceleratorError: CUDA error: out of memory", "cuda_oom"),
    (ANY, "node:843:843 [5] include/alloc.h:228 NCCL WARN Cuda failure 2 'out of memory'", "cuda_oom"),
    (("sglang",), "Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 20.00 MiB.", "cuda_oom"),
    (("tensorrt_llm",), "RuntimeError: Executor creation failed due to insufficient GPU memory.", "cuda_oom"),
    (ANY, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 100.00 MiB. GPU 0 has a total capacity of 79.15 GiB of which 15.44 MiB is free. Process 1812714 has 42.73 GiB memory in use.", "gpu_busy"),
    (("vllm",), "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 72.00 MiB. Process 3179876 has 1.62 GiB memory in use.", "cuda_oom"),
    (("vllm",), "ValueError: Free memory on device cuda:0 (9.10/79.15 GiB) on startup is less than desired GPU memory utilization (0.9, 71.24 GiB).", "gpu_busy"),
    (("vllm",), "AssertionError: Error in memory profiling. Initial free memory 70.1 GiB, current free memory 72.3 GiB.", "gpu_busy"),
    (("sglang",), "RuntimeError: The memory capacity is unbalanced. Some GPUs may be occupied by other processes. ", "gpu_busy"),
    (ANY, "torch.AcceleratorError: CUDA error: CUDA-capable device(s) is/are busy or unavailable", "gpu_busy"),
    (("vllm",), "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine", "kv_cache_too_small"),
    (("vllm",), "ValueError: To serve at least one request with the model's max seq len (131072), (16.00 GiB KV cache is needed, which is larger than the available KV cache memory (9.10 GiB).", "kv_cache_too_small"),
    (("sglang",), "RuntimeError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static 0.5", "kv_cache_too_small"),
    (("sglang",), "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.", "kv_cache_too_small"),
    (("tensorrt_llm",), "The following component could not be created: KV cache", "kv_cache_too_small"),
    (("tensorrt_llm",), "The following component could not be created: Initial KV cache (temporary for KV cache size estimation)", "kv_cache_too_small"),
    (("tensorrt_llm",), "RuntimeError: Attention window too large to fit even a single sequence in the KV cache", "kv_cache_too_small"),
    (("sglang",), "ValueError: Warning: User-specified context_length (9000) is greater than the derived context_length (4096). This may lead to incorrect model outputs or CUDA errors. To allow overriding this maximum, set the env var SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN=1", "context_too_long"),
    (("sglang",), "[2026-11-24 10:00:00] Warning: User-specified context_length (9000) is greater than the derived context_length (4096).", "engine_died"),
    (("vllm",), "ValueError: World size (8) is larger than the number of available GPUs (4) in this node.", "layout_invalid"),
    (ANY, "torch.AcceleratorError: CUDA error: invalid device ordinal", "layout_invalid"),
    (("vllm",), "AssertionError: 10 is not divisible by 4", "layout_invalid"),
    (("vllm",), "ValueError: Weight output_partition_size = 192 is not divisible by weight quantization block_n = 128.", "layout_invalid"),
    (("vllm",), "Value error, tp_size=4 must be divisible by dcp_size=3.", "layout_invalid"),
    (("sglang",), "RuntimeError: tensor_model_parallel_size (4) must be divisible by decode_context_parallel_size (3)", "layout_invalid"),
    (("sglang",), "AssertionError: tp_size must be divisible by attn_dp_size", "layout_invalid"),
    (("sglang",), "AssertionError: tp_size must be divisible by number of nodes", "layout_invalid"),
    (("tensorrt_llm",), "ValueError: world_size must equal to tp_size * pp_size * cp_size", "layout_invalid"),
    (("tensorrt_llm",), "ValueError: moe_tp_size * moe_ep_size * moe_cluster_size must equal to moe_world_size", "layout_invalid"),
    (("vllm", "sglang"), "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum capability: 89. Current capability: 80.", "quantization_unsupported"),
    (("vllm", "sglang"), "ValueError: Quantization method specified in the model config (awq) does not match the quantization method specified in the `quantization` argument (gptq).", "quantization_unsupported"),
    (("vllm",), "ValueError: The `fp8` quantization method no longer supports online quantization. Please use `--quantization fp8_per_tensor` instead.", "quantization_unsupported"),
    (("vllm",), "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig(...)", "quantization_unsupported"),
    (("vllm",), "ValueError: fp8_e5m2 kv-cache is not supported with fp8 checkpoints.", "quantization_unsupported"),
    (("vllm",), "ValueError: FP8 KV cache is not supported by the Triton attention backend on Tesla T4 (compute capability 7.5); native FP8 (fp8e4nv) requires SM89+.", "quantization_unsupported"),
    (("sglang",), "ValueError: --kv-cache-dtype=nvfp4 requires Blackwell", "quantization_unsupported"),
    (("tensorrt_llm",), "NotImplementedError: Unsupported quantization_config: {}", "quantization_unsupported"),
    (ANY, "huggingface_hub.errors.GatedRepoError: 403 Client Error. (Request ID: x)", "model_gated"),
    (ANY, "Cannot access gated repo for url https://huggingface.co/api/models/some/gated-model.", "model_gated"),
    (ANY, "OSError: You are trying to access a gated repo.", "model_gated"),
    (ANY, "OSError: some/absent is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'", "model_missing"),
    (ANY, "Repository Not Found for url: https://huggingface.co/api/models/some/absent.", "model_missing"),
    (ANY, "FileNotFoundError: [Errno 2] No such file or directory: '/models/m/config.json'", "model_missing"),
    (ANY, "FileNotFoundError: [Errno 2] No such file or directory: '/models/m/generation_config.json'", "engine_died"),
    (ANY, "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.", "infrastructure"),
    (("vllm",), "ValueError: Model architectures ['X'] failed to be inspected. Please check the logs for more details.", "architecture_unsupported"),
    (("tensorrt_llm",), "ValueError: Unknown architecture X", "architecture_unsupported"),
    (ANY, "docker: Error response from daemon: pull access denied for some/image, repository does not exist", "image_missing"),
    (ANY, "Unable to find image 'some/image:1' locally", "image_missing"),
    (ANY, "manifest for some/image:1 not found: manifest unknown", "image_missing"),
    (ANY, "The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE, message: address already in use", "port_in_use"),
    (("sglang",), "Port is already in use. dist_init_port=1 port_base=2 detokenizer_port=3", "port_in_use"),
    (("tensorrt_llm",), "RuntimeError: Failed to bind socket to localhost:8000", "port_in_use"),
    (("tensorrt_llm",), "Error: No such option: --no-such-flag", "bad_arguments"),
    (("tensorrt_llm",), "Error: Invalid value for '--tp_size': 'x' is not a valid integer.", "bad_arguments"),
    (("tensorrt_llm",), "  Extra inputs are not permitted [type=extra_forbidden, input_value=1, input_type=int]", "bad_arguments"),
    (("sglang",), "launch_server.py: error: ambiguous option: --tp could match --tp-size, --tpu", "bad_arguments"),
    (ANY, "RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)", "nccl"),
    (ANY, "ncclInternalError: Internal check failed.", "nccl"),
    (ANY, "[rank0]:[E] [PG ID 2] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=7)", "nccl"),
    (("sglang",), "RuntimeError: Rank 0 scheduler died during initialization (exit code: -9). If exit code is -9 (SIGKILL), a common cause is the OS OOM killer.", "host_oom"),
    (("sglang",), "RuntimeError: Rank 0 scheduler died during initialization (exit code: -11). If exit code is -9 (SIGKILL), a common cause is the OS OOM killer.", "engine_died"),
    (ANY, "RuntimeError: [enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.", "host_oom"),
    (ANY, "terminate called after throwing an instance of 'std::bad_alloc'", "host_oom"),
    (ANY, "pynvml.NVMLError_GpuIsLost: GPU is lost", "gpu_lost"),
    (ANY, "NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.", "gpu_lost"),
    (ANY, "RuntimeError: CUDA error: uncorrectable ECC error encountered", "gpu_lost"),
    (ANY, "torch.AcceleratorError: CUDA error: unspecified launch failure", "gpu_lost"),
    (ANY, "OSError: [Errno 28] No space left on device", "infrastructure"),
    (ANY, "RuntimeError: No CUDA GPUs are available", "infrastructure"),
    (ANY, 'docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]]', "infrastructure"),
    (("sglang",), "Scheduler watchdog timeout (self.watchdog_timeout=300, self.soft=False)", "engine_died"),
    (("tensorrt_llm",), "[TRT-LLM] [E] Failed to initialize executor on rank 1: unknown", "engine_died"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("runtime", "line", "kind"),
    [pytest.param(runtime, line, kind, id=f"{runtime}-{kind}-{line[:40]}") for runtimes, line, kind in CASES for runtime in runtimes],
)  # fmt: skip
def test_a_text_of_the_sources_gets_its_kind(runtime: str, line: str, kind: str) -> None:
    """Among words that say nothing, with the line quoted and something to do about it."""
    log = f"starting\n{line}\n{AFTERWARDS[runtime]}\n"
    error = classify(Evidence(log=log, exit_code=1, runtime=runtime))
    assert error.kind == kind
    if kind != "engine_died":
        assert error.evidence.startswith("engine.log:2: ")
        assert error.message != kind.replace("_", " ")
    assert error.advice
