"""SGLang's answers: its command's own parser, then what its launcher resolves and checks before it forks.

The GPUs are declared where SGLang's own tests declare them. Source: SGLang 0.5.23 runtime_context.py
`override_platform`, arg_groups/pipeline.py, entrypoints/engine.py.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from scripts.parser_check.absent import Absent

# What changes the GPUs, or how a model is spread over them: also told where nothing was asked for.
LAYOUT = (
    "tp_size",
    "pp_size",
    "dp_size",
    "attn_dp_size",
    "attn_cp_size",
    "dcp_size",
    "ep_size",
    "moe_dp_size",
    "moe_dense_tp_size",
)

Configured = tuple[int, int, dict[str, list[str]]]


class Sglang:
    """`sglang serve`: what `prepare_server_args` does, then what the launcher resolves and checks."""

    def __init__(self, gpu: argparse.Namespace) -> None:
        """Declare the GPUs where SGLang's own tests do."""
        self._server_args = importlib.import_module("sglang.srt.server_args")
        self._parser = argparse.ArgumentParser(prog="sglang serve")
        self._server_args.ServerArgs.add_cli_args(self._parser)  # once: it takes 40 ms
        self._unasked = _fields(self._parsed(["--model-path", "none"]))
        sys.meta_path.append(Absent("torchvision"))  # for pictures; built for CUDA it cannot be loaded here
        context = importlib.import_module("sglang.srt.runtime_context")
        major, minor = divmod(round(gpu.capability * 10), 10)
        context.override_platform(**_facts(major, minor)).install()
        common = importlib.import_module("sglang.srt.utils.common")
        self._memory = {"get_device_memory_capacity": lambda *_: gpu.memory_gib * 1024}
        for module in ("memory_hook", "kv_shard_hook"):
            vars(importlib.import_module(f"sglang.srt.arg_groups.{module}")).update(self._memory)
        vars(common).update(self._memory)
        methods = importlib.import_module("sglang.srt.layers.quantization")  # registers by the real machine
        for table in (methods.BASE_QUANTIZATION_METHODS, methods.QUANTIZATION_METHODS):
            table.setdefault("mxfp4", methods.Mxfp4Config)

    def parse(self, argv: Sequence[str]) -> Any:
        """Return the server arguments; on a machine with these GPUs `--device` is found to be cuda."""
        return self._parsed([*argv[2:], "--device", "cuda"])

    def _parsed(self, words: Sequence[str]) -> Any:
        also = argparse.Namespace(_radix_eviction_policy_explicitly_set=False)
        return self._server_args.ServerArgs.from_cli_args(self._parser.parse_args(words, also))

    def configure(self, args: Any) -> Configured:
        """Return the ranks of one replica and of all, and what is not as it was asked for."""
        asked = _fields(args)
        args.resolve_once()
        args.check_server_args()
        got = args.resolved_dict()
        sizes = {name: got[name] for name in ("tp_size", "pp_size", "dp_size")}
        every = self._server_args.compute_world_size(**sizes)
        return every // sizes["dp_size"], every, _changed(self._unasked, asked, got)


def _fields(args: Any) -> dict[str, Any]:
    return {name: getattr(args, name) for name in type(args).__struct_fields__}


def _changed(
    unasked: Mapping[str, Any], asked: Mapping[str, Any], got: Mapping[str, Any]
) -> dict[str, list[str]]:
    return {
        name: [str(value), str(got[name])]
        for name, value in asked.items()
        if (name in LAYOUT or value != unasked[name]) and got[name] != value
    }


def _facts(major: int, minor: int) -> dict[str, Any]:
    no = ("hip", "npu", "xpu", "musa", "mps", "sm110")
    return {
        **{f"is_{name}": False for name in no},
        "is_cuda": True,
        "is_sm90": major == 9,
        "is_sm100": major == 10,
        "is_sm100_or_sm110": major == 10,
        "is_sm120": major == 12,
        "is_blackwell": major in {10, 12},
        "is_hopper_with_cuda_12_3": major == 9,
        "has_flashinfer": True,
        "has_amx": False,
        "device_sm": major * 10 + minor,
        "device_capability": (major, minor),
    }
