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

from autotune.deploy.simulated.arguments import UsageError
from autotune.deploy.simulated.engine import EngineRefusal, create_engine
from autotune.deploy.simulated.refusals import LAST_WORDS


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
        _say(f"ERROR simulated engine: {error}", LAST_WORDS[specification["engine"]])
        return 1
    arguments = engine.arguments
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((arguments.host, arguments.port))
    except OSError as error:
        _say(f"OSError: [Errno {error.errno}] {error.strerror}")
        return 1
    _say(
        f"INFO simulated {engine.engine} {engine.version}: times from a cost model, no claim about hardware",
        f"INFO GPU KV cache size: {engine.kv_tokens} tokens in each of {len(engine.replicas)} replicas",
    )
    time.sleep(specification["startup_s"])
    import uvicorn

    from autotune.deploy.simulated.server import App

    config = uvicorn.Config(
        App(engine),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
        timeout_keep_alive=600,
    )
    _say("INFO Application startup complete.")
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _say(*lines: str) -> None:
    for line in lines:
        print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
