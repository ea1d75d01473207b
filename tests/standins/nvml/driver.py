"""The stand-in NVIDIA driver: `nvml.c` built by gcc, and the file that says what it answers."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIBRARY = "libnvidia-ml.so.1"
VARIABLE = "NVML_STANDIN_STATE"
GIB = 2**30
SWITCH, HOST_BRIDGE, NUMA_NODE = 20, 30, 40  # common-ancestor levels
NOT_SUPPORTED, NO_PERMISSION, FUNCTION_NOT_FOUND, LOST = 3, 4, 13, 15
WORDS = {
    NOT_SUPPORTED: "Not Supported",
    NO_PERMISSION: "Insufficient Permissions",
    FUNCTION_NOT_FOUND: "Function Not Found",
}


@dataclass(frozen=True, kw_only=True)
class StandInGpu:
    """What the driver tells of one GPU; None is Not Supported. The PCI domain exists on no real host."""

    name: str | None = "NVIDIA H100 80GB HBM3"
    total_gib: float | None = 80
    free_gib: float = 80
    processes: tuple[int, ...] | None = ()
    utilization_percent: int | None = 0
    power_w: float | None = 70
    power_limit_w: float | None = 700
    energy: bool = True
    sm_clock_mhz: int | None = 1980
    memory_clock_mhz: int | None = 2619
    temperature_c: int | None = 60
    reasons: int | None = 0
    capability: str | None = "9.0"
    mig: bool | None = False
    numa: int | None = 0
    cpus: str | None = "0-15"
    lost: bool = False

    def lines(self, index: int) -> list[str]:
        """What the state file says of it."""
        facts = {
            "uuid": uuid_of(index),
            "name": self.name,
            "memory": None
            if self.total_gib is None
            else f"{self.total_gib * GIB:.0f} {self.free_gib * GIB:.0f}",
            "processes": None if self.processes is None else ",".join(map(str, self.processes)),
            "utilization": self.utilization_percent,
            "power_mw": None if self.power_w is None else int(self.power_w * 1000),
            "power_limit_mw": None if self.power_limit_w is None else int(self.power_limit_w * 1000),
            "energy": 1 if self.energy else None,
            "sm_clock": self.sm_clock_mhz,
            "memory_clock": self.memory_clock_mhz,
            "temperature": self.temperature_c,
            "reasons": self.reasons,
            "capability": self.capability,
            "pci": f"0000FFFF:{index + 16:02X}:00.0",
            "mig": None if self.mig is None else int(self.mig),
            "numa": self.numa,
            "cpus": self.cpus,
            "lost": int(self.lost),
        }
        return [f"gpu {index} {key} {value}" for key, value in facts.items() if value is not None]


def uuid_of(index: int) -> str:
    """The UUID that the stand-in gives its GPUs."""
    return f"GPU-{index:08x}-5eed-4000-8000-000000000000"


def all_pairs(*islands: Sequence[int]) -> dict[tuple[int, int], int]:
    """Every pair of each island, with the P2P status that says NVLink."""
    return {(a, b): 0 for island in islands for a in island for b in island if a < b}


@dataclass(frozen=True, kw_only=True)
class StandInDriver:
    """A library in `folder` that answers from `state`; without that file no driver is loaded."""

    folder: Path
    state: Path

    @property
    def env(self) -> dict[str, str]:
        """What another process needs to find it."""
        return {"LD_LIBRARY_PATH": str(self.folder), VARIABLE: str(self.state)}

    def tell(
        self,
        gpus: Sequence[StandInGpu],
        *,
        links: Mapping[tuple[int, int], int] | None = None,
        levels: Mapping[tuple[int, int], int] | None = None,
        errors: Mapping[tuple[str, int | str], int] | None = None,
    ) -> None:
        """Answer like this from the next call on.

        `errors` are by function and GPU, or `*` for all of them.
        """
        lines = [f"gpus {len(gpus)}"]
        lines += [line for index, gpu in enumerate(gpus) for line in gpu.lines(index)]
        lines += [f"link {a} {b} {status}" for (a, b), status in (links or {}).items()]
        lines += [f"level {a} {b} {level}" for (a, b), level in (levels or {}).items()]
        lines += [f"error {function} {gpu} {code}" for (function, gpu), code in (errors or {}).items()]
        new = self.state.with_suffix(".new")
        new.write_text("\n".join(lines) + "\n")
        new.replace(self.state)  # a process that asks meanwhile sees the one or the other

    def unload(self) -> None:
        """From the next call on there is no driver."""
        self.state.unlink()


def build(folder: Path, *flags: str) -> Path:
    """Build the library in a folder and return that folder."""
    source = str(Path(__file__).with_name("nvml.c"))
    shared = ["-shared", "-fPIC", f"-Wl,-soname,{LIBRARY}", "-o", str(folder / LIBRARY)]
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", *shared, *flags, source], check=True)
    return folder


def load(folder: Path) -> None:
    """Load it into this process, where pynvml finds it by its name, unless a real driver came first."""
    ctypes.CDLL(str(folder / LIBRARY))
