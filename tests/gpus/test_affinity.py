"""Cores of engines and load clients, over generated hosts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.gpus.affinity import LEAST_CORES, NOWHERE, cores_for, physical_cores
from autotune.records import Gpu, Inventory, InventoryKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A host with GPUs on NUMA nodes, what this process may use of it, and what is kept for clients."""

    inventory: Inventory
    allowed: frozenset[int]
    client_cores: int
    core_of: dict[int, int]

    def cores(self, *gpus: Gpu) -> tuple[set[int], set[int]]:
        """The cores of an engine on these GPUs, and those of its client."""
        engine, client = cores_for(
            gpus, self.inventory, self.allowed, client_cores=self.client_cores, core_of=self.core_of
        )
        assert (len(set(engine)), len(set(client))) == (len(engine), len(client))
        return set(engine), set(client)


def host(
    counts: list[int],
    size: int,
    *,
    client_cores: int = 2,
    threads: int = 1,
    allowed: frozenset[int] | None = None,
    kind: InventoryKind = InventoryKind.DETECTED,
) -> Host:
    """Nodes of `size` cores with `counts` GPUs each; second threads have the upper half of the ids."""
    every = size * len(counts)
    cpus = [
        tuple(
            core + half * every for half in range(threads) for core in range(node * size, (node + 1) * size)
        )
        for node in range(len(counts))
    ]
    numas = [node for node, count in enumerate(counts) for _ in range(count)]
    gpus = tuple(
        Gpu(uuid=f"gpu-{i}", index=i, model="m", node="n", numa=numa, cpus=cpus[numa])
        for i, numa in enumerate(numas)
    )
    return Host(
        inventory=Inventory(kind=kind, gpus=gpus),
        allowed=allowed if allowed is not None else frozenset(range(every * threads)),
        client_cores=client_cores,
        core_of={cpu: cpu % every for cpu in range(every * threads)} if threads > 1 else {},
    )


@st.composite
def hosts(draw: st.DrawFn) -> Host:
    """One or two nodes, some cores of which this process may not use."""
    counts = draw(st.lists(st.integers(0, 4), min_size=1, max_size=2))
    size, threads = draw(st.integers(1, 24)), draw(st.integers(1, 2))
    every = frozenset(range(size * len(counts) * threads))
    return host(
        counts,
        size,
        client_cores=draw(st.integers(0, 4)),
        threads=threads,
        allowed=draw(st.one_of(st.just(every), st.sets(st.sampled_from(sorted(every))).map(frozenset))),
    )


@given(hosts())
def test_engines_and_clients_never_share_a_core(given_host: Host) -> None:
    """Whatever GPUs trials hold: engines on disjoint GPUs are apart, and no client is among them."""
    each = {gpu.uuid: given_host.cores(gpu) for gpu in given_host.inventory.gpus}
    clients = set().union(*(client for _, client in each.values())) if each else set()
    for one, other in combinations(each.values(), 2):
        assert not one[0] & other[0]
    for gpu in given_host.inventory.gpus:
        engine, client = each[gpu.uuid]
        assert engine <= given_host.allowed & set(gpu.cpus)
        assert client <= given_host.allowed & set(gpu.cpus)
        assert not engine & clients
        cores = {given_host.core_of.get(cpu, cpu) for cpu in engine}
        assert not engine or len(cores) >= LEAST_CORES
        assert bool(engine) or not client


@given(hosts())
def test_an_engine_on_more_gpus_has_the_shares_of_each(given_host: Host) -> None:
    """Or is not pinned at all, if one of them has none."""
    gpus = given_host.inventory.gpus
    each = [given_host.cores(gpu) for gpu in gpus]
    together = given_host.cores(*gpus)
    if gpus and all(engine for engine, _ in each):
        assert together == tuple(set().union(*parts) for parts in zip(*each, strict=True))
    else:
        assert together == (set(), set())


@given(hosts())
def test_every_core_of_a_node_has_its_use(given_host: Host) -> None:
    """Shares are equal; with clients pinned, nothing of a node is left over."""
    for numa in {gpu.numa for gpu in given_host.inventory.gpus}:
        there = [gpu for gpu in given_host.inventory.gpus if gpu.numa == numa]
        cores = [given_host.cores(gpu) for gpu in there]
        if not cores[0][0]:
            continue
        of = given_host.core_of
        assert len({len({of.get(cpu, cpu) for cpu in engine}) for engine, _ in cores}) == 1
        if given_host.client_cores:
            assert set().union(*(engine | client for engine, client in cores)) == (
                given_host.allowed & set(there[0].cpus)
            )
            kept = {of.get(cpu, cpu) for cpu in cores[0][1]}
            assert given_host.client_cores <= len(kept) < given_host.client_cores + len(there)


def test_two_nodes_of_two_gpus() -> None:
    """The picture in numbers."""
    two = host([2, 2], 9)
    a, b, c, _d = two.inventory.gpus
    assert two.cores(a) == ({2, 3, 4}, {0, 1, 8})
    assert two.cores(b) == ({5, 6, 7}, {0, 1, 8})
    assert two.cores(c) == ({11, 12, 13}, {9, 10, 17})
    assert two.cores(b, c) == ({5, 6, 7, 11, 12, 13}, {0, 1, 8, 9, 10, 17})


def test_a_core_goes_with_its_threads() -> None:
    """With the kernel's word; without it, the sibling of a client's core (9) is an engine's."""
    one = host([2], 8, threads=2, client_cores=2)
    first = one.inventory.gpus[0]
    assert one.cores(first) == ({2, 3, 4, 10, 11, 12}, {0, 1, 8, 9})
    assert replace(one, core_of={}).cores(first) == (set(range(2, 9)), {0, 1})


def test_clients_need_not_be_pinned() -> None:
    """`launcher.client_cores=0`: engines have everything that divides."""
    assert host([2], 9, client_cores=0).cores(host([2], 9).inventory.gpus[1]) == ({4, 5, 6, 7}, set())


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(host([2], 9, kind=InventoryKind.CPU), id="engines on CPUs"),
        pytest.param(host([2], 9, kind=InventoryKind.DECLARED), id="declared GPUs"),
        pytest.param(host([2], 5), id="a share of one core"),
        pytest.param(host([2], 2), id="hardly more than the clients"),
        pytest.param(host([2], 9, allowed=frozenset()), id="no core of the node is allowed"),
        pytest.param(host([2], 9, allowed=frozenset(range(5))), id="too few of them are"),
    ],
)
def test_nothing_is_pinned_where_it_could_do_harm(where: Host) -> None:
    """An empty set means any core, for the engine and for the client."""
    assert where.cores(where.inventory.gpus[0]) == (set(), set())


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"cpus": ()}, id="its cores are unknown"),
        pytest.param({"numa": 1}, id="the same cores are another node's"),
        pytest.param({"cpus": tuple(range(4, 14))}, id="cores overlap in part"),
    ],
)
def test_unclear_cores_are_nobodys(changed: dict[str, object]) -> None:
    """What the driver says of one GPU makes the shares of its neighbours unknown too."""
    first, second = host([2], 12).inventory.gpus
    other = replace(second, **changed)  # type: ignore[arg-type]
    inventory = Inventory(kind=InventoryKind.DETECTED, gpus=(first, other))
    for gpus in ((first,), (other,), (first, other)):
        assert cores_for(gpus, inventory, range(24), client_cores=2) == NOWHERE


def test_an_engine_of_someone_else_has_no_cores_of_ours() -> None:
    """`deploy.url` leases no GPU."""
    assert host([2], 9).cores() == (set(), set())


def test_physical_cores_are_read_from_the_kernel(tmp_path: Path) -> None:
    """Both ways of writing siblings; a CPU without the file is left out."""
    for cpu, siblings in {0: "0,2\n", 2: "0,2\n", 4: "4-5\n", 5: "4-5\n", 6: "6\n", 7: ""}.items():
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(siblings)
    assert physical_cores(range(9), tmp_path) == {0: 0, 2: 0, 4: 4, 5: 4, 6: 6}
