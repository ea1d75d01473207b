"""Which GPUs are used no more, because different candidates failed on them."""

from __future__ import annotations

import pytest

from autotune.track.blame import BLAMING, Blame

A, B, C = (("signature", name) for name in "abc")


def test_two_candidates_that_fail_on_one_gpu() -> None:
    """It is named with the trials; the other GPUs of wide trials are innocent as long as one failed there."""
    blame = Blame()
    blame.failed(2, "nccl", candidate=A, gpus=["g0", "g1"])
    assert blame.suspects == {}
    blame.failed(5, "gpu_lost", candidate=B, gpus=["g1", "g2"])
    assert blame.suspects == {"g1": "trials 2 and 5 failed on it (gpu_lost, nccl)"}
    blame.failed(7, "nccl", candidate=C, gpus=["g1"])
    assert blame.suspects == {"g1": "trials 2, 5 and 7 failed on it (gpu_lost, nccl)"}


def test_one_candidate_that_fails_everywhere() -> None:
    """Twice on the same GPU, also under another number after a resume: the fault may be its own."""
    blame = Blame()
    for trial in (2, 9):
        blame.failed(trial, "nccl", candidate=A, gpus=["g0"])
    assert blame.suspects == {}


@pytest.mark.parametrize("kind", ["gpu_busy", "cuda_oom", "port_in_use", "heard of nowhere"])
def test_what_no_gpu_causes_counts_against_none(kind: str) -> None:
    """A busy GPU is somebody else's doing: the pool decides whether it is waited for."""
    blame = Blame()
    blame.failed(2, kind, candidate=A, gpus=["g0"])
    blame.failed(3, kind, candidate=B, gpus=["g0"])
    assert blame.suspects == {}
    assert sorted(BLAMING) == ["gpu_lost", "nccl"]


def test_a_gpu_on_which_a_trial_was_measured_is_free_of_blame() -> None:
    """Only what failed since counts."""
    blame = Blame()
    blame.failed(2, "nccl", candidate=A, gpus=["g0", "g1"])
    blame.measured(["g0"])
    blame.failed(4, "nccl", candidate=B, gpus=["g0", "g1"])
    assert blame.suspects == {"g1": "trials 2 and 4 failed on it (nccl)"}
    blame.measured(["g1"])
    assert blame.suspects == {}
