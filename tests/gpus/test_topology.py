"""Components of pairs, masks, core lists and sysfs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.gpus.topology import bits, core_list, groups, pci_folder, sysfs_cores, sysfs_numa


@pytest.mark.parametrize(
    ("count", "pairs", "expected"),
    [
        pytest.param(0, [], [], id="nothing"),
        pytest.param(2, [], [None, None], id="no pair"),
        pytest.param(4, [(0, 1), (2, 3)], [0, 0, 2, 2], id="two pairs"),
        pytest.param(4, [(2, 3), (1, 2)], [None, 1, 1, 1], id="one alone"),
        pytest.param(5, [(3, 4), (2, 3), (1, 2), (0, 1)], [0, 0, 0, 0, 0], id="a chain, from its end"),
    ],
)
def test_groups(count: int, pairs: list[tuple[int, int]], expected: list[int | None]) -> None:
    """Who is joined through others is joined."""
    assert groups(count, pairs) == expected


@given(st.sets(st.integers(0, 8191)))
def test_bits_of_a_mask(cores: set[int]) -> None:
    """The bits of NVML's words are read back."""
    words = [0] * 128
    for core in cores:
        words[core // 64] |= 1 << core % 64
    assert bits(words) == tuple(sorted(cores))


@pytest.mark.parametrize(
    ("text", "cores"),
    [("", ()), ("3", (3,)), ("0-2,8\n", (0, 1, 2, 8)), ("0,2-3", (0, 2, 3))],
)
def test_core_lists(text: str, cores: tuple[int, ...]) -> None:
    """The kernel's way to write them."""
    assert core_list(text) == cores


@pytest.mark.parametrize(
    ("bus_id", "name"),
    [("00000000:17:00.0", "0000:17:00.0"), ("00010000:C1:00.0", "10000:c1:00.0"), ("0000FFFF:1A:00.0", "ffff:1a:00.0")],
)  # fmt: skip
def test_the_kernels_name_of_a_pci_device(bus_id: str, name: str) -> None:
    """Four digits of domain, or more if they are needed, in lower case."""
    assert pci_folder(Path("/sys"), bus_id) == Path("/sys/bus/pci/devices", name)


@pytest.mark.parametrize(("text", "node"), [("1\n", 1), ("0\n", 0), ("-1\n", None), (None, None)])
def test_the_numa_node_of_sysfs(text: str | None, node: int | None, tmp_path: Path) -> None:
    """-1 is the kernel's word for unknown."""
    if text is not None:
        (tmp_path / "numa_node").write_text(text)
    assert sysfs_numa(tmp_path) == node
    assert sysfs_cores(tmp_path) == ()
