"""Steps of pipelines for image classification.

PyTorch is an installation of its own. Where it is missing, a step must say so in one line, and modules that
import it cannot: they fail before any of their code runs. This one is imported before all of them.
"""

import os
from importlib.util import find_spec

from training.common.failure import fail

# Threads of OpenMP that spin while they wait take the CPUs from other processes: training took five times as
# long beside some. OpenMP reads it when PyTorch is loaded; the image sets it too.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

NEEDS = ("PIL", "safetensors", "timm", "torch")
missing = [name for name in NEEDS if find_spec(name) is None]
if missing:
    raise SystemExit(
        fail(
            f"steps on images need {', '.join(missing)}: use the image of vision.Dockerfile; "
            "locally run: python3 tools/setup.py vision"
        )
    )
