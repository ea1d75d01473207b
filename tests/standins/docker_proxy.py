"""Stands between Docker's clients and a real daemon: passes everything on, unless it is told otherwise.

So the daemon hangs, or refuses, at a named request, and does everything else as ever.
"""

from __future__ import annotations

import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer

POLL_S = 0.05
REFUSAL = b'{"message":"the stand-in refuses"}'


class Fault(Enum):
    """What becomes of a request."""

    SWALLOWED = "the daemon does it, and the answer never comes"
    HELD = "the daemon never hears of it, and no answer comes"
    REFUSED = "it is answered with status 500"


@dataclass(slots=True)
class Rule:
    """A fault for the first `times` requests that `pattern` finds in `METHOD /path?query`; `met` are those."""

    fault: Fault
    pattern: str
    times: int
    over: threading.Event = field(default_factory=threading.Event)
    met: list[str] = field(default_factory=list)

    def meets(self, told: str) -> bool:
        """Whether this request is one of them; it is counted then."""
        if self.over.is_set() or len(self.met) >= self.times or not re.search(self.pattern, told):
            return False
        self.met.append(told)
        return True

    def end(self) -> None:
        """Pass everything on again; who still waits for an answer is cut off."""
        self.over.set()


class DockerProxy(ThreadingUnixStreamServer):
    """Listens at `host`; `rules` are tried in order."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, upstream: str) -> None:
        place = folder / "proxy.sock"
        super().__init__(str(place), Connection)
        self.host = f"unix://{place}"
        self.upstream = upstream.removeprefix("unix://")
        self.rules: list[Rule] = []

    def rule(self, fault: Fault, pattern: str, *, times: int = 2**31) -> Rule:
        """Begin a fault."""
        made = Rule(fault, pattern, times)
        self.rules.append(made)
        return made

    def handle_error(self, *_request: object) -> None:
        """A client or the daemon went away."""


class Connection(StreamRequestHandler):
    """One request of a client: the connection is closed after its answer."""

    server: DockerProxy

    def handle(self) -> None:
        """Pass the request on, or not."""
        first = self.rfile.readline().decode()
        if not first:
            return
        head = [line for line in iter(self.rfile.readline, b"\r\n") if line]
        sizes = [int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:")]
        body = self.rfile.read(sizes[0]) if sizes else b""
        kept = [line for line in head if not line.lower().startswith(b"connection:")]
        request = b"".join([first.encode(), *kept, b"Connection: close\r\n\r\n", body])
        told = first.rsplit(" ", 1)[0]
        rule = next((rule for rule in self.server.rules if rule.meets(told)), None)
        if rule is None:
            self._pass_on(request)
            return
        if rule.fault is Fault.REFUSED:
            answer = b"HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\nConnection: close\r\n"
            self.wfile.write(answer + b"Content-Length: %d\r\n\r\n" % len(REFUSAL) + REFUSAL)
            return
        if rule.fault is Fault.SWALLOWED:
            self._swallow(request)
        while not rule.over.is_set() and not self._left(POLL_S):
            pass

    def _pass_on(self, request: bytes) -> None:
        with self._daemon() as daemon:
            daemon.sendall(request)
            while not self._left(0):
                if select.select([daemon], [], [], POLL_S)[0]:
                    piece = daemon.recv(2**16)
                    if not piece:
                        return
                    self.connection.sendall(piece)

    def _swallow(self, request: bytes) -> None:
        """Wait until the daemon has done it."""
        with self._daemon() as daemon:
            daemon.sendall(request)
            daemon.recv(2**16)

    def _daemon(self) -> socket.socket:
        daemon = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            daemon.connect(self.server.upstream)
        return daemon

    def _left(self, timeout_s: float) -> bool:
        """Whether the client has gone away."""
        if not select.select([self.connection], [], [], timeout_s)[0]:
            return False
        return not self.connection.recv(1, socket.MSG_PEEK)


@contextmanager
def between(folder: Path, upstream: str) -> Iterator[DockerProxy]:
    """Give a proxy that serves; every fault ends with it."""
    with DockerProxy(folder, upstream) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": POLL_S})
        thread.start()
        try:
            yield proxy
        finally:
            for rule in proxy.rules:
                rule.end()
            proxy.shutdown()
            thread.join()
