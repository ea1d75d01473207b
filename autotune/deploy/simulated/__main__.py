"""`python -m autotune.deploy.simulated --spec FILE.json -- ENGINE ARGV...`: the stand-in engine.

FILE.json stands for the hardware and the model's files: `engine`, `version`, `gpu` (data-sheet figures),
`gpu_model`, `gpus_visible`, `model` (architecture facts), `startup_s`. Everything after `--` is the
engine's own command.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from autotune.deploy.simulated.command_line import UsageError
from autotune.deploy.simulated.engine import Engine, EngineRefusal, create_engine


def main(words: Sequence[str]) -> int:
    """Serve until SIGTERM; return the engine's exit status."""
    if len(words) < 4 or words[0] != "--spec" or words[2] != "--":
        print(__doc__, file=sys.stderr)  # noqa: T201
        return 2
    specification = json.loads(Path(words[1]).read_text())
    try:
        engine = create_engine(words[3:], specification)
    except UsageError as error:
        _say(str(error))
        return 2
    except EngineRefusal as error:
        _say(error.log)
        return 1
    try:
        listener = _bound(engine)
    except OSError as error:
        _say(f"OSError: [Errno {error.errno}] {error.strerror}")
        return 1
    _say(*_opening_lines(engine))
    time.sleep(specification["startup_s"])
    _serve(engine, listener)
    return 0


def _bound(engine: Engine) -> socket.socket:
    """A socket that holds the port and refuses connections until the engine is ready.

    Source: vLLM 0.33.0 entrypoints/launchers/launcher.py:353 binds before it loads.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((engine.arguments.host, engine.arguments.port))
    except OSError:
        listener.close()
        raise
    return listener


def _opening_lines(engine: Engine) -> list[str]:
    count = len(engine.replicas)
    lines = [
        f"INFO simulated {engine.engine} {engine.version}: times from a cost model, no claim about hardware"
    ]
    if engine.arguments.without_effect:
        lines.append(f"WARNING without effect on times: {' '.join(engine.arguments.without_effect)}")
    if engine.engine == "vllm":
        concurrency = engine.kv_tokens / engine.max_model_len
        return [
            *lines,
            f"INFO GPU KV cache size: {engine.kv_tokens:,} tokens in each of {count} replicas",
            f"INFO Maximum concurrency for {engine.max_model_len:,} tokens per request: {concurrency:.2f}x",
        ]
    return [*lines, f"INFO max_total_num_tokens={engine.kv_tokens} in each of {count} replicas"]


def _serve(engine: Engine, listener: socket.socket) -> None:
    import uvicorn

    from autotune.deploy.simulated.server import App, EngineServer

    app = App(engine)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=600,
    )
    ready = {
        "vllm": "INFO Application startup complete.",
        "sglang": "INFO The server is fired up and ready to roll!",
    }
    _say(ready[engine.engine])
    EngineServer(config, app).run(sockets=[listener])


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
