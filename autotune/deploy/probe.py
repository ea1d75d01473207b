"""Questions to a running engine over HTTP."""

from __future__ import annotations

import http.client
import json
import secrets
import socket
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from autotune.records import Endpoint

TIMEOUT_S = 5.0  # for one question

SYSTEM_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
LOWEST_PORT = 15000  # below it are the usual ports of services
MANY_PORTS = 4000  # so many must be left to choose from

_given: set[int] = set()  # engines that start side by side never race for one port
_guard = threading.Lock()

# Where engines tell their version. Source: vLLM 0.33.0 `/version`; SGLang 0.5.23 `/server_info`.
VERSION_PATHS = ("/version", "/server_info", "/get_server_info")


def status(url: str, path: str, timeout_s: float) -> int | None:
    """Return the HTTP status of GET `path`, or None if nobody answers."""
    answer = _get(url, path, timeout_s)
    return answer[0] if answer else None


def json_of(url: str, path: str, timeout_s: float) -> Any:
    """Return the JSON that GET `path` answers with status 200, else None."""
    answer = _get(url, path, timeout_s)
    if answer is None or answer[0] != 200:
        return None
    try:
        return json.loads(answer[1])
    except ValueError:
        return None


def served_models(url: str, timeout_s: float) -> list[str]:
    """Return the names at `/v1/models`; empty if the engine does not tell."""
    models = json_of(url, "/v1/models", timeout_s)
    data = models.get("data") if isinstance(models, Mapping) else None
    return [str(item["id"]) for item in data or [] if isinstance(item, Mapping) and "id" in item]


def version(url: str, timeout_s: float) -> tuple[str | None, bool]:
    """Return the engine's own word on its version, and whether it says that it is a stand-in."""
    for path in VERSION_PATHS:
        told = json_of(url, path, timeout_s)
        if isinstance(told, Mapping) and "version" in told:
            return str(told["version"]), bool(told.get("simulated", False))
    return None, False


def endpoint(url: str, model: str) -> Endpoint:
    """Return the endpoint with its URL in the form that clients expect."""
    return Endpoint(url=url.rstrip("/").removesuffix("/v1"), model=model)


def port_is_free(port: int) -> bool:
    """Whether 127.0.0.1:`port` can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses now, and that this process has not given out before.

    An engine may bind it minutes later. So it is none of those that the system gives to outgoing
    connections meanwhile, those of load clients among them, if there is room below these.
    """
    with _guard:
        while True:
            port = _drawn()
            if port not in _given and port_is_free(port):
                _given.add(port)
                return port


def _drawn() -> int:
    """A port from below the system's own range; where that begins early, one that it gives."""
    first = _first_of_system()
    if first > LOWEST_PORT + MANY_PORTS:
        return LOWEST_PORT + secrets.randbelow(first - LOWEST_PORT)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _first_of_system() -> int:
    try:
        return int(SYSTEM_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def _get(url: str, path: str, timeout_s: float) -> tuple[int, bytes] | None:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
