"""Each rule by which `plan` rejects a candidate, and what the engine says to the same.

A rule is shown on a candidate that it alone rejects, asked of the engine with the arguments `add`, which
`plan` would not write. The engine refuses it too, unless one of two things is said of the rule: `later`, where
the engine fails instead, because it takes the command here; `unsaid`, why nothing can be asked: the engine has
no argument for what was wanted. Where `partly` says what the engine does not look at, it refuses the candidate
that is shown, but not all others.

Source of what is said: the messages and code of vLLM 0.32.0 and SGLang 0.5.23, as in `autotune.plan`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LLAMA, MOE, MLA, OSS = "model=llama3_1_8b", "model=qwen3_30b_a3b", "model=deepseek_v3", "model=gpt_oss_20b"
A100, H100, B200 = "a100_8x", "h100_8x", "b200_8x"
LAYERS = "its layers do not divide when a worker builds them"
KERNELS = "a worker finds no kernel"
UNPACKS = "it unpacks the weights and computes in 16 bits, which measures something else"
NO_CHECKPOINT = "a worker finds no such weights in the checkpoint"
NO_LAYOUT = "there is no command for a layout of no ranks"
NO_EFFECT = "a model without experts has nothing that it would change"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A candidate in a user's words, and arguments that are put behind its command."""

    words: str
    add: str = ""
    gpus: str = H100


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule: `reason` is the pattern of what `plan` says; see the module for the rest."""

    reason: str
    shown: tuple[Shown, ...] = ()
    later: str = ""
    unsaid: str = ""
    partly: str = ""


def _rule(
    reason: str, words: str, add: str = "", *, gpus: str = H100, later: str = "", partly: str = ""
) -> Rule:
    return Rule(reason=reason, shown=(Shown(words=words, add=add, gpus=gpus),), later=later, partly=partly)


# Values and names: the engines' parsers and the plan's flag lists agree.
_VLLM_ARGS = (
    _rule(r"runtime\.args\.\w+: vllm \S+ has no such argument.*", f"{LLAMA} runtime.args.swap_space=4", "--swap-space 4"),
    _rule(r"runtime\.args\.\w+=\S+: expected a (whole )?number.*", f"{LLAMA} runtime.args.max_num_seqs=1.5"),
    _rule(r"runtime\.args\.\w+=\S+: must be one of .*", f"{LLAMA} runtime.args.kv_cache_dtype=int8"),
    _rule(r"runtime\.args\.\w+=\S+: a switch; .*", f"{LLAMA} runtime.args.enforce_eager=3"),
    _rule(r"runtime\.args\.\w+=\[.*\]: takes one value, .*", f"{LLAMA} runtime.args.max_num_seqs=[1,2]"),
    _rule(r"runtime\.args\.\w+=\S+: must be (above|at least|from) .*", f"{LLAMA} runtime.args.gpu_memory_utilization=1.5"),
)  # fmt: skip
_VLLM_SHAPE = (
    Rule(reason=r"parallel\.\w+=\S+: must be at least 1", unsaid=NO_LAYOUT),
    _rule(r".*does not divide the \d+ attention heads.*", f"{LLAMA} parallel.tp=3"),
    _rule(r".*does not divide the \d+ KV heads.*", f"{LLAMA} parallel.tp=6 model.heads=48 model.hidden_size=6144 model.intermediate_size=14340", later=LAYERS),
    _rule(r".*does not divide the MLP width .*", f"{LLAMA} parallel.tp=8 model.intermediate_size=14340", later=LAYERS),
    _rule(r"parallel\.pp=\d+: the model has \d+ layers.*", "model=tiny parallel.pp=5", later="a stage without layers"),
    _rule(r"each expert is split over \d+ GPUs, .*", f"{MLA} parallel=tp8 model.moe_intermediate_size=768", later=LAYERS),
    _rule(r"needs \d+ GPUs[:;] .*", "model=llama3_1_405b parallel=tp16", partly="replicas"),
)  # fmt: skip
_VLLM_LAYOUT = (
    _rule(r"parallel\.dcp=\d+: must divide the \d+ ranks of tensor parallelism", f"{LLAMA} parallel.tp=4 parallel.dcp=3", "--decode-context-parallel-size 3"),
    _rule(r"parallel\.dcp=\d+: shares the tokens of a KV head .*", f"{LLAMA} parallel.tp=8 parallel.dcp=2", "--decode-context-parallel-size 2"),
    _rule(r"parallel\.dcp=\d+: must divide the \d+ query heads .*", f"{LLAMA} parallel.tp=6 parallel.dcp=2 model.heads=6 model.kv_heads=2 model.hidden_size=768 model.intermediate_size=768", "--decode-context-parallel-size 2"),
    _rule(r"parallel\.dcp=\d+: with parallel\.cp=\d+ must be one of .*", f"{MLA} parallel.tp=2 parallel.cp=2 parallel.dcp=3 model.index_topk=2048", "--decode-context-parallel-size 3"),
    _rule(r"parallel\.cp=\d+: vLLM has prefill context parallelism for sparse MLA .*", f"{LLAMA} parallel.cp=2", "--prefill-context-parallel-size 2", later=KERNELS),
    _rule(r"parallel\.ep=\d+: \S+ has no experts: .*", f"{LLAMA} parallel=ep8", "--enable-expert-parallel"),
    Rule(reason=r"parallel\.ep=\d+: (vLLM spreads experts over|the model has \d+ experts).*", unsaid="expert parallelism is a switch without a size"),
    Rule(reason=r"parallel\.attn_dp=\d+: (\S+ has no experts to share|must divide parallel\.tp=).*", unsaid="attention data parallelism is --data-parallel-size on a model with experts"),
    Rule(reason=r"parallel\.moe_(dense_)?tp=\d+: (vLLM splits|\S+ has no experts:) .*", unsaid="how a layer is split follows from the other sizes"),
)  # fmt: skip
_VLLM_SERVING = (
    _rule(r"max_num_batched_tokens=\d+ is below max_num_seqs=.*", f"{LLAMA} serving.max_running_requests=4096 serving.max_batched_tokens=2048"),
    _rule(r"max_num_batched_tokens=\d+ is below max_model_len=.*", f"{LLAMA} serving.chunked_prefill=false serving.max_batched_tokens=2048"),
    _rule(r"max_model_len=\d+ is above the model's own .*", f"{LLAMA} serving.max_model_len=200000"),
    _rule(r"(max_model_len=|the model's context of )\d+ is below a mean request .*", f"{LLAMA} serving.max_model_len=1024 workload=chat", later="requests are answered with an error"),
    _rule(r"\w+=\w+: needs compute capability [\d.x or]+; the GPUs have .*", f"{MLA} parallel=tp8 runtime.args.attention_backend=CUTLASS_MLA", later=KERNELS),
    _rule(r"runtime\.args\.enable_eplb: needs expert parallelism.*", f"{MOE} parallel=tp2 runtime.args.enable_eplb=true"),
)  # fmt: skip
_VLLM_QUANT = (
    _rule(r"quant\.gemm_dtype=int8: linear layers need .*", f"{LLAMA} quant.gemm_dtype=int8", "--quantization int8"),
    _rule(r"quant\.gemm_dtype=w4a16: needs an AWQ.*", f"{LLAMA} quant.gemm_dtype=w4a16", "--quantization awq"),
    _rule(r"quant\.(gemm|moe)_dtype=w4afp8: needs a compressed-tensors .*", f"{MOE} quant.moe_dtype=w4afp8", "--quantization w4afp8"),
    _rule(r"quant\.gemm_dtype=nvfp4: linear layers need .*", f"{LLAMA} quant.gemm_dtype=nvfp4", "--quantization modelopt_fp4"),
    _rule(r"quant\.gemm_dtype=(fp8|int8|w4a16|w4afp8|nvfp4|mxfp8|mxfp4): the checkpoint's .*", f"{MLA} parallel=tp8 quant.gemm_dtype=mxfp8", "--quantization mxfp8"),
    Rule(reason=r"quant\.gemm_dtype=(bf16|fp16): the checkpoint's weights .*", unsaid="--dtype is the type of what is not quantized"),
    _rule(r"quant\.gemm_dtype=fp16: \w+ models are unstable.*", "model=gemma3_27b quant.gemm_dtype=fp16", "--dtype float16"),
    _rule(r"quant\.moe_dtype=\w+: the checkpoint's experts .*", f"{MLA} parallel=tp8 quant.moe_dtype=mxfp4", "--quantization mxfp4"),
    _rule(r"quant\.moe_dtype=\w+: \S+ has no experts: .*", f"{LLAMA} quant.moe_dtype=nvfp4", "--quantization nvfp4_per_token", later=NO_EFFECT),
    _rule(r"quant\.gemm_dtype=(fp8|mxfp8|mxfp4): needs compute capability .*", f"{LLAMA} quant.gemm_dtype=fp8", "--quantization fp8_per_tensor", gpus=A100, later=UNPACKS),
    _rule(r"quant\.moe_dtype=\w+: needs compute capability .*", f"{MOE} quant.moe_dtype=nvfp4", "--quantization nvfp4_per_token", later=KERNELS),
    _rule(r"the checkpoint's (weights|experts) are \w+: needs compute capability .*", f"{MLA} parallel=tp8", gpus=A100, later=UNPACKS),
    _rule(r"quant\.kvcache_dtype=fp8(_e5m2)?: needs compute capability .*", f"{MLA} parallel=tp8 quant.kvcache_dtype=fp8 model.stored.method=none model.stored.gemm_dtype=bf16 model.stored.moe_dtype=bf16", "--kv-cache-dtype fp8", gpus=A100, later=KERNELS),
    _rule(r"quant\.kvcache_dtype=fp8_e5m2: no kernel for MLA .*", f"{MLA} parallel=tp8 quant.kvcache_dtype=fp8_e5m2", "--kv-cache-dtype fp8_e5m2", later=KERNELS),
    _rule(r"quant\.kvcache_dtype=fp8_e5m2: is not supported with FP8 .*", f"{LLAMA} quant.kvcache_dtype=fp8_e5m2 model.stored.method=fp8 model.stored.gemm_dtype=fp8", "--kv-cache-dtype fp8_e5m2", later="the layer says so when a worker builds it"),
    _rule(r"quant\.kvcache_dtype=nvfp4: no kernel for MLA .*", f"{MLA} parallel=tp8 quant.kvcache_dtype=nvfp4", "--kv-cache-dtype nvfp4"),
    _rule(r"quant\.kvcache_dtype=nvfp4: is not read with decode context .*", f"{MOE} parallel=long-context quant.kvcache_dtype=nvfp4", "--kv-cache-dtype nvfp4", later=KERNELS),
    Rule(reason=r"quant\.moe_dtype=nvfp4: has kernels for compute capability 10.x only.*", unsaid="no inventory preset has such GPUs"),
    _rule(r"the checkpoint's method is \S+, which vLLM does not load.*", f"{LLAMA} model.stored.method=bitsandbytes model.stored.gemm_dtype=w4a16"),
    _rule(r"runtime\.args\.quantization=\S+: vLLM has no such method.*", f"{LLAMA} runtime.args.quantization=foo"),
    _rule(r"runtime\.args\.quantization=\S+: the checkpoint is already .*", f"{LLAMA} runtime.args.quantization=fp8_per_tensor model.stored.method=awq model.stored.gemm_dtype=w4a16"),
    _rule(r"runtime\.args\.quantization=\S+: the checkpoint is not quantized.*", f"{LLAMA} runtime.args.quantization=awq"),
    _rule(r"runtime\.args\.quantization=\S+: needs compute capability .*", f"{LLAMA} runtime.args.quantization=mxfp8", later=UNPACKS),
    _rule(r"quant\.kvcache_dtype=nvfp4: misreads heads of 64 .*", f"{OSS} quant.kvcache_dtype=nvfp4", "--kv-cache-dtype nvfp4", later=KERNELS),
    _rule(r"quant\.kvcache_dtype=bf16: must be the model's own type.*", f"{LLAMA} quant.kvcache_dtype=bf16 quant.gemm_dtype=fp16", "--kv-cache-dtype bfloat16", later="0.33.0 refuses it in its configuration"),
    _rule(r"quant\.attention_dtype=fp8: (needs compute capability|MLA kernels compute) .*", f"{LLAMA} quant.attention_dtype=fp8 quant.kvcache_dtype=fp8", "--attention-backend TRITON_ATTN", gpus=A100, later=KERNELS),
    Rule(reason=r"quant\.attention_dtype=fp8(: follows from| contradicts) .*", unsaid="FP8 attention follows from the KV cache"),
)  # fmt: skip

_SGLANG_ARGS = (
    _rule(r"runtime\.args\.\w+: sglang \S+ has no such argument.*", f"{LLAMA} runtime.args.cuda_graph_max_bs=8", "--cuda-graph-max-bs 8"),
    _rule(r"runtime\.args\.\w+=\S+: expected a (whole )?number.*", f"{LLAMA} runtime.args.max_running_requests=1.5"),
    _rule(r"runtime\.args\.\w+=\S+: must be one of .*", f"{LLAMA} runtime.args.kv_cache_dtype=fp8"),
    _rule(r"runtime\.args\.\w+=\S+: a switch; .*", f"{LLAMA} runtime.args.enable_mixed_chunk=3"),
    _rule(r"runtime\.args\.\w+=\[.*\]: takes one value, .*", f"{LLAMA} runtime.args.max_running_requests=[1,2]"),
    _rule(r"runtime\.args\.\w+=\S+: must be (above|at least|from) .*", f"{LLAMA} runtime.args.mem_fraction_static=1.5", later="a worker allocates more than there is"),
)  # fmt: skip
_SGLANG_SHAPE = (
    Rule(reason=r"parallel\.\w+=\S+: must be at least 1", unsaid=NO_LAYOUT),
    _rule(r".*does not divide the \d+ (attention|KV) heads.*", f"{LLAMA} parallel.tp=3", later="a bare assertion when a worker builds the layers"),
    _rule(r".*does not divide the MLP width .*", f"{LLAMA} parallel.tp=8 model.intermediate_size=14340", later=LAYERS),
    _rule(r"parallel\.pp=\d+: the model has \d+ layers.*", "model=tiny parallel.pp=5", later="a stage without layers"),
    _rule(r"each expert is split over \d+ GPUs, .*", f"{MLA} parallel=tp8 model.moe_intermediate_size=768", later=LAYERS),
    _rule(r"needs \d+ GPUs[:;] .*", "model=llama3_1_405b parallel=tp16", later="a rank finds no GPU"),
)  # fmt: skip
_SGLANG_LAYOUT = (
    _rule(r"parallel\.attn_dp=\d+: SGLang takes it or parallel\.dp=.*", f"{MOE} parallel.tp=4 parallel.dp=2 parallel.attn_dp=2", "--attn-dp-size 2"),
    _rule(r"parallel\.attn_dp=\d+: must divide parallel\.tp=.*", f"{MOE} parallel.tp=4 parallel.attn_dp=3", "--attn-dp-size 3"),
    _rule(r"parallel\.d?cp=\d+: SGLang takes it or parallel\.d?cp=.*", f"{MOE} parallel.tp=8 parallel.cp=2 parallel.dcp=2", "--enable-prefill-cp --attn-cp-size 2 --cp-strategy zigzag --dcp-size 2"),
    _rule(r"parallel\.cp=\d+: times parallel\.attn_dp=\d+ must divide .*", f"{MOE} parallel.tp=8 parallel.cp=3", "--enable-prefill-cp --attn-cp-size 3 --cp-strategy zigzag"),
    _rule(r"parallel\.cp=\d+: its attention kernels need .*", f"{MOE} parallel.tp=8 parallel.cp=2", "--enable-prefill-cp --attn-cp-size 2 --cp-strategy zigzag", gpus=A100, later=KERNELS),
    _rule(r"parallel\.cp=\d+: SGLang splits the prompts of MLA .*", f"{MLA} parallel.tp=8 parallel.cp=2", "--enable-prefill-cp --attn-cp-size 2 --cp-strategy zigzag", later="it takes another layout without a word"),
    _rule(r"parallel\.(attn_dp|cp)=\d+: SGLang splits the attention of \w+ models over all .*", f"{LLAMA} parallel.tp=4 parallel.attn_dp=2", "--attn-dp-size 2", later="heads and KV cache have other sizes"),
    _rule(r"parallel\.dcp=\d+: SGLang's kernels for it have no sliding windows.*", "model=gemma3_27b parallel.tp=8 parallel.dcp=2", "--dcp-size 2", later=KERNELS),
    _rule(r"parallel\.dcp=\d+: must divide the \d+ ranks of attention.*", f"{MOE} parallel.tp=4 parallel.dcp=3", "--dcp-size 3", later="a worker says so when it makes the groups"),
    _rule(r"parallel\.dcp=\d+: ranks that share tokens must hold .*", f"{LLAMA} parallel.tp=8 parallel.dcp=2", "--dcp-size 2", later="the KV cache is corrupted without a word"),
    _rule(r"parallel\.dcp=\d+: the backend that computes FP8 attention .*", f"{MOE} parallel=long-context quant.attention_dtype=fp8 quant.kvcache_dtype=fp8", "--dcp-size 2", later="a part of the cache is read as the whole"),
    _rule(r"parallel\.ep=\d+: \S+ has no experts: .*", f"{LLAMA} parallel=ep8", "--ep-size 8", later=NO_EFFECT),
    _rule(r"parallel\.ep=\d+: must divide parallel\.tp=.*", f"{MOE} parallel.tp=8 parallel.ep=3", "--ep-size 3", later=LAYERS),
    _rule(r"parallel\.ep=\d+: must divide the \d+ experts .*", f"{MOE} parallel=ep8 model.experts=100", "--ep-size 8", later=LAYERS),
    _rule(r"parallel\.moe_dense_tp=\d+: must be .*", f"{MOE} parallel=tp8 parallel.moe_dense_tp=4", "--moe-dense-tp-size 4"),
    _rule(r"parallel\.moe_(dense_)?tp=\d+: \S+ has no experts: .*", f"{LLAMA} parallel=tp8 parallel.moe_dense_tp=1", "--moe-dense-tp-size 1", later=NO_EFFECT),
    _rule(r"parallel\.moe_tp=\d+: SGLang splits each expert .*", f"{MOE} parallel=tp8 parallel.moe_tp=4", "--moe-dp-size 2"),
)  # fmt: skip
_SGLANG_SERVING = (
    _rule(r"chunked_prefill_size=\d+.* is not a multiple of page_size=.*", f"{LLAMA} serving.max_batched_tokens=1000 runtime.args.page_size=64"),
    _rule(r"context_length=\d+ is above the model's own .*", f"{LLAMA} serving.max_model_len=200000"),
    _rule(r"(context_length=|the model's context of )\d+ is below a mean request .*", f"{LLAMA} serving.max_model_len=1024 workload=chat", later="requests are answered with an error"),
    _rule(r"\w+=\w+: needs compute capability [\d.x or]+; the GPUs have .*", f"{MLA} parallel=tp8 runtime.args.attention_backend=trtllm_mla"),
    _rule(r"attention_backend=\w+ does not know decode context .*", f"{MOE} parallel=long-context runtime.args.attention_backend=fa3", later="a part of the cache is read as the whole"),
    Rule(reason=r"serving\.chunked_prefill=false: SGLang's token budget .*", unsaid="both are the same argument"),
)  # fmt: skip
_SGLANG_QUANT = (
    _rule(r"quant\.gemm_dtype=int8: needs a compressed-tensors .*", f"{LLAMA} quant.gemm_dtype=int8", "--quantization w8a8_int8", later=NO_CHECKPOINT),
    _rule(r"quant\.gemm_dtype=w4a16: needs an AWQ.*", f"{LLAMA} quant.gemm_dtype=w4a16", "--quantization awq_marlin", later=NO_CHECKPOINT),
    _rule(r"quant\.(gemm|moe)_dtype=w4afp8: needs a W4AFP8 .*", f"{MOE} quant.moe_dtype=w4afp8", "--quantization w4afp8", later=NO_CHECKPOINT),
    _rule(r"quant\.gemm_dtype=nvfp4: linear layers need .*", f"{LLAMA} quant.gemm_dtype=nvfp4", "--quantization modelopt_fp4", later=NO_CHECKPOINT),
    _rule(r"quant\.gemm_dtype=mxfp4: is for experts only .*", f"{LLAMA} quant.gemm_dtype=mxfp4", "--quantization mxfp4", later="linear layers stay as they are, without a word"),
    _rule(r"quant\.gemm_dtype=(fp8|int8|w4a16|w4afp8|nvfp4|mxfp8|mxfp4): the checkpoint's .*", f"{MLA} parallel=tp8 quant.gemm_dtype=mxfp8", "--quantization mxfp8"),
    Rule(reason=r"quant\.gemm_dtype=(bf16|fp16): the checkpoint's weights .*", unsaid="--dtype is the type of what is not quantized"),
    _rule(r"quant\.moe_dtype=\w+: the checkpoint's experts .*", f"{OSS} quant.moe_dtype=fp8", "--quantization fp8"),
    _rule(r"quant\.moe_dtype=\w+: \S+ has no experts: .*", f"{LLAMA} quant.moe_dtype=mxfp4", "--quantization mxfp4", later=NO_EFFECT),
    Rule(reason=r"quant\.moe_dtype=\w+: SGLang (quantizes experts to FP8 with all|has one method for the whole) .*", unsaid="--quantization has one value"),
    _rule(r"quant\.gemm_dtype=(fp8|mxfp8): needs compute capability .*", f"{LLAMA} quant.gemm_dtype=mxfp8", "--quantization mxfp8", later="a worker says so when it loads the model"),
    _rule(r"quant\.moe_dtype=nvfp4: needs compute capability .*", f"{MOE} quant.moe_dtype=nvfp4", "--quantization nvfp4_online"),
    _rule(r"quant\.moe_dtype=(fp8|mxfp4): needs compute capability .*", f"{MOE} quant.moe_dtype=fp8 quant.gemm_dtype=auto", "--quantization fp8", gpus=A100, later=UNPACKS),
    _rule(r"the checkpoint's (weights|experts) are \w+: needs compute capability .*", f"{MLA} parallel=tp8", gpus=A100, later=UNPACKS),
    _rule(r"quant\.kvcache_dtype=fp8(_e5m2)?: needs compute capability .*", f"{MLA} parallel=tp8 quant.kvcache_dtype=fp8 model.stored.method=none model.stored.gemm_dtype=bf16 model.stored.moe_dtype=bf16", "--kv-cache-dtype fp8_e4m3", gpus=A100, later=KERNELS),
    _rule(r"quant\.kvcache_dtype=nvfp4: needs compute capability .*", f"{LLAMA} quant.kvcache_dtype=nvfp4", "--kv-cache-dtype nvfp4"),
    _rule(r"quant\.kvcache_dtype=fp8_e5m2: TRT-LLM's MLA kernels .*", f"{MLA} parallel=tp8 quant.kvcache_dtype=fp8_e5m2", "--kv-cache-dtype fp8_e5m2", gpus=B200),
    _rule(r"quant\.kvcache_dtype=nvfp4: no kernel for MLA .*", f"{MLA} parallel=tp8 quant.kvcache_dtype=nvfp4", "--kv-cache-dtype nvfp4", gpus=B200),
    _rule(r"quant\.kvcache_dtype=nvfp4: the backend that knows decode context .*", f"{MOE} parallel=long-context quant.kvcache_dtype=nvfp4", "--kv-cache-dtype nvfp4", gpus=B200),
    _rule(r"quant\.attention_dtype=fp8: kernels for MLA models .*", f"{MLA} parallel=tp8 quant.attention_dtype=fp8 quant.kvcache_dtype=fp8", "--attention-backend fa3", later="it takes the cache back to 16 bits without a word"),
    _rule(r"the checkpoint's method is \S+, which SGLang does not load.*", f"{LLAMA} model.stored.method=experts_int8 model.stored.gemm_dtype=int8"),
    _rule(r"runtime\.args\.quantization=\S+: the checkpoint is already .*", f"{LLAMA} runtime.args.quantization=fp8 model.stored.method=awq model.stored.gemm_dtype=w4a16"),
    _rule(r"runtime\.args\.quantization=\S+: the checkpoint is not quantized.*", f"{LLAMA} runtime.args.quantization=awq", later=NO_CHECKPOINT),
    _rule(r"runtime\.args\.quantization=\S+: needs compute capability .*", f"{LLAMA} runtime.args.quantization=mxfp8", later="a worker says so when it loads the model"),
    _rule(r"quant\.attention_dtype=fp8: attention backends compute .*", f"{LLAMA} quant.attention_dtype=fp8 quant.kvcache_dtype=fp8", "--attention-backend fa3", gpus=A100, later=KERNELS),
    Rule(reason=r"quant\.attention_dtype=fp8(: follows| contradicts) .*", unsaid="FP8 attention follows from the KV cache"),
)  # fmt: skip

REFUSALS: Mapping[str, tuple[Rule, ...]] = {
    "vllm": (*_VLLM_ARGS, *_VLLM_SHAPE, *_VLLM_LAYOUT, *_VLLM_SERVING, *_VLLM_QUANT),
    "sglang": (*_SGLANG_ARGS, *_SGLANG_SHAPE, *_SGLANG_LAYOUT, *_SGLANG_SERVING, *_SGLANG_QUANT),
}
