"""Signatures of what broke beneath an engine or in it: a GPU, the links, disk, network, its own processes.

V, S, T and "seen" as in `signatures_setup`. No text of a GPU was ever seen here: those are read in the
sources that are named, or quoted from public reports of them.
"""

from __future__ import annotations

from autotune.failures.signatures import Signature, Tier
from autotune.failures.signatures_setup import SGLANG, TENSORRT_LLM, VLLM

GPU = (
    Signature(
        kind="gpu_lost",
        tier=Tier.GPU_GONE,
        texts=(
            "GPU has fallen off the bus",
            "fallen off the bus and is not responding",
            "GPU is lost",
            "NVRM: Xid (",
        ),
        cause="a GPU has dropped out of the machine {when}",
        advice="look into the kernel's log (dmesg, Xid 79): the GPU needs a reset, a reboot or a repair",
        source="NVML's error 15 in vLLM's third_party/pynvml.py; the driver's lines as quoted in issues 507 of "
        "NVIDIA/open-gpu-kernel-modules, 3363 of pop-os/pop, 155 of NVIDIA/NVSentinel",
        chatter=True,
    ),
    Signature(
        kind="gpu_lost",
        tier=Tier.GPU_GONE,
        texts=("uncorrectable ECC error encountered",),
        cause="the memory of a GPU has a fault that its error correction cannot mend",
        advice="look at nvidia-smi -q -d ECC, reset the GPU, and have it replaced if that comes again",
        source="CUDA's error 214, as quoted in issues 5222 of vllm-project/vllm and 3204 of sgl-project/sglang",
    ),
    Signature(
        kind="gpu_lost",
        tier=Tier.GPU_FAULT,
        texts=("CUDA error: unspecified launch failure",),
        cause="the work on a GPU broke off without a reason {when}",
        advice="look into the kernel's log for Xid lines; without one it is a fault of the engine's kernels",
        source="CUDA's error 719, as quoted in issue 27430 of vllm-project/vllm (GPU in state ERR! after it)",
    ),
)

HOST = (
    Signature(
        kind="infrastructure",
        tier=Tier.HOST,
        texts=(
            "No space left on device",
            "Disk quota exceeded",
            "Error while creating shared memory segment",
        ),
        cause="a disk or the shared memory of the host is full",
        advice="free space where engine.log says; a container needs more than 64 MiB in /dev/shm",
        source="errno 28 and 122; NCCL's line as quoted in issue 11054 of vllm-project/vllm",
    ),
    Signature(
        kind="infrastructure",
        tier=Tier.HOST,
        texts=(
            "No CUDA GPUs are available",
            "Found no NVIDIA driver on your system",
            "driver on your system is too old",
            "Failed to infer device type",
            "could not select device driver",
            "Driver/library version mismatch",
        ),
        cause="the engine finds no GPU that it can use, or no driver for it",
        advice="look whether nvidia-smi works there, in a container as outside",
        source="torch, NVML, V config/device.py:56; Docker's line seen without the NVIDIA toolkit",
    ),
    Signature(
        kind="infrastructure",
        tier=Tier.HOST,
        texts=(
            "We couldn't connect to '",
            "trying to locate the file on the Hub",
            "trying to locate the files on the Hub",
        ),
        cause="the model's hub cannot be reached",
        advice="look at the network, or fetch the model first and set HF_HUB_OFFLINE=1",
        source="transformers utils/hub.py, huggingface_hub file_download.py and _snapshot_download.py",
    ),
    Signature(
        kind="nccl",
        tier=Tier.NCCL,
        texts=(
            "NCCL error",
            "ncclSystemError",
            "ncclInternalError",
            "ncclUnhandledCudaError",
            "ncclRemoteError",
            "Watchdog caught collective operation timeout",
        ),
        cause="the GPUs of the engine could not talk to each other {when}",
        advice="set NCCL_DEBUG=INFO in runtime.env and look at engine.log; check the links (nvidia-smi topo -m)",
        source="V, S, T section 5; V pynccl_wrapper.py:448; torch's ProcessGroupNCCL",
    ),
)

DEATH = (
    Signature(
        kind="infrastructure",
        tier=Tier.VANISHED,
        texts=("API server: shutdown triggered",),
        cause="someone else told the engine to stop {when}",
        advice="find out who ends processes there: a batch system, a container's limit, a person",
        source="V entrypoints launcher; seen: ended-by-another (exit status 0)",
        runtimes=VLLM,
        chatter=True,
    ),
    Signature(
        kind="engine_died",
        tier=Tier.VANISHED,
        texts=("died unexpectedly (exit code: ",),
        pattern=r"\(exit code: (?:None|-\d+)\)",
        cause="a worker process of the engine was killed {when}",
        advice="look into the kernel's log (dmesg) for what ended it, then into engine.log of the trial",
        source="V v1/executor/multiproc_executor.py:316; seen: worker-killed, where the code was not known yet",
        runtimes=VLLM,
    ),
    Signature(
        kind="engine_died",
        tier=Tier.DEATH,
        texts=("MPClient: engine core exited unexpectedly",),
        cause="the engine's core process was killed {when}",
        advice="look into the kernel's log (dmesg) for what ended it, then into engine.log of the trial",
        source="V v1/engine/core_client.py:817; seen: engine-core-killed",
        runtimes=VLLM,
        chatter=True,
    ),
    Signature(
        kind="engine_died",
        tier=Tier.DEATH,
        texts=(
            "Engine core initialization failed",
            "EngineDeadError",
            "EngineCore encountered",
            "EngineCore failed to start",
            "WorkerProc hit an exception",
            "WorkerProc failed to start",
            "WorkerProc initialization failed",
        ),
        cause="a part of the engine broke {when}",
        advice="read engine.log of the trial",
        source="V section 5; seen: in nearly every log of a failure",
        runtimes=VLLM,
    ),
    Signature(
        kind="engine_died",
        tier=Tier.DEATH,
        texts=(
            "Scheduler hit an exception",
            "Received sigquit from a child",
            "watchdog timeout (",
            "Health check failed",
            "scheduler died during initialization",
            "Capture cuda graph failed",
        ),
        cause="a part of the engine broke {when}",
        advice="read engine.log of the trial",
        source="S section 5; a graph capture that fails for want of memory says so in the same line",
        runtimes=SGLANG,
    ),
    Signature(
        kind="engine_died",
        tier=Tier.DEATH,
        texts=("Executor worker returned error", "Failed to initialize executor on rank", "Engine has died"),
        cause="a part of the engine broke {when}",
        advice="read engine.log of the trial",
        source="T section 5",
        runtimes=TENSORRT_LLM,
    ),
)

BREAKDOWN = (*GPU, *HOST, *DEATH)
