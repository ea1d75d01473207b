"""The phases of a start, from what engines log."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import jsonschema
import pytest

from autotune.deploy.phases import PHASES, phases_of
from autotune.plan.runtimes import RUNTIMES
from tests.shop import ROOT, Shop

LOGS = Path(__file__).parents[1] / "logs"

# vLLM 0.32.0 on a CPU wrote these; the second worker's is made up.
VLLM_ON_CPU = """\
(Worker pid=17456) INFO 11-25 08:53:27 [base_loader.py:82] Initializing model took 0.197931 seconds
(Worker pid=17456) INFO 11-25 08:53:27 [default_loader.py:501] Loading weights took 0.05 seconds
(Worker pid=17457) INFO 11-25 08:53:28 [default_loader.py:501] Loading weights took 0.45 seconds
(EngineCore pid=17414) INFO 11-25 08:53:31 [core.py:402] init engine (profile, create kv cache, warmup model) took 3.16 s
"""
# From a log that a user published in vLLM's issue 20264, older than the versions that are planned for.
VLLM_ON_GPU = """\
INFO 06-19 23:05:01 [loader.py:447] Loading weights took 0.69 seconds
INFO 06-19 23:05:01 [gpu_model_runner.py:1273] Model loading took 3.4213 GiB and 0.902026 seconds
INFO 06-19 23:05:18 [monitor.py:33] torch.compile takes 7.51 s in total
INFO 06-19 23:05:35 [gpu_model_runner.py:1608] Graph capturing finished in 17 secs, took 0.48 GiB
INFO 06-19 23:05:35 [core.py:162] init engine (profile, create kv cache, warmup model) took 34.11 seconds
"""
# Formatted as the source of vLLM 0.32.0 does; not seen in a log.
VLLM_0_32_ON_GPU = """\
(Worker_TP0 pid=1) INFO 01-01 00:00:01 [monitor.py:81] torch.compile took 20.50 s in total
(Worker_TP1 pid=2) INFO 01-01 00:00:01 [monitor.py:81] torch.compile took 21.25 s in total
(Worker_TP0 pid=1) INFO 01-01 00:00:09 [gpu_model_runner.py:6582] Graph capturing finished in 8 secs, took 0.90 GiB
(Worker_TP0 pid=1) INFO 01-01 00:00:11 [mm_encoder_model_runner.py:95] Encoder graph capturing finished in 2 secs, took 0.10 GiB (4 graphs)
(EngineCore pid=3) INFO 01-01 00:00:12 [core.py:395] init engine (profile, create kv cache, warmup model) took 33.30 s (compilation: 21.25 s)
"""
# Formatted as the source of SGLang 0.5.23 does; not seen in a log.
SGLANG = """\
[2026-01-01 00:00:01 TP0] Init parallel ends. elapsed=1.50 s
[2026-01-01 00:00:05 TP0] Load weight end. elapsed=4.10 s, type=LlamaForCausalLM, avail mem=60.00 GB, mem usage=15.00 GB.
[2026-01-01 00:00:05 TP1] Load weight end. elapsed=4.30 s, type=LlamaForCausalLM, avail mem=60.00 GB, mem usage=15.00 GB.
[2026-01-01 00:00:09 TP0] Capture decode CUDA graph end. bs=[1, 2, 4], elapsed=3.00 s, mem usage=1.00 GB, avail mem=9.00 GB.
[2026-01-01 00:00:09 TP1] Capture decode CUDA graph end. bs=[1, 2, 4], elapsed=3.20 s, mem usage=1.00 GB, avail mem=9.00 GB.
[2026-01-01 00:00:12 TP0] Capture prefill CUDA graph end. elapsed=2.05 s, mem usage=1.00 GB, avail mem=8.00 GB.
[2026-01-01 00:00:13] The server is fired up and ready to roll!
"""
# From logs that users of TensorRT-LLM published.
TENSORRT_LLM = """\
[12/20/2025-04:20:21] [TRT-LLM] [I] Use 63.32 GB for model weights.
Loading weights: 100%|##########| 801/801 [00:46<00:00, 17.29it/s]
Model init total -- 49.14s
15: Model init total -- 55.42s
"""


@pytest.mark.parametrize(
    ("runtime", "log", "phases"),
    [
        pytest.param("vllm", (LOGS / "vllm-0.32.0-served-and-stopped.log").read_text(), {"init_engine_s": 2.72}, id="vllm, a real start"),
        pytest.param("vllm", VLLM_ON_CPU, {"weights_s": 0.45, "init_engine_s": 3.16}, id="vllm, the slowest worker"),
        pytest.param("vllm", VLLM_ON_GPU, {"weights_s": 0.69, "compile_s": 7.51, "graphs_s": 17, "init_engine_s": 34.11}, id="vllm, older, on a GPU"),
        pytest.param("vllm", VLLM_0_32_ON_GPU, {"compile_s": 21.25, "graphs_s": 10, "init_engine_s": 33.3}, id="vllm, by its source"),
        pytest.param("sglang", SGLANG, {"distributed_s": 1.5, "weights_s": 4.3, "graphs_s": 5.25}, id="sglang, by its source"),
        pytest.param("tensorrt_llm", TENSORRT_LLM, {"weights_s": 55.42}, id="tensorrt-llm"),
        pytest.param("vllm", "", {}, id="nothing told"),
        pytest.param("vllm", (LOGS / "vllm-0.32.0-port-in-use.log").read_text(), {}, id="no phase in it"),
        pytest.param("an engine of tomorrow", VLLM_ON_GPU, {}, id="no texts known"),
    ],
)  # fmt: skip
def test_phases_are_what_the_log_tells(runtime: str, log: str, phases: dict[str, float]) -> None:
    """Seconds by phase, and nothing where nothing is told."""
    assert phases_of(log, runtime) == phases


def test_every_runtime_is_known() -> None:
    """A runtime of which nothing is known has an empty table, on purpose."""
    assert set(PHASES) == set(RUNTIMES)
    assert all(name.endswith("_s") for texts in PHASES.values() for name in texts)


def test_phases_are_on_record_and_in_the_store(shop: Shop) -> None:
    """The event says what the log told, the run has it beside `startup_s`; a silent log leaves nothing."""
    says = shop.folder / "says"
    says.write_text(VLLM_ON_CPU)
    told, silent = f"runtime.env.STANDIN_LOGS={says}", "sweep.name=t"
    assert shop.run(shop.words("sweep.name=s", told))[0] == 0
    assert shop.run(shop.words(silent))[0] == 0
    [ready], [quiet] = (
        [event for event in shop.events(name) if event["event"] == "server_ready"] for name in "st"
    )
    assert (ready["phases"], quiet["phases"]) == ({"weights_s": 0.45, "init_engine_s": 3.16}, {})
    schema = json.loads((ROOT / "autotune" / "track" / "journal.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    assert [list(validator.iter_errors(event)) for event in (ready, quiet)] == [[], []]
    assert list(validator.iter_errors({**ready, "phases": {"weights_s": "0.45"}})) != []
    with closing(sqlite3.connect(shop.folder / "mlruns" / "mlflow.db")) as store:
        rows = store.execute("select key, value from metrics where key like 'startup%' order by key")
        kept = [(key, value) for key, value in rows if key != "startup_s"]
    assert kept == [("startup/init_engine_s", 3.16), ("startup/weights_s", 0.45)]
