"""Signatures of memory that ran out: the KV cache's, a GPU's, the host's, or a GPU that others fill.

V, S, T and "seen" as in `signatures_setup`. No text of a GPU was ever seen here: those are read in the
sources that are named, or quoted from public reports of them.
"""

from __future__ import annotations

from autotune.failures.signatures import Signature, Tier
from autotune.failures.signatures_setup import SGLANG, TENSORRT_LLM, VLLM

BUSY = (
    Signature(
        kind="gpu_busy",
        tier=Tier.GPU_BUSY,
        texts=("Free memory on device", "Error in memory profiling"),
        pattern=r"on startup is less than|Error in memory profiling",
        cause="someone else uses memory of a GPU that the engine was given",
        advice="end what else runs on it (nvidia-smi), or lower serving.gpu_memory_utilization",
        source="V v1/worker/utils.py:742-770, v1/worker/gpu_worker.py:720",
        runtimes=VLLM,
    ),
    Signature(
        kind="gpu_busy",
        tier=Tier.GPU_BUSY,
        texts=("The memory capacity is unbalanced",),
        cause="someone else uses memory of a GPU that the engine was given",
        advice="end what else runs on it (nvidia-smi)",
        source="S distributed/bootstrap.py:445, an error or a warning",
        runtimes=SGLANG,
    ),
    Signature(
        kind="gpu_busy",
        tier=Tier.GPU_BUSY,
        texts=("device(s) is/are busy or unavailable", "CUDA-capable devices are busy or unavailable"),
        cause="a GPU that the engine was given does not take another program",
        advice="end what else runs on it (nvidia-smi), and look at its compute mode",
        source="CUDA's error 46, as quoted in issue 10240 of hiyouga/LlamaFactory and in its older wording",
    ),
    Signature(
        kind="gpu_busy",
        tier=Tier.GPU_BUSY,
        texts=("CUDA out of memory. Tried to allocate",),
        pattern=r"Process \d+ has \d{2,}\.\d+ GiB memory in use",
        cause="another program held much of the GPU's memory when the engine wanted more",
        advice="end what else runs on it (nvidia-smi)",
        source="torch's allocator, as quoted in public logs; ten GiB, as an engine's own ranks on one GPU were "
        "seen to hold 1.6 of each other",
    ),
)

SHORT = (
    Signature(
        kind="kv_cache_too_small",
        tier=Tier.KV_CACHE,
        texts=(
            "No available memory for the cache blocks",
            "To serve at least one request with",
            "on kv cache allocation is less than requested",
        ),
        cause="what is left of the memory beside the model does not hold the KV cache of one request",
        advice="use more GPUs, quant.kvcache_dtype=fp8 or a smaller serving.max_model_len",
        source="V v1/core/kv_cache_utils.py, V v1/worker/cpu_worker.py; seen: kv-space-500, context-1048576",
        runtimes=VLLM,
    ),
    Signature(
        kind="kv_cache_too_small",
        tier=Tier.KV_CACHE,
        texts=("leave no GPU memory for the KV cache", "Not enough memory. Please try to increase"),
        cause="what is left of the memory beside the model does not hold a KV cache",
        advice="use more GPUs, raise serving.gpu_memory_utilization, or quant.kvcache_dtype=fp8",
        source="S mem_cache/kv_cache_configurator.py:3051, model_executor/pool_configurator.py:96",
        runtimes=SGLANG,
    ),
    Signature(
        kind="kv_cache_too_small",
        tier=Tier.KV_CACHE,
        texts=(
            "The following component could not be created: ",
            "Attention window too large to fit even a single",
        ),
        pattern=r"could not be created: .*KV cache|Attention window too large",
        cause="what is left of the memory beside the model does not hold the KV cache of one request",
        advice="use more GPUs, quant.kvcache_dtype=fp8 or a smaller serving.max_model_len",
        source="T section 5, as quoted in issue 5872 of NVIDIA/TensorRT-LLM",
        runtimes=TENSORRT_LLM,
    ),
    Signature(
        kind="cuda_oom",
        tier=Tier.GPU_MEMORY,
        texts=(
            "OutOfMemoryError",
            "CUDA out of memory",
            "CUDA error: out of memory",
            "'out of memory'",
            "): out of memory",
        ),
        pattern=r"OutOfMemoryError|CUDA out of memory|CUDA error: out of memory"
        r"|Cuda failure.* 'out of memory'|CUDA runtime error in .*: out of memory",
        cause="the GPU's memory ran out {when}",
        advice="use more GPUs (parallel=tp2, ...), a smaller serving.max_model_len or fewer sequences at once",
        source="V, S, T section 5; NCCL's line as quoted in issue 1670 of NVIDIA/TensorRT-LLM, TensorRT-LLM's C++ "
        "in its issue 260",
    ),
    Signature(
        kind="cuda_oom",
        tier=Tier.GPU_MEMORY,
        texts=("Executor creation failed due to insufficient GPU memory",),
        cause="the GPU's memory ran out {when}",
        advice="use more GPUs (parallel=tp2, ...) or a smaller serving.max_model_len",
        source="T section 5, as quoted in issue 5950 of NVIDIA/TensorRT-LLM",
        runtimes=TENSORRT_LLM,
    ),
    Signature(
        kind="host_oom",
        tier=Tier.HOST_MEMORY,
        texts=("scheduler died during initialization (exit code: -9)",),
        cause="the host's memory ran out while starting: a scheduler process of the engine was killed",
        advice="give the host or the container more memory; look into the kernel's log (dmesg) for what was killed",
        source="S entrypoints/engine.py:2006",
        runtimes=SGLANG,
    ),
    Signature(
        kind="host_oom",
        tier=Tier.HOST_MEMORY,
        texts=("MemoryError", "std::bad_alloc", "Cannot allocate memory", "DefaultCPUAllocator: "),
        pattern=r"(?<![A-Za-z])MemoryError\b|std::bad_alloc|Cannot allocate memory|DefaultCPUAllocator: (?:can|not)",
        cause="the host's memory ran out {when}",
        advice="give the host or the container more memory, or load less at once",
        source="Python, C++, errno 12, torch (text of libc10 2.13); seen: address-space",
    ),
)

MEMORY = (*BUSY, *SHORT)
