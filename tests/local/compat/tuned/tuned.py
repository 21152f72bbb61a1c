"""Training script of the tuning pipeline: one algorithm of several, scored by cross-validation."""

import argparse
import json
import os
import sys
from pathlib import Path

import joblib
import pandas as pd
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_val_score

ALGORITHMS = {"forest": RandomForestRegressor, "ridge": Ridge}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--algorithm", choices=list(ALGORITHMS), default="forest")
    parser.add_argument("--max_depth", type=int)
    parser.add_argument("--n_estimators", type=int)
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--best", help="the training job that is refitted")
    parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    options = parser.parse_args()
    table = pd.read_csv(Path(options.train) / "train.csv", header=None)
    given = {
        name: value
        for name, value in vars(options).items()
        if name in {"max_depth", "n_estimators", "alpha"} and value is not None
    }
    model = ALGORITHMS[options.algorithm](**given)
    rows, labels = table.iloc[:, 1:].to_numpy(), table[0].to_numpy()
    scores = cross_val_score(model, rows, labels, cv=3, scoring="neg_mean_squared_error")
    sys.stdout.write(f"cross-validated mse: {-scores.mean():.6f};\n")
    joblib.dump(model.fit(rows, labels), Path(options.model_dir) / "model.joblib")
    report = json.dumps({"algorithm": options.algorithm, **given})
    (Path(options.model_dir) / "parameters.json").write_text(report)
