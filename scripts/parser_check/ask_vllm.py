"""vLLM's answers: its command's own parser and checks, then the configuration of its engine.

The platform object that every module holds becomes one of declared GPUs. Kernels are never called, but some
are asked what they support: these answer here as they do in the CUDA build. Model classes are inspected by
the CPU build, in the subprocess that vLLM has for it.

Source: vLLM 0.32.0 platforms/cuda.py, _custom_ops.py, model_executor/models/registry.py.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from scripts.parser_check.absent import Absent

# Compute capability from which kernels of the CUDA build say that they work. Source: csrc/quantization.
KERNELS = {
    "cutlass_scaled_mm_supports_fp8": 89,
    "cutlass_scaled_mm_supports_block_fp8": 90,
    "cutlass_scaled_mm_supports_fp4": 100,
    "cutlass_group_gemm_supported": 90,
}


# Where the engine's configuration has what the command line says.
SETTINGS = {
    "tensor_parallel_size": ("parallel_config", "tensor_parallel_size"),
    "pipeline_parallel_size": ("parallel_config", "pipeline_parallel_size"),
    "data_parallel_size": ("parallel_config", "data_parallel_size"),
    "prefill_context_parallel_size": ("parallel_config", "prefill_context_parallel_size"),
    "decode_context_parallel_size": ("parallel_config", "decode_context_parallel_size"),
    "enable_expert_parallel": ("parallel_config", "enable_expert_parallel"),
    "quantization": ("model_config", "quantization"),
    "max_model_len": ("model_config", "max_model_len"),
    "kv_cache_dtype": ("cache_config", "cache_dtype"),
    "enable_prefix_caching": ("cache_config", "enable_prefix_caching"),
    "gpu_memory_utilization": ("cache_config", "gpu_memory_utilization"),
    "max_num_seqs": ("scheduler_config", "max_num_seqs"),
    "max_num_batched_tokens": ("scheduler_config", "max_num_batched_tokens"),
    "enable_chunked_prefill": ("scheduler_config", "enable_chunked_prefill"),
    "async_scheduling": ("scheduler_config", "async_scheduling"),
    "stream_interval": ("scheduler_config", "stream_interval"),
}

Configured = tuple[int, int, dict[str, list[str]]]


class Vllm:
    """`vllm serve`: its own subcommand's parser and checks, then `create_engine_config`."""

    def __init__(self, gpu: argparse.Namespace) -> None:
        """Import what asks for a CPU build's libraries first, then declare the GPUs."""
        platform = importlib.import_module("vllm.platforms").current_platform
        importlib.import_module("vllm.model_executor.model_loader.weight_utils")
        serve = importlib.import_module("vllm.entrypoints.cli.serve")
        self._engine_args = importlib.import_module("vllm.engine.arg_utils").AsyncEngineArgs
        self._context = importlib.import_module("vllm.usage.usage_lib").UsageContext.OPENAI_API_SERVER
        self._parser = importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser(
            prog="vllm"
        )
        self._command = serve.ServeSubcommand()
        sys.meta_path.insert(0, Absent("vllm._C_stable_libtorch", "vllm._moe_C_stable_libtorch"))
        platform.__class__ = _declared_platform(gpu)
        vars(importlib.import_module("vllm.config.vllm"))["HAS_TRITON"] = True  # the CUDA build has it
        self._kernels = _answering_kernels()
        self._command.subparser_init(self._parser.add_subparsers(dest="subparser"))

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Return the namespace, as the command line tool makes and validates it."""
        namespace: argparse.Namespace = self._parser.parse_args(list(argv[1:]))
        self._command.validate(namespace)
        if namespace.model_tag is not None:
            namespace.model = namespace.model_tag
        return namespace

    def configure(self, namespace: argparse.Namespace) -> Configured:
        """Return the ranks of one replica and of all, and what is not as it was asked for."""
        config = self._engine_args.from_cli_args(namespace).create_engine_config(self._context)
        parallel = config.parallel_config
        return parallel.world_size, parallel.world_size_across_dp, _changed(namespace, config)


def _changed(namespace: argparse.Namespace, config: Any) -> dict[str, list[str]]:
    changed = {}
    for name, (part, attribute) in SETTINGS.items():
        asked, got = getattr(namespace, name), getattr(getattr(config, part), attribute)
        if asked not in {None, "auto"} and asked != got:
            changed[name] = [str(asked), str(got)]
    return changed


def _declared_platform(gpu: argparse.Namespace) -> type:
    cuda = importlib.import_module("vllm.platforms.cuda").CudaPlatformBase
    capability = importlib.import_module("vllm.platforms.interface").DeviceCapability
    major, minor = divmod(round(gpu.capability * 10), 10)
    answers: dict[str, Callable[..., Any]] = {
        "get_device_capability": lambda *_, **__: capability(major, minor),
        "get_device_name": lambda *_, **__: f"NVIDIA {gpu.gpu}",
        "get_device_total_memory": lambda *_, **__: int(gpu.memory_gib * 2**30),
        "device_count": lambda *_, **__: gpu.count,
        "is_fully_connected": lambda *_, **__: True,
        "is_integrated_gpu": lambda *_, **__: False,
        "get_device_numa_node": lambda *_, **__: None,
        "get_all_device_numa_nodes": lambda *_, **__: None,
    }
    return type("DeclaredCuda", (cuda,), {name: classmethod(answer) for name, answer in answers.items()})


def _answering_kernels() -> Any:
    """Return the library that answers; it is gone with its last reference."""
    library = importlib.import_module("torch").library.Library("_C", "FRAGMENT")
    for name, least in KERNELS.items():
        library.define(f"{name}(int cuda_device_capability) -> bool")
        library.impl(name, lambda have, least=least: have >= least, "CompositeExplicitAutograd")
    return library
