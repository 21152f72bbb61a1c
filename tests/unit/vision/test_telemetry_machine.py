"""How busy the machine is, and that nothing is told where nobody knows."""

from __future__ import annotations

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from training.vision.telemetry import names
from training.vision.telemetry.machine import Machine


class NvmlError(Exception):
    pass


def nvml(**calls: Any) -> SimpleNamespace:
    """NVIDIA's library with one GPU, `GPU-1`; `calls` take the place of its own."""

    def by_uuid(uuid: str) -> str:
        if uuid != "GPU-1":
            raise NvmlError("not found")
        return "handle"

    members: dict[str, Any] = {
        "NVMLError": NvmlError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetUtilizationRates": lambda handle: SimpleNamespace(gpu=93, memory=40),
        "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(used=12_000_000_000),
    }
    return SimpleNamespace(**members | calls)


def refuse(*_: Any) -> None:
    raise NvmlError("not supported")


@pytest.mark.parametrize("gpu", ["1", "GPU-1"])
def test_the_gpu_of_this_process(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    found = Machine(gpu).look()
    assert (found[names.GPU], found[names.GPU_MEMORY]) == (93.0, 12_000.0)


@pytest.mark.parametrize(
    ("library", "gpu", "told"),
    [
        (None, "1", set()),
        (nvml(), None, set()),
        (nvml(), "another", set()),
        (nvml(nvmlInit=refuse), "1", set()),
        # A part of a GPU has no utilization of its own.
        (nvml(nvmlDeviceGetUtilizationRates=refuse), "1", {names.GPU_MEMORY}),
    ],
)
def test_without_a_gpu_or_its_library_there_are_no_figures_of_it(
    library: Any, gpu: str | None, told: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert set(Machine(gpu).look()) & {names.GPU, names.GPU_MEMORY} == told


def test_the_time_of_this_process_and_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    machine.look()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as child:
        used = psutil.Process(child.pid)
        while used.cpu_times().user < 0.3:
            time.sleep(0.05)
        busy = machine.look()
        child.kill()
    assert 0 < busy[names.CPU] <= 100
    assert busy[names.MEMORY] > 1
    # The child took its time with it.
    assert machine.look()[names.CPU] >= 0


def test_without_psutil_there_are_no_figures_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    assert Machine().look() == {}
