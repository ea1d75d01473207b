"""`CUDA_VISIBLE_DEVICES` as CUDA reads it, and `gpus.ids`."""

from __future__ import annotations

import re

import pytest

from autotune.errors import ConfigError
from autotune.gpus.visible import Listed, restrict

UUIDS = ["GPU-8932f937-d72c", "GPU-8932aaaa-1111", "GPU-cccccccc-2222", "GPU-cccccccc-2222-3"]
GPUS = [Listed(index=index, uuid=uuid, model="H100") for index, uuid in enumerate(UUIDS)]
MIG = [GPUS[0], Listed(index=1, uuid=UUIDS[1], model="H100", mig=True, reason="it is in MIG mode"), *GPUS[2:]]
LOST = [*GPUS[:3], Listed(index=3, reason="the driver answers 'GPU is lost'")]
MIXED = [Listed(index=0, uuid="GPU-0", model="T4"), Listed(index=1, uuid="GPU-1", model="H100")]


def chosen(listed: list[Listed], ids: list[str] | None = None, **env: str) -> list[int]:
    """The indices of the GPUs that may be leased."""
    return [gpu.index for gpu in restrict(listed, env=env, ids=ids)[0]]


@pytest.mark.parametrize(
    ("told", "indices"),
    [
        pytest.param("0", [0], id="one"),
        pytest.param("2,1", [2, 1], id="their order"),
        pytest.param(" 2 , 1 ", [2, 1], id="blanks"),
        pytest.param("1,", [1], id="comma at the end"),
        pytest.param("0,2,-1,1", [0, 2], id="-1 ends the list"),
        pytest.param("0,7,1", [0], id="all from an unknown index on is ignored"),
        pytest.param("0,x,1", [0], id="all from an unknown word on is ignored"),
        pytest.param("GPU-cccccccc-2222", [2], id="UUID that another one begins with"),
        pytest.param("GPU-8932f,GPU-8932a", [0, 1], id="beginnings of UUIDs"),
        pytest.param("GPU-8932f,GPU-8932,GPU-8932a", [0], id="a beginning of two ends the list"),
        pytest.param("0,GPU-8932a", [0], id="an UUID among indices ends the list"),
        pytest.param("GPU-8932a,0", [1], id="an index among UUIDs ends the list"),
        pytest.param("GPU-8932a,MIG-abc,GPU-8932f", [1], id="a MIG slice ends the list"),
    ],
)
def test_what_cuda_visible_devices_shows(told: str, indices: list[int]) -> None:
    """Only these, in this order."""
    assert chosen(GPUS, CUDA_VISIBLE_DEVICES=told) == indices


@pytest.mark.parametrize(
    ("told", "words"),
    [
        pytest.param("", "CUDA_VISIBLE_DEVICES= hides every GPU: unset it, or name some of 0 (GPU-8932f937-d72c), 1 (", id="empty"),
        pytest.param("-1", "CUDA_VISIBLE_DEVICES=-1 hides every GPU: unset it", id="-1"),
        pytest.param("7,0", "CUDA_VISIBLE_DEVICES=7,0 hides every GPU (7 is no GPU here): unset it", id="unknown first"),
        pytest.param("NoDevFiles", "hides every GPU (NoDevFiles is no GPU here)", id="word of a batch system"),
        pytest.param("GPU-8932", "hides every GPU (GPU-8932 is no GPU here)", id="beginning of two"),
        pytest.param("G", "hides every GPU (G is no GPU here)", id="no UUID"),
        pytest.param("MIG-abc", "hides every GPU (MIG-abc: a lease is a whole GPU, and a MIG slice is none)", id="MIG slice"),
        pytest.param("1,1", "CUDA_VISIBLE_DEVICES=1,1: names GPU 1 (GPU-8932aaaa-1111) twice", id="twice"),
    ],
)  # fmt: skip
def test_cuda_visible_devices_that_show_nothing(told: str, words: str) -> None:
    """No GPU is no inventory, and the message says why."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        restrict(GPUS, env={"CUDA_VISIBLE_DEVICES": told}, ids=None)


@pytest.mark.parametrize(
    ("listed", "told", "notes"),
    [
        pytest.param(GPUS, "0,1,2,3", [], id="all"),
        pytest.param(GPUS, "0,1,-1", ["CUDA_VISIBLE_DEVICES=0,1,-1 hides GPU 2 (GPU-cccccccc-2222), 3 (GPU-cccccccc-2222-3)"], id="hidden"),
        pytest.param(GPUS[:2], "0,9", ["CUDA_VISIBLE_DEVICES=0,9 hides GPU 1 (GPU-8932aaaa-1111)", "CUDA_VISIBLE_DEVICES=0,9: 9 is no GPU here; CUDA ignores everything from there on"], id="cut off"),
        pytest.param(MIG[:2], "0,1", ["GPU 1 (GPU-8932aaaa-1111) is left out: it is in MIG mode"], id="MIG mode"),
        pytest.param(MIG[:2], "0", ["CUDA_VISIBLE_DEVICES=0 hides GPU 1 (GPU-8932aaaa-1111)"], id="MIG mode, hidden"),
        pytest.param(LOST[2:], "2,3", ["GPU 3 is left out: the driver answers 'GPU is lost'"], id="lost"),
        pytest.param(MIXED, "GPU-0,GPU-1", [], id="models differ, by UUIDs"),
        pytest.param(MIXED, "0,1", ["CUDA_VISIBLE_DEVICES=0,1 is read in the order of the PCI bus, as nvidia-smi counts; CUDA by itself puts the fastest of H100, T4 first: set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs"], id="models differ, by index"),
    ],
)  # fmt: skip
def test_notes(listed: list[Listed], told: str, notes: list[str]) -> None:
    """Every GPU that is not used has its reason."""
    assert list(restrict(listed, env={"CUDA_VISIBLE_DEVICES": told}, ids=None)[1]) == notes


def test_an_order_that_is_set_is_not_ambiguous() -> None:
    """With CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA counts as the driver does."""
    env = {"CUDA_VISIBLE_DEVICES": "1,0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert restrict(MIXED, env=env, ids=None) == ((MIXED[1], MIXED[0]), ())


@pytest.mark.parametrize(
    ("ids", "indices"),
    [
        pytest.param(["2", "0"], [2, 0], id="indices"),
        pytest.param(["GPU-cccccccc-2222", "GPU-8932f937-d72c"], [2, 0], id="UUIDs"),
        pytest.param(["GPU-8932a", "0", "1"], [1, 0], id="mixed, and one twice"),
    ],
)
def test_ids_restrict_and_order(ids: list[str], indices: list[int]) -> None:
    """`gpus.ids` takes the driver's indices, UUIDs or their beginnings."""
    assert chosen(GPUS, ids) == indices


def test_ids_are_the_drivers_whatever_is_visible() -> None:
    """`CUDA_VISIBLE_DEVICES` renumbers for CUDA, not here."""
    assert chosen(GPUS, ["3", "1"], CUDA_VISIBLE_DEVICES="1,3") == [3, 1]


@pytest.mark.parametrize(
    ("listed", "ids", "told", "words"),
    [
        pytest.param(GPUS[:2], ["7"], "0,1", ["gpus.ids: no GPU 7; found 0 (GPU-8932f937-d72c), 1 (GPU-8932aaaa-1111)"], id="unknown"),
        pytest.param(GPUS[:2], ["0", "-1"], "0,1", ["gpus.ids: no GPU -1; found 0 (GPU-8932f937-d72c), 1 (GPU-8932aaaa-1111)"], id="-1"),
        pytest.param(GPUS[:2], ["0"], "1", ["gpus.ids: CUDA_VISIBLE_DEVICES=1 hides GPU 0 (GPU-8932f937-d72c); name some of 1 (GPU-8932aaaa-1111), or change it"], id="hidden"),
        pytest.param(MIG[:2], ["1"], "0,1", ["gpus.ids: GPU 1 (GPU-8932aaaa-1111) cannot be leased: it is in MIG mode"], id="MIG mode"),
        pytest.param(GPUS[:2], ["MIG-abc"], "0,1", ["gpus.ids: MIG-abc: a lease is a whole GPU, and a MIG slice is none: name whole GPUs"], id="MIG slice"),
        pytest.param(GPUS[:2], [], "0,1", ["gpus.ids=[]: name at least one GPU, or null for all of them"], id="none"),
        pytest.param(LOST, ["9", "3"], "0,3", ["gpus.ids: no GPU 9; found 0 (GPU-8932f937-d72c), 1 (GPU-8932aaaa-1111), 2 (GPU-cccccccc-2222), 3", "gpus.ids: GPU 3 cannot be leased: the driver answers 'GPU is lost'"], id="all problems at once"),
    ],
)  # fmt: skip
def test_ids_that_cannot_be_had(listed: list[Listed], ids: list[str], told: str, words: list[str]) -> None:
    """What the user asks for by name is never left out in silence."""
    with pytest.raises(ConfigError, match=r"^gpus\.ids") as caught:
        restrict(listed, env={"CUDA_VISIBLE_DEVICES": told}, ids=ids)
    assert list(caught.value.problems) == words
