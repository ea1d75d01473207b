"""Engines that someone else runs (`deploy.url`)."""

from __future__ import annotations

from autotune.benchmark.protocol import Benchmark
from autotune.deploy import probe
from autotune.deploy.protocol import Order, Ready
from autotune.errors import TrialError


def url_problems(url: str) -> list[str]:
    """Return what is wrong with `deploy.url`: its form, or that nobody answers there."""
    if not url.startswith(("http://", "https://")):
        return [f"deploy.url={url}: must start with http:// or https://"]
    if probe.status(url.rstrip("/").removesuffix("/v1"), "/v1/models", probe.TIMEOUT_S) is None:
        return [f"deploy.url={url}: nobody answers there: start the engine first"]
    return []


class ForeignServer:
    """An engine that someone else runs: measured, never stopped."""

    started = None
    image_digest = None
    doubtful = False

    def __init__(self, order: Order) -> None:
        self._order = order
        self._url = (order.config.deploy.url or "").rstrip("/").removesuffix("/v1")

    def ready(self) -> Ready:
        """Ask for the served model; a missing version is a note."""
        names = probe.served_models(self._url, probe.TIMEOUT_S)
        wanted = self._order.config.model.served_name
        if not names and wanted is None:
            raise TrialError(
                "engine_died",
                f"{self._url}/v1/models names no model",
                advice="start the engine, or name the model with model.served_name",
            )
        version, simulated = probe.version(self._url, probe.TIMEOUT_S)
        missing = () if version else ("the engine does not tell its version",)
        name = wanted if wanted in names or not names else names[0]
        return Ready(
            endpoint=probe.endpoint(self._url, str(name)),
            startup_s=0.0,
            engine_version=version,
            simulated=simulated,
            notes=missing,
        )

    def death(self) -> TrialError | None:
        """Only its owner knows why it ended; what can be told is that it does not answer."""
        if probe.status(self._url, "/v1/models", probe.TIMEOUT_S) is not None:
            return None
        return TrialError("engine_died", f"{self._url} does not answer any more")

    def stop(self) -> None:
        """Leave it running: it is not ours."""

    def client(self, chosen: Benchmark) -> Benchmark:
        """The chosen load client."""
        return chosen
