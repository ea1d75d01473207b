"""Which of the host's GPUs may be used: `CUDA_VISIBLE_DEVICES`, then `gpus.ids`. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from autotune.errors import ConfigError

VARIABLE = "CUDA_VISIBLE_DEVICES"
ORDER = "CUDA_DEVICE_ORDER"
WHOLE_GPUS = "a lease is a whole GPU, and a MIG slice is none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A GPU as the driver lists it; `reason` says why it cannot be leased, where it cannot."""

    index: int
    uuid: str | None = None
    model: str | None = None
    mig: bool | None = None
    reason: str | None = None
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`3 (GPU-…)`, or the index alone."""
        return f"{self.index} ({self.uuid})" if self.uuid else str(self.index)


def restrict(
    listed: Sequence[Listed], *, env: Mapping[str, str], ids: Sequence[str] | None
) -> tuple[tuple[Listed, ...], tuple[str, ...]]:
    """Return the GPUs that may be leased, in the order that the user gave, and notes on the others.

    Raises: ConfigError if `CUDA_VISIBLE_DEVICES` hides them all, or `gpus.ids` names one that is not
    there, hidden, or not to be leased.
    """
    seen, notes = visible(listed, env)
    chosen = seen if ids is None else _wanted(ids, listed, seen, told=env.get(VARIABLE))
    left_out = (f"GPU {gpu} is left out: {gpu.reason}" for gpu in chosen if gpu.reason)
    return tuple(gpu for gpu in chosen if gpu.reason is None), (*notes, *left_out)


def visible(listed: Sequence[Listed], env: Mapping[str, str]) -> tuple[tuple[Listed, ...], tuple[str, ...]]:
    """Return what `CUDA_VISIBLE_DEVICES` shows, in its order, and notes on what it hides.

    It counts as CUDA reads it: indices, or UUIDs or their beginnings (`GPU-8932f937`), of one kind;
    whatever follows the first entry that names no GPU is ignored, and a GPU named twice hides all.
    Raises: ConfigError if it shows none. Source: CUDA C++ Programming Guide, CUDA environment variables;
    one kind and GPUs named twice: as PyTorch reads it.
    """
    told = env.get(VARIABLE)
    if told is None:
        return tuple(listed), ()
    seen: list[Listed] = []
    entries = [entry.strip() for entry in told.split(",")]
    why = ""
    for entry in entries:
        gpu = _named(entry, listed) if entry.isdecimal() == entries[0].isdecimal() else None
        if gpu is None:
            why = _odd(entry)
            break
        if gpu in seen:
            raise ConfigError(
                [f"{VARIABLE}={told}: names GPU {gpu} twice, and CUDA shows no GPU then: name it once"]
            )
        seen.append(gpu)
    if not seen:
        reason = f" ({why})" if why else ""
        some = ", ".join(map(str, listed))
        raise ConfigError([f"{VARIABLE}={told} hides every GPU{reason}: unset it, or name some of {some}"])
    return tuple(seen), tuple(_notes(listed, seen, env, why=why))


def _notes(
    listed: Sequence[Listed], seen: Sequence[Listed], env: Mapping[str, str], *, why: str
) -> list[str]:
    told = env[VARIABLE]
    hidden = [str(gpu) for gpu in listed if gpu not in seen]
    notes = [f"{VARIABLE}={told} hides GPU {', '.join(hidden)}"] if hidden else []
    if why:
        notes.append(f"{VARIABLE}={told}: {why}; CUDA ignores everything from there on")
    models = {gpu.model for gpu in listed if gpu.model}
    if told.strip()[0].isdecimal() and len(models) > 1 and env.get(ORDER) != "PCI_BUS_ID":
        notes.append(
            f"{VARIABLE}={told} is read in the order of the PCI bus, as nvidia-smi counts; CUDA by itself "
            f"puts the fastest of {', '.join(sorted(models))} first: set {ORDER}=PCI_BUS_ID, or name UUIDs"
        )
    return notes


def _odd(entry: str) -> str:
    """Why an entry ends the list; nothing is said of -1 and of a comma at the end, which are meant to."""
    if entry in {"", "-1"}:
        return ""
    return f"{entry}: {WHOLE_GPUS}" if entry.startswith("MIG-") else f"{entry} is no GPU here"


def _named(entry: str, listed: Sequence[Listed]) -> Listed | None:
    """The one GPU of that index or UUID, or whose UUID alone begins like that."""
    if entry.isdecimal():
        return next((gpu for gpu in listed if gpu.index == int(entry)), None)
    if not entry.startswith("GPU-"):
        return None
    found = [gpu for gpu in listed if gpu.uuid and gpu.uuid.startswith(entry)]
    exact = [gpu for gpu in found if gpu.uuid == entry]
    return (exact or found)[0] if exact or len(found) == 1 else None


def _wanted(
    ids: Sequence[str], listed: Sequence[Listed], seen: Sequence[Listed], *, told: str | None
) -> tuple[Listed, ...]:
    named = {wanted: _named(wanted, listed) for wanted in map(str, ids)}
    problems = [] if named else ["gpus.ids=[]: name at least one GPU, or null for all of them"]
    for wanted, gpu in named.items():
        if wanted.startswith("MIG-"):
            problems.append(f"gpus.ids: {wanted}: {WHOLE_GPUS}: name whole GPUs")
        elif gpu is None:
            problems.append(f"gpus.ids: no GPU {wanted}; found {', '.join(map(str, listed))}")
        elif gpu not in seen:
            shown = ", ".join(map(str, seen))
            problems.append(
                f"gpus.ids: {VARIABLE}={told} hides GPU {gpu}; name some of {shown}, or change it"
            )
        elif gpu.reason:
            problems.append(f"gpus.ids: GPU {gpu} cannot be leased: {gpu.reason}")
    if problems:
        raise ConfigError(problems)
    return tuple(dict.fromkeys(gpu for gpu in named.values() if gpu))
