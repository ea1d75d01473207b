"""Ask an engine itself whether it takes a command line, up to where a GPU is needed.

    ENGINE_PYTHON -m scripts.parser_check.ask vllm --gpu NAME --capability 9.0 --memory-gib 80 --count 8

Reads questions, one JSON object a line: `{"id": 1, "argv": ["vllm", "serve", MODEL, ...]}`; MODEL is a folder
with a config.json, weights are not needed. Answers each with a line that has the same id:

* `stage` is `parser` (refused as flags, types and choices), `config` (the engine's own configuration was
  made, or refused), or `unknown` (the parser accepts; the configuration needs what this machine lacks);
* `accepted`, and `error`: the engine's own words;
* `world_size` and `world_size_across_dp`, by the engine's own definition, where a configuration was made;
* `changed`: what the engine then sets otherwise than it was asked to, `{name: [asked, got]}`.

The engine finds declared GPUs that are not there. Run with the engine's own Python; needs nothing else.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.parser_check.ask_sglang import Sglang
from scripts.parser_check.ask_vllm import Vllm

ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_LOGGING_LEVEL": "CRITICAL",
    "VLLM_NO_USAGE_STATS": "1",
}
# What fails for want of a GPU or of a CUDA build says nothing about the command line.
LACKING = re.compile(
    r"_OpNamespace|NVIDIA driver|not compiled with CUDA|NVML|lib(cuda|nvidia)|no CUDA", re.IGNORECASE
)
PYDANTIC = re.compile(r"\[type=\w+, input_value=.*")


def main() -> int:
    """Answer questions until the input ends; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", choices=sorted(ENGINES))
    parser.add_argument("--gpu", required=True)
    parser.add_argument("--capability", type=float, required=True)
    parser.add_argument("--memory-gib", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    asked = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the engines print to standard output
    os.environ.update(ENVIRONMENT)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    engine = ENGINES[asked.engine](asked)
    for line in sys.stdin:
        question = json.loads(line)
        answer = {"id": question["id"], **_answer(engine, question["argv"])}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


def _answer(engine: Any, argv: Sequence[str]) -> dict[str, Any]:
    """The parser's answer, then the configuration's; whatever the engine raises is what it says."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            parsed = engine.parse(argv)
    except SystemExit:
        return _verdict("parser", _last_line(said.getvalue()))
    except Exception as error:  # noqa: BLE001
        return _verdict("parser", _words(error))
    try:
        return _verdict("config", "", *engine.configure(parsed))
    except Exception as error:  # noqa: BLE001
        lacking = isinstance(error, ImportError) or LACKING.search(str(error))
        return _verdict("unknown" if lacking else "config", _words(error))


def _verdict(
    stage: str,
    error: str,
    one: int | None = None,
    every: int | None = None,
    changed: Mapping[str, list[str]] | None = None,
) -> dict[str, Any]:
    return {
        "accepted": not error or stage == "unknown",
        "stage": stage,
        "error": error,
        "world_size": one,
        "world_size_across_dp": every,
        "changed": changed or {},
    }


def _last_line(text: str) -> str:
    """The reason, which argparse gives after pages of usage."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason was given"


def _words(error: Exception) -> str:
    """A bare assertion says nothing: then the line that it stands on does."""
    text = PYDANTIC.sub("", " ".join(str(error).split()))
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text or f'{Path(frame.filename).name}: {frame.line}'}"


ENGINES: dict[str, Callable[[argparse.Namespace], Any]] = {"vllm": Vllm, "sglang": Sglang}

if __name__ == "__main__":
    sys.exit(main())
