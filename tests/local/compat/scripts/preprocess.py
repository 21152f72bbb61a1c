"""Processing step of the shellfish pipelines: raw CSV without header to train, validation and test CSV.

Written as scripts for AWS's scikit-learn image are: fixed paths below /opt/ml, boto3 for the raw data.
"""

import argparse
import pathlib

import boto3
import numpy as np
import pandas as pd
import requests  # noqa: F401 - such scripts import it
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FEATURES = ["sex", "length", "diameter", "height", "whole", "shucked", "viscera", "shell"]
LABEL = "rings"
TYPES = dict.fromkeys(FEATURES[1:], np.float64) | {"sex": str}

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--input-data", type=str, required=True)
    options = parser.parse_args()
    base = "/opt/ml/processing"
    pathlib.Path(f"{base}/data").mkdir(parents=True, exist_ok=True)
    bucket, _, key = options.input_data.removeprefix("s3://").partition("/")
    local = f"{base}/data/shellfish.csv"
    boto3.resource("s3").Bucket(bucket).download_file(key, local)
    table = pd.read_csv(local, header=None, names=[*FEATURES, LABEL], dtype=TYPES | {LABEL: np.float64})
    pathlib.Path(local).unlink()

    numeric = [name for name in FEATURES if name != "sex"]
    numbers = Pipeline([("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())])
    words = Pipeline(
        [
            ("fill", SimpleImputer(strategy="constant", fill_value="missing")),
            ("one-hot", OneHotEncoder(handle_unknown="ignore")),
        ]
    )
    prepare = ColumnTransformer([("numbers", numbers, numeric), ("words", words, ["sex"])])
    labels = table.pop(LABEL)
    rows = np.concatenate((labels.to_numpy().reshape(-1, 1), prepare.fit_transform(table)), axis=1)
    np.random.default_rng(7).shuffle(rows)
    parts = np.split(rows, [int(0.7 * len(rows)), int(0.85 * len(rows))])
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        pd.DataFrame(part).to_csv(f"{base}/{name}/{name}.csv", header=False, index=False)
