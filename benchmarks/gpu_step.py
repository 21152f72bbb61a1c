"""The trainer on a GPU: images a second and utilization, beside the shortest loop, and where the time goes.

ResNet-50 with the frozen statistics of given weights, bfloat16, channels-last, 128 images of 224 pixels a
step; photographs as preprocessing leaves them, on the machine's own disk. Without a GPU of NVIDIA's there is
nothing to measure: that is said in a line, and the command ends with 3. `python -m benchmarks.gpu_step
--device cpu` walks the same way with a tiny network, to see that it works; its figures say nothing of a GPU.

Steps are asked for in turn, a block at a time, of processes that otherwise wait and then hold no more of the
GPU's memory than their weights; two steps before each block are not counted.

- `plain`: the shortest loop that does the same work with a batch in the host's memory, cuDNN free to choose.
- `memory`: the trainer with that batch; `fastest`: with deterministic=off; `shards`: from packed shards.
- `loop_over_plain`: `fastest` over `plain`. Bound: 1.03. `deterministic_costs`: `memory` over `fastest`.
- `stages_ms`: of a step from shards, one stage after the other and each waited for, so that together they
  take longer than a step, in which they overlap; `batch` is what is waited for reading and decoding.
- `utilization`: percent of the time in which the GPU computed anything, by NVIDIA's library.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.decode import photographs
from benchmarks.harness import ROOT, Sample, UnmeasurableError, ratio
from benchmarks.training_step import Subject
from training.vision.classes import side_of
from training.vision.shards import Sample as Image
from training.vision.shards import ShardWriter
from training.vision.telemetry.machine import Machine, gpu_of
from training.vision.telemetry.names import GPU

BOUND, WARM, LOOK_S = 1.03, 2, 0.1
SUBJECTS = ("plain", "memory", "fastest", "shards")


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is trained on. `steps`: of a block. `images`: in the shards, of `pictures` different ones."""

    backbone: str = "resnet50"
    image_size: int = 224
    batch: int = 128
    steps: int = 40
    rounds: int = 9
    images: int = 8192
    pictures: int = 512
    classes: int = 133


TINY = Size(
    backbone="test_resnet", image_size=32, batch=4, steps=2, rounds=1, images=16, pictures=4, classes=3
)


def measure(device: str = "cuda", size: Size | None = None) -> dict[str, Any]:
    """The figures.

    Args:
        device: cuda, or cpu to see that it works.
        size: by default what is worth measuring on a GPU.

    Raises:
        UnmeasurableError: there is no such GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UnmeasurableError(
            f"it needs a GPU of NVIDIA's and PyTorch with CUDA; PyTorch {torch.__version__} sees none"
        )
    size = size or Size()
    look = _looker(device)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(scratch)
        pack(folder, size)

        def command(name: str) -> list[str]:
            settings = json.dumps(asdict(size))
            return [sys.executable, "-m", "benchmarks.gpu_subject", name, device, str(folder), settings]

        subjects = {name: stack.enter_context(Subject(command(name))) for name in SUBJECTS}
        samples, busy = turns(subjects, size, look)
        stack.close()
        stages = json.loads(
            subprocess.run(
                command("stages"), cwd=ROOT, check=True, capture_output=True, text=True
            ).stdout.splitlines()[-1]
        )
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu: says nothing of a GPU"
    return {"device": name, "torch": torch.__version__, "size": asdict(size)} | summary(
        samples, busy, stages, size.batch * size.steps
    )


def pack(folder: Path, size: Size) -> None:
    """Photographs of a web page's shape in shards, as preprocessing writes them."""
    side = side_of(size.image_size)
    pictures = folder / "pictures"
    pictures.mkdir()
    photographs(pictures, (side * 4 // 3, side), size.pictures)
    data = [path.read_bytes() for path in sorted(pictures.iterdir())]
    (folder / "shards").mkdir()
    with ShardWriter(folder / "shards", 0) as writer:
        for number in range(size.images):
            key, label = f"{number:06d}", str(number % size.classes)
            writer.write(
                Image(key=key, label=label, name=key, extension="jpg", data=data[number % len(data)])
            )


def turns(
    subjects: Mapping[str, Callable[[int], float]], size: Size, look: Callable[[], float | None]
) -> tuple[dict[str, Sample], dict[str, list[float]]]:
    """Seconds of each block, by the processes' own clocks, and how busy the GPU was meanwhile, in percent."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    busy: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(size.rounds + 1):
        for name, subject in subjects.items():
            subject(WARM)
            with Looks(look) as looks:
                took = subject(size.steps)
            subject(0)
            if number:
                seconds[name].append(took)
                busy[name] += looks.seen
    return {name: Sample(tuple(values)) for name, values in seconds.items()}, busy


class Looks:
    """Looks at the GPU until the block ends; `seen` has what it saw."""

    def __init__(self, look: Callable[[], float | None]) -> None:
        self.seen: list[float] = []
        self._look, self._ended = look, threading.Event()
        self._thread = threading.Thread(target=self._run, name="looks", daemon=True)

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            if (percent := self._look()) is not None:
                self.seen.append(percent)

    def __enter__(self) -> Looks:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def summary(
    samples: Mapping[str, Sample],
    busy: Mapping[str, list[float]],
    stages: Mapping[str, Any],
    images: int,
) -> dict[str, Any]:
    """Of blocks of so many images."""
    loop = ratio(samples["fastest"], samples["plain"])
    return {
        "images_per_second": {name: round(images / each.median, 1) for name, each in samples.items()},
        "utilization": {
            name: round(sum(seen) / len(seen), 1) if seen else None for name, seen in busy.items()
        },
        "loop_over_plain": loop,
        "deterministic_costs": ratio(samples["memory"], samples["fastest"]),
        "shards_over_memory": ratio(samples["shards"], samples["memory"]),
        **stages,
        "bound": BOUND,
        "holds": loop["median"] <= BOUND,
    }


def _looker(device: str) -> Callable[[], float | None]:
    machine = Machine(gpu_of(torch.device(device)))
    return lambda: machine.look().get(GPU)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_step")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    device = parser.parse_args(arguments).device
    try:
        figures = measure(device, TINY if device == "cpu" else None)
    except UnmeasurableError as error:
        print(f"gpu_step: not measured: {error}", file=sys.stderr)
        return 3
    print(json.dumps(figures, indent=2))
    return 0 if figures["holds"] or device == "cpu" else 1


if __name__ == "__main__":
    raise SystemExit(main())
