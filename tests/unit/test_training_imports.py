"""Programs that use the rules of training jobs load no CDK for it, and need no Node."""

from __future__ import annotations

import subprocess
import sys


def test_the_runtime_comes_without_cdk() -> None:
    code = (
        "import sys, modelyard.training.runtime.job; print('aws_cdk' in sys.modules, 'jsii' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout.split() == ["False", "False"]


def test_an_unknown_name_is_an_import_error() -> None:
    code = "from modelyard.training import TrainingClustre"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert "cannot import name 'TrainingClustre'" in done.stderr
