"""XGBoost's import: what it must not bring along, and what it must leave as it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[3]


CASES = {
    "it brings no scikit-learn": (
        "import training.tabular.train, sys",
        "('sklearn' in sys.modules, 'pandas' in sys.modules)",
        "(False, False)",
    ),
    "which can be imported later": (
        "import training.common.boosting, sklearn.base",
        "sklearn.base.BaseEstimator.__name__",
        "BaseEstimator",
    ),
    "and stays if it was there": (
        "import sklearn, sys; from training.common.boosting import xgboost",
        "sys.modules['sklearn'] is sklearn",
        "True",
    ),
    "nor does the server's warm-up": (
        "from training.serving.server import _warm; import sys; _warm()",
        "('xgboost' in sys.modules, 'sklearn' in sys.modules, 'pandas' in sys.modules)",
        "(True, False, False)",
    ),
    "a list makes a matrix": (
        "from training.common.boosting import xgboost",
        "xgboost.DMatrix([[1.0]], [2.0]).num_row()",
        "1",
    ),
}


@pytest.mark.parametrize(("imports", "value", "said"), CASES.values(), ids=CASES)
def test_the_import(imports: str, value: str, said: str) -> None:
    program = f"{imports}\nprint({value})"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPO, check=True, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == said
