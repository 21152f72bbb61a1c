"""How busy the machine is: the GPU by NVIDIA's library, this process and its children by psutil.

Either may be missing, or refuse; then there is no such metric.
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

from training.common.hosts import usable_cpus
from training.vision.telemetry.names import CPU, GPU, GPU_MEMORY, MEMORY

_MB = 1e6


class Machine:
    """Percent of the CPUs that this process may use, and of its GPU, since the last look; memory in MB.

    Args:
        gpu: identifier of the GPU that this process computes on, as `torch` gives it (`uuid`).
    """

    def __init__(self, gpu: str | None = None) -> None:
        self._nvml: Any
        self._handle: Any
        self._nvml, self._handle = _open_gpu(gpu) if gpu else (None, None)
        self._process = _open_process()
        self._cpus = usable_cpus()
        self._seconds, self._at = self._cpu_seconds(), time.monotonic()

    def look(self) -> dict[str, float]:
        """By name of the metric."""
        found: dict[str, float] = {}
        seconds, at = self._cpu_seconds(), time.monotonic()
        if seconds is not None and self._seconds is not None and at > self._at:
            # A child that ended takes its time with it.
            busy = max(0.0, seconds - self._seconds) / (at - self._at) / self._cpus
            found[CPU] = 100 * min(1.0, busy)
        self._seconds, self._at = seconds, at
        if self._process is not None:
            with contextlib.suppress(Exception):
                found[MEMORY] = self._process.memory_info().rss / _MB
        if self._nvml is not None:
            with contextlib.suppress(self._nvml.NVMLError):
                found[GPU] = float(self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
            with contextlib.suppress(self._nvml.NVMLError):
                found[GPU_MEMORY] = self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used / _MB
        return found

    def _cpu_seconds(self) -> float | None:
        if self._process is None:
            return None
        import psutil

        total = 0.0
        try:
            for process in (self._process, *self._process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = process.cpu_times()
                    total += times.user + times.system
        except psutil.Error:
            return None
        return total


def gpu_of(device: Any) -> str | None:
    """The identifier of the GPU that a process of PyTorch computes on; None on the CPU."""
    if device.type != "cuda":
        return None
    import torch

    return str(torch.cuda.get_device_properties(device).uuid)


def _open_gpu(gpu: str) -> tuple[Any, Any]:
    try:
        import pynvml
    except ImportError:
        return None, None
    try:
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByUUID(gpu if gpu.startswith("GPU-") else f"GPU-{gpu}")
    except pynvml.NVMLError:
        return None, None


def _open_process() -> Any:
    try:
        import psutil
    except ImportError:
        return None
    return psutil.Process()
