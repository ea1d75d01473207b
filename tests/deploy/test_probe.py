"""Questions to engines, and the ports that they get."""

from __future__ import annotations

from pathlib import Path

import pytest

from autotune.deploy import probe


def test_a_free_port_is_given_once() -> None:
    """Engines that start side by side never race for one, however late they bind it."""
    ports = [probe.free_port() for _ in range(300)]
    assert len(set(ports)) == 300
    assert all(probe.port_is_free(port) for port in ports[:20])


@pytest.mark.parametrize(
    ("told", "lowest", "highest"),
    [
        pytest.param("32768\t60999\n", probe.LOWEST_PORT, 32767, id="below the system's"),
        pytest.param("1024\t65535\n", 1024, 65535, id="no room below"),
        pytest.param(None, 1024, 65535, id="not told"),
    ],
)
def test_a_free_port_is_none_of_outgoing_connections(
    told: str | None, lowest: int, highest: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load client's connection cannot take it while the engine loads its weights."""
    file = tmp_path / "range"
    if told is not None:
        file.write_text(told)
    monkeypatch.setattr(probe, "SYSTEM_RANGE", file)
    assert all(lowest <= probe.free_port() <= highest for _ in range(50))
