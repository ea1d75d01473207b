"""Asks an engine for its metrics page, over one connection that is kept."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import quote, urlsplit

from autotune.observe.page import ALL_NAMES, NAMES, Page, read_iterations, read_page

TIMEOUT_S = 2.0  # for each wait on the socket
PATHS = {
    "vllm": ("/metrics",),
    "sglang": ("/metrics",),
    "tensorrt_llm": ("/prometheus/metrics", "/metrics"),
}
HOW = {
    "sglang": "runtime.args.enable_metrics=true",
    "tensorrt_llm": "runtime.args.return_perf_metrics=true and runtime.args.enable_iter_perf_stats=true",
}
"""What makes an engine tell; vLLM always does."""


class NoMetrics(Exception):
    """The engine has no page with what is wanted, and will not get one; the message says why."""


class Scraper:
    """Looks at an engine's page; one thread looks, any other may `abort`.

    An engine that can is asked for the wanted metrics alone: a whole page takes the real vLLM's API process
    as long as some tokens. The first question that brings anything is the one asked from then on.
    """

    def __init__(self, url: str, runtime: str | None, *, timeout_s: float = TIMEOUT_S) -> None:
        """`runtime` None: it may be any. Nothing is asked yet."""
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
        self._base = parts.path.rstrip("/")
        self._runtime = runtime
        self._questions = _questions(runtime)
        self._settled = False
        self._aborted = False
        self.looks = 0
        self.failures: list[str] = []

    def look(self) -> Page | None:
        """Return the page; None if the engine did not answer this time.

        Raises: NoMetrics once it is known that there is nothing to be had.
        """
        try:
            page, why = self._ask()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            page, why = None, str(error) or type(error).__name__
            failed = True
        else:
            failed = self._settled and page is None
        if self._aborted:
            return None
        self.looks += 1
        if failed:
            self.failures.append(why)
        elif page is None:
            self.close()
            raise NoMetrics(f"{why}{self._advice()}")
        return page or None

    def abort(self) -> None:
        """End a look in progress, and take no failure for one from now on."""
        self._aborted = True
        open_socket = self._connection.sock
        if open_socket is not None:
            with suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; nobody may be looking."""
        self._connection.close()

    def _ask(self) -> tuple[Page | None, str]:
        why = ""
        for question in self._questions:
            status, body = self._get(question)
            page = _read(body) if status == 200 else {}
            if page or (self._settled and status == 200):
                self._questions, self._settled = (question,), True
                return page, ""
            path = question.partition("?")[0].rstrip("/")
            why = f"{path} has none" if status == 200 else f"{path} answers with status {status}"
        return None, why

    def _get(self, question: str) -> tuple[int, str]:
        self._connection.request("GET", self._base + question)
        answer = self._connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")

    def _advice(self) -> str:
        how = HOW.get(self._runtime or "")
        return f": set {how}" if how else ""


def _read(body: str) -> Page:
    if body.lstrip().startswith("["):
        return read_iterations(json.loads(body))
    return read_page(body)


def _questions(runtime: str | None) -> Sequence[str]:
    """Each path with the wanted names, then without.

    Source: prometheus_client exposition.py: `name[]` restricts a page; a page that is put together from
    several processes (SGLang, vLLM with several API servers) is empty then. vLLM 0.32.0
    entrypoints/serve/instrumentator/metrics.py: another library answers `/metrics`, whole; what only begins
    so, as `/metrics/` does, reaches prometheus_client.
    """
    names = NAMES.get(runtime or "", ALL_NAMES)
    wanted = "&".join(f"{quote('name[]')}={quote(name)}" for name in names)
    paths = PATHS.get(runtime or "") or dict.fromkeys(path for paths in PATHS.values() for path in paths)
    return [f"{path}{query}" for path in paths for query in (f"/?{wanted}", "")]
