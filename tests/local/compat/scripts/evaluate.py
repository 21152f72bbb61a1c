"""Evaluation step of the shellfish pipelines: model archive and test data to evaluation.json."""

import json
import pathlib
import pickle
import tarfile

import numpy as np
import pandas as pd
import xgboost
from sklearn.metrics import mean_squared_error


def load(path):
    """As such scripts do: pickled by the older images, saved by the newer ones."""
    try:
        return pickle.loads(pathlib.Path(path).read_bytes())
    except pickle.UnpicklingError:
        model = xgboost.Booster()
        model.load_model(path)
        return model


if __name__ == "__main__":
    with tarfile.open("/opt/ml/processing/model/model.tar.gz") as archive:
        archive.extractall(path=".")
    model = load("xgboost-model")
    table = pd.read_csv("/opt/ml/processing/test/test.csv", header=None)
    labels = table.iloc[:, 0].to_numpy()
    table.drop(table.columns[0], axis=1, inplace=True)
    predictions = model.predict(xgboost.DMatrix(table.values))
    mse = mean_squared_error(labels, predictions)
    report = {
        "regression_metrics": {"mse": {"value": mse, "standard_deviation": np.std(labels - predictions)}}
    }
    folder = pathlib.Path("/opt/ml/processing/evaluation")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(report))
