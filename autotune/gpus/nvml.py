"""The NVIDIA driver of this host, asked by NVML. No other module imports pynvml.

NVML is initialised at the first question and stays so, because that takes much longer than a question.
Questions are answered one after another, whichever threads ask. Every call may fail by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from autotune.errors import ConfigError
from autotune.gpus.nvml_facts import Described, facts, listed_gpu, lost_words, placed, status_now
from autotune.gpus.nvml_usage import usage_now
from autotune.gpus.visible import Listed
from autotune.records import Gpu, GpuStatus, GpuUsage

NO_GPU_ADVICE = (
    "choose gpus=cpu for engines on a CPU, or a declared inventory such as gpus=h100_8x with deploy=simulated"
)


Answer = TypeVar("Answer")


class Driver:
    """NVML, from the first question until `close`.

    A GPU's handle is kept from the time it was listed, because a search by UUID may answer that a GPU is
    lost if any other one is. Source: NVML API reference, nvmlDeviceGetHandleByUUID.
    """

    def __init__(self, *, sysfs: Path = Path("/sys")) -> None:
        self._sysfs = sysfs
        self._guard = threading.Lock()
        self._started = False
        self._handles: dict[str, Any] = {}  # by UUID

    def close(self) -> None:
        """Give NVML back; the next question initialises it again."""
        with self._guard:
            self._stop(_pynvml())

    def list_gpus(self) -> tuple[Listed, ...]:
        """Return every GPU that the driver has now, those that cannot be leased with the reason.

        Raises: ConfigError if there is no driver, or it lists no GPU.
        """
        nvml = _pynvml()
        with self._guard:
            self._stop(nvml)
            try:
                self._start(nvml)
            except nvml.NVMLError as error:
                raise ConfigError(
                    [f"gpus=nvml: no NVIDIA driver answers ({error}): {NO_GPU_ADVICE}"]
                ) from error
            try:
                listed = self._list(nvml)
            except nvml.NVMLError as error:
                raise _failed("listing GPUs", error) from error
        if not listed:
            raise ConfigError([f"gpus=nvml: the NVIDIA driver lists no GPU: {NO_GPU_ADVICE}"])
        return listed

    def describe(self, chosen: Sequence[Listed]) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
        """Return what the driver says of these GPUs, and notes on those that were lost meanwhile.

        Raises: ConfigError if the driver does not answer any more.
        """
        nvml = _pynvml()
        with self._guard:
            try:
                return self._describe(nvml, chosen)
            except nvml.NVMLError as error:
                raise _failed("describing GPUs", error) from error

    def version(self) -> str | None:
        """Return the driver's version; None if there is no driver, or it does not tell."""
        nvml = _pynvml()
        with self._guard:
            try:
                if not self._started:
                    self._start(nvml)
                    self._list(nvml)
                return str(nvml.nvmlSystemGetDriverVersion())
            except nvml.NVMLError:
                return None

    def statuses(self, uuids: Iterable[str]) -> dict[str, GpuStatus]:
        """Return how busy these GPUs are; all are lost if there is no driver any more."""
        return self._of_each(tuple(uuids), status_now, GpuStatus(lost=True))

    def usages(self, uuids: Iterable[str]) -> dict[str, GpuUsage]:
        """Return what these GPUs do now; of one that is lost nothing is known."""
        return self._of_each(tuple(uuids), usage_now, GpuUsage())

    def _of_each(
        self, uuids: Sequence[str], ask: Callable[[Any, Any], Answer], lost: Answer
    ) -> dict[str, Answer]:
        """Ask each GPU the same; `lost` is the answer for those that cannot be asked."""
        nvml = _pynvml()
        with self._guard:
            try:
                if not self._started:
                    self._start(nvml)
                    self._list(nvml)
                handles = {uuid: self._handles.get(uuid) for uuid in uuids}
                return {u: lost if handle is None else ask(nvml, handle) for u, handle in handles.items()}
            except nvml.NVMLError:
                self._stop(nvml)
                return dict.fromkeys(uuids, lost)

    def _start(self, nvml: Any) -> None:
        nvml.nvmlInit()
        self._started = True

    def _stop(self, nvml: Any) -> None:
        self._handles = {}
        if not self._started:
            return
        self._started = False
        try:
            nvml.nvmlShutdown()
        except nvml.NVMLError:
            return  # what has gone need not be shut down

    def _list(self, nvml: Any) -> tuple[Listed, ...]:
        found = [listed_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount())]
        self._handles = {gpu.uuid: handle for gpu, handle in found if gpu.uuid}
        return tuple(gpu for gpu, _ in found)

    def _describe(self, nvml: Any, chosen: Sequence[Listed]) -> tuple[tuple[Gpu, ...], tuple[str, ...]]:
        here: list[Described] = []
        notes: list[str] = []
        for listed in chosen:
            handle = self._handles.get(listed.uuid or "")
            if handle is None:
                notes.append(f"GPU {listed} is left out: the driver does not list it any more")
                continue
            gpu, asked = facts(nvml, listed, handle, self._sysfs)
            if asked.lost:
                notes.append(f"GPU {listed} is left out: {lost_words(asked.lost)}")
            else:
                here.append(Described(gpu=gpu, handle=handle, asked=asked))
        return placed(nvml, here), tuple(notes)


DRIVER = Driver()  # one for the process, as NVML is


def read_statuses(uuids: Iterable[str]) -> dict[str, GpuStatus]:
    """Return how busy these GPUs are now, by UUID; what the driver does not tell is None.

    A GPU is lost if it has fallen off the bus, the driver does not list it, or has gone altogether. Any
    thread may ask, a few times a second.
    """
    return DRIVER.statuses(uuids)


def read_usages(uuids: Iterable[str]) -> dict[str, GpuUsage]:
    """Return what these GPUs do now, by UUID, for samples beside a measurement; any thread may ask."""
    return DRIVER.usages(uuids)


def _pynvml() -> Any:
    import pynvml

    return pynvml


def _failed(doing: str, error: Exception) -> ConfigError:
    return ConfigError(
        [f"gpus=nvml: the NVIDIA driver failed while {doing} ({error}): see that nvidia-smi works"]
    )
