"""A container registry on 127.0.0.1 that serves one small image over the registry protocol (read only).

Docker speaks plain HTTP to registries at loopback addresses. Source: distribution spec 1.0, "Pulling".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry(ThreadingHTTPServer):
    """What is served, by the end of its path; and how often the image was asked for.

    With `stalls` no layer comes, until `goes_on` is set; `stalled` is set when one is asked for.
    """

    daemon_threads = True

    def __init__(self, architecture: str, *, stalls: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.pulls = 0
        self.stalled, self.goes_on = threading.Event(), threading.Event()
        if not stalls:
            self.goes_on.set()
        layer = _layer(f"for port {self.server_port}\n")  # else a daemon may have it from another test
        packed = gzip.compress(layer)
        config = json.dumps(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Labels": {"autotune.simulated": "true"}},
                "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
            }
        ).encode()
        parts = [(CONFIG, config), (LAYER, packed)]
        described = [{"mediaType": kind, "size": len(data), "digest": _digest(data)} for kind, data in parts]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described[0],
            "layers": described[1:],
        }
        self.manifest = json.dumps(manifest).encode()
        self.digest = _digest(self.manifest)
        self.blobs = {_digest(data): data for _, data in parts}

    @property
    def image(self) -> str:
        """The name under which the image is pulled."""
        return f"127.0.0.1:{self.server_port}/engine:v1"


class Answers(BaseHTTPRequestHandler):
    """One request."""

    server: Registry

    def do_GET(self) -> None:
        """The protocol's root, the manifest, a blob."""
        last = self.path.rpartition("/")[2]
        if self.path == "/v2/":
            self._answer(b"{}", "application/json")
        elif "/manifests/" in self.path and last in {"v1", self.server.digest}:
            self.server.pulls += self.command == "GET"
            self._answer(self.server.manifest, MANIFEST)
        elif last in self.server.blobs:
            self._wait()
            self._answer(self.server.blobs[last], "application/octet-stream")
        else:
            error = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            self._answer(json.dumps(error).encode(), "application/json", status=404)

    do_HEAD = do_GET  # noqa: N815  (the name that the server looks for)

    def log_message(self, *_words: object) -> None:
        """Say nothing."""

    def _wait(self) -> None:
        """A registry whose storage hangs."""
        if not self.server.goes_on.is_set():
            self.server.stalled.set()
            self.server.goes_on.wait()

    def _answer(self, body: bytes, kind: str, *, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", self.server.digest)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@contextmanager
def serving(architecture: str = "amd64", *, stalls: bool = False) -> Iterator[Registry]:
    """Give a registry that serves."""
    with Registry(architecture, stalls=stalls) as registry:
        thread = threading.Thread(target=registry.serve_forever)
        thread.start()
        try:
            yield registry
        finally:
            registry.goes_on.set()
            registry.shutdown()
            thread.join()


def _layer(text: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        member = tarfile.TarInfo("here")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
