"""Images: looked up, pulled if that is allowed, and checked for this host."""

from __future__ import annotations

import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docker.errors import DockerException, ImageNotFound
from urllib3.exceptions import HTTPError

from autotune import daemon
from autotune.deploy.docker.complaints import failure_of
from autotune.deploy.docker.container import STAND_IN
from autotune.errors import Interrupted, TrialError
from autotune.schema import Pull

if TYPE_CHECKING:
    from docker import DockerClient

POLL_S = 0.2  # how late a cancellation is seen
TELL_S = 10.0  # between two lines of progress
SILENT_S = 300.0  # a pull of which nothing is heard for so long is given up
# The same processor under the names of Go, which images use, and of the kernel, which daemons tell.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

Lines = queue.SimpleQueue[Mapping[str, Any] | Exception | None]
"""What a pull says, an error or None at its end."""

_pulling: dict[str, threading.Lock] = defaultdict(threading.Lock)
_pulled: set[str] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image that is here: `digest` names its content, in a registry if it came from one."""

    id: str
    digest: str
    architecture: str
    stand_in: bool


def find(client: DockerClient, name: str) -> Image | None:
    """Return the image of that name, None if the host has none.

    Raises: DockerException, OSError.
    """
    try:
        found: Mapping[str, Any] = client.api.inspect_image(name)  # type: ignore[no-untyped-call]
    except ImageNotFound:
        return None
    return Image(
        id=found["Id"],
        digest=_digest(name, found.get("RepoDigests") or [], found["Id"]),
        architecture=found.get("Architecture", ""),
        stand_in=((found.get("Config") or {}).get("Labels") or {}).get(STAND_IN) == "true",
    )


def fetch(
    client: DockerClient,
    name: str,
    pull: Pull,
    *,
    tell: Callable[[str], None],
    cancelled: threading.Event,
    silent_s: float = SILENT_S,
) -> Image:
    """Return the image, pulled as far as `pull` allows; trials that want the same one wait for one pull.

    A pull of which nothing is heard for `silent_s` is given up.

    Raises: TrialError `image_missing` or `infrastructure`, Interrupted.
    """
    lock = _pulling[name]
    while not lock.acquire(timeout=POLL_S):
        if cancelled.is_set():
            raise Interrupted
    try:
        image = find(client, name)
        wanted = image is None if pull is Pull.missing else pull is Pull.always and name not in _pulled
        if wanted:
            _pull(name, tell=tell, cancelled=cancelled, silent_s=silent_s)
            _pulled.add(name)
            image = find(client, name)
    except (DockerException, OSError) as error:
        raise failure_of(error, f"image {name}") from error
    finally:
        lock.release()
    if image is None:
        raise TrialError(
            "image_missing",
            f"image {name} is not on this host",
            advice=f"docker pull {name}, or deploy.pull=missing",
        )
    return image


def _digest(name: str, told: Sequence[str], image_id: str) -> str:
    """What names the content in the registry of this name; an image from nowhere has its id only."""
    repository = name.partition("@")[0]
    repository = repository.rpartition(":")[0] if ":" in repository.rpartition("/")[2] else repository
    return next((digest for digest in told if digest.partition("@")[0] == repository), image_id)


def foreign(image: Image, host: str) -> str | None:
    """Return the image's architecture if it is not that of the host, as its daemon tells it."""
    same = image.architecture in {"", host, ARCHITECTURES.get(host)}
    return None if same else image.architecture


def _pull(name: str, *, tell: Callable[[str], None], cancelled: threading.Event, silent_s: float) -> None:
    """Pull in a thread of its own: a registry may be silent for long, and a Ctrl-C must not wait for it.

    Raises: TrialError `image_missing` or `infrastructure`, Interrupted.
    """
    tell(f"pulling {name}")
    lines: Lines = queue.SimpleQueue()
    threading.Thread(target=_read_pull, args=(name, lines), name="pull", daemon=True).start()
    layers: dict[str, tuple[int, int]] = {}
    heard_s = told_s = time.monotonic()
    while True:
        if cancelled.is_set():
            raise Interrupted
        now_s = time.monotonic()
        if now_s - heard_s >= silent_s:
            raise TrialError(
                "infrastructure",
                f"pulling {name}: nothing was heard of it for {silent_s:g} s",
                evidence=f"docker: {_progress(layers)}",
                advice=f"look at the network and at the registry; docker pull {name} shows more",
            )
        if now_s - told_s >= TELL_S and (layers or now_s - heard_s >= TELL_S):
            told_s = now_s
            quiet = f"; nothing heard for {now_s - heard_s:.0f} s" if now_s - heard_s >= TELL_S else ""
            tell(f"pulling {name}: {_progress(layers)}{quiet}")
        try:
            line = lines.get(timeout=POLL_S)
        except queue.Empty:
            continue
        if line is None:
            break
        heard_s = time.monotonic()
        _note(name, line, layers)
    tell(f"pulled {name}")


def _note(name: str, line: Mapping[str, Any] | Exception, layers: dict[str, tuple[int, int]]) -> None:
    """Take one line of a pull in: what came of `layers`.

    Raises: TrialError.
    """
    if isinstance(line, Exception):
        raise failure_of(line, f"pulling {name}") from line
    if "error" in line:
        raise failure_of(RuntimeError(line["error"]), f"pulling {name}")
    detail = line.get("progressDetail") or {}
    if line.get("id") and detail.get("total"):
        layers[f"{line['id']} {line['status']}"] = (int(detail.get("current", 0)), int(detail["total"]))


def _read_pull(name: str, lines: Lines) -> None:
    """Hand on what the daemon says of a pull, then None; or what broke it off.

    The SDK waits for every line without a limit: whoever reads `lines` has one.
    """
    try:
        with daemon.client() as client:
            tag = None if _tagged(name) else "latest"
            for line in client.api.pull(name, tag=tag, stream=True, decode=True):
                lines.put(line)
    except (DockerException, OSError, HTTPError) as error:
        lines.put(error)
    else:
        lines.put(None)


def _tagged(name: str) -> bool:
    return "@" in name or ":" in name.rpartition("/")[2]


def _progress(layers: Mapping[str, tuple[int, int]]) -> str:
    """What came over the network so far; a layer that is unpacked came as a whole."""
    came = {key: value for key, value in layers.items() if key.endswith("Downloading")}
    done, total = (sum(value[i] for value in came.values()) for i in (0, 1))
    return f"{done / 2**20:.0f} of {total / 2**20:.0f} MiB of the layers in progress"
