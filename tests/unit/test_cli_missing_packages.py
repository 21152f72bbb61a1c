"""`modelyard` where only requirements.txt is installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from modelyard_cli.main import main
"""


def start_without(package: str) -> subprocess.CompletedProcess[str]:
    script = WITHOUT.format(package=package)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("package", ["typer", "boto3", "rich"])
def test_a_missing_package_is_one_line(package):
    done = start_without(package)
    assert done.returncode == 3
    assert done.stderr == (
        f"modelyard: the package {package} is missing: pip install -r requirements-local.txt\n"
    )


def test_a_missing_module_of_our_own_is_a_bug():
    assert "Traceback" in start_without("modelyard_cli.predict").stderr
