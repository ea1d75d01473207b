"""A deployer whose engines fail as a test says, and are replayed otherwise."""

from __future__ import annotations

from collections.abc import Callable

from autotune.deploy.protocol import Order, Server
from autotune.deploy.replay import ReplayDeployer
from autotune.errors import TrialError

Fails = Callable[[Order], str | None]


class FlakyDeployer(ReplayDeployer):
    """Asks `fails` at each start: the kind of failure, or None for an engine that works."""

    recorded = False  # what fails here may work the next time

    def __init__(self, fails: Fails) -> None:
        self._fails = fails

    def start(self, order: Order) -> Server:
        """Return the rows of the candidate as a server.

        Raises: TrialError as the test says.
        """
        kind = self._fails(order)
        if kind is not None:
            (order.folder / "engine.log").write_text(f"{kind} on {order.lease.gpus[0].index}")
            raise TrialError(kind, f"because of {kind}", evidence="engine.log:1: bad", advice="mend it")
        return super().start(order)


def at_first(kind: str, times: int, *, gpus: int) -> Fails:
    """Fail the first starts on so many GPUs."""
    left = [times]

    def fails(order: Order) -> str | None:
        if order.plan.gpus != gpus or not left[0]:
            return None
        left[0] -= 1
        return kind

    return fails
