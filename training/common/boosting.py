"""XGBoost without scikit-learn: `from training.common.boosting import xgboost`.

Where scikit-learn is installed, `import xgboost` loads it, and pandas with it, as the bases of classes that
nothing here uses: three quarters of the import, in every container that trains, evaluates or serves.
"""

from __future__ import annotations

import sys

__all__ = ["xgboost"]

if "sklearn" in sys.modules:
    import xgboost
else:
    sys.modules["sklearn"] = None  # type: ignore[assignment]  # "not installed", to whoever imports it
    try:
        import xgboost
    finally:
        del sys.modules["sklearn"]
