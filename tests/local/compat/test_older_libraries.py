"""What scripts written for AWS's images ask of libraries that have moved on, in a Python of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from localcloud.containers.public_images import catalog

RUNTIME = Path(catalog.__file__).parent / "runtime"
ACCOUNT = "683313688378.dkr.ecr.us-east-1.amazonaws.com"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the Dockerfile lays out below /opt/modelyard."""
    folder = tmp_path_factory.mktemp("image")
    shutil.copytree(RUNTIME, folder / "aws_images", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(RUNTIME / "start" / "sitecustomize.py", folder)
    return folder


def run(image: Path, script: str, **environment: str) -> str:
    """Run a script as in a container of these images; what it printed."""
    file = image / "script.py"
    file.write_text(textwrap.dedent(script))
    variables = {"PYTHONPATH": str(image), "MODELYARD_FRAMEWORK": "xgboost", "MODELYARD_PANDAS": "1"}
    done = subprocess.run(
        [sys.executable, file],
        env={"PATH": os.environ["PATH"], **variables, **environment},
        cwd=image,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_numpy_names_and_tables_that_are_split(image: Path) -> None:
    said = run(
        image,
        """
        import numpy as np
        import pandas as pd
        assert np.zeros(2, dtype=np.float).dtype == "float64" and np.NaN != np.NaN and np.Inf > 1
        assert np.in1d([1, 2], [2]).tolist() == [False, True] and np.trapz([1, 1]) == 1
        table = pd.DataFrame({"a": range(10), "b": list("abcdefghij")})
        parts = np.split(table.sample(frac=1, random_state=1), [int(0.7 * 10), int(0.9 * 10)])
        assert [len(part) for part in parts] == [7, 2, 1] and list(parts[0].columns) == ["a", "b"]
        assert sum(part["a"].sum() for part in np.array_split(table, 3)) == 45
        assert [part.tolist() for part in np.split(np.arange(4), 2)] == [[0, 1], [2, 3]]
        try:
            np.no_such_thing
        except AttributeError:
            print("unknown names stay unknown")
        """,
    )
    assert "[local cloud] np.float is no more" in said
    assert "unknown names stay unknown" in said


def test_pandas_methods_and_text(image: Path) -> None:
    run(
        image,
        """
        import io
        import pandas as pd
        table = pd.DataFrame({"a": [1.0, None, 3.0], "b": ["x", "y", "x"]})
        longer = table.append({"a": 4.0, "b": "z"}, ignore_index=True)
        assert len(longer) == 4 and longer["b"].tolist()[-1] == "z"
        assert len(table.append(table)) == 6 and len(table["a"].append(table["a"])) == 6
        assert table["b"].dtype == object and table.dtypes.tolist()[1] == "object"
        assert [name for name, _ in table.iteritems()] == ["a", "b"]
        assert table.fillna(method="ffill")["a"].tolist() == [1.0, 1.0, 3.0]
        read = pd.read_csv(io.StringIO("v\\n1\\n2\\n"), squeeze=True, error_bad_lines=False)
        assert read.tolist() == [1, 2]
        dummies = pd.get_dummies(table)
        assert dummies.to_csv(index=False, header=False).splitlines()[0] == "1.0,1,0"
        assert pd.get_dummies(table, dtype=float).iloc[0, 1] == 1.0
        """,
    )
    assert "True" in run(
        image,
        "import pandas as pd\nprint(pd.get_dummies(pd.Series(['x', 'y'])).to_csv(index=False))",
        MODELYARD_PANDAS="2",
    )


def test_columns_that_are_changed_in_place_change_their_table(image: Path) -> None:
    run(
        image,
        """
        import pandas as pd
        table = pd.DataFrame({"a": [1.0, None, 3.0], "b": ["x", "?", "x"]})
        table["a"].fillna(2.0, inplace=True)
        table.b.replace("?", "y", inplace=True)
        table["a"][0] = 9.0
        assert table["a"].tolist() == [9.0, 2.0, 3.0] and table["b"].tolist() == ["x", "y", "x"]
        kept = table["a"].copy()
        kept[0] = 0.0
        other = table["a"].fillna(0)
        other[1] = 0.0
        assert table["a"].tolist() == [9.0, 2.0, 3.0]
        """,
    )


def test_estimators_of_former_versions(image: Path) -> None:
    said = run(
        image,
        """
        import numpy as np
        from sklearn.base import clone
        from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
        from sklearn.externals import joblib
        from sklearn.linear_model import LogisticRegression, SGDClassifier
        from sklearn.metrics import mean_squared_error
        from sklearn.model_selection import GridSearchCV
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.preprocessing import OneHotEncoder
        rows, classes = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 2
        encoder = OneHotEncoder(sparse=False, handle_unknown="ignore")
        assert isinstance(encoder.fit_transform([["a"], ["b"]]), np.ndarray)
        assert list(encoder.get_feature_names()) == ["x0_a", "x0_b"]
        assert clone(encoder).sparse_output is False
        assert mean_squared_error([1, 2], [1, 4], squared=False) == 2 ** 0.5
        assert mean_squared_error([1, 2], [1, 4]) == 2.0
        for model in (
            RandomForestClassifier(n_estimators=3, max_features="auto"),
            RandomForestRegressor(n_estimators=3, max_features="auto", criterion="mse"),
            GradientBoostingClassifier(n_estimators=3, loss="deviance"),
            SGDClassifier(loss="log"),
            LogisticRegression(multi_class="auto", solver="lbfgs"),
        ):
            clone(model).fit(rows, classes)
        search = GridSearchCV(RandomForestClassifier(n_estimators=3), {"max_features": ["auto"]}, iid=False)
        assert search.fit(rows, classes).best_score_ >= 0
        assert joblib.dump
        try:
            KNeighborsClassifier(n_neighbors=-1).fit(rows, classes)
        except ValueError as error:
            print(error)
        """,
    )
    assert "OneHotEncoder(sparse=...) is now sparse_output" in said
    assert "The 'n_neighbors' parameter" in said


def test_xgboost_of_former_versions(image: Path) -> None:
    said = run(
        image,
        """
        import numpy as np
        import xgboost as xgb
        rows = np.random.default_rng(0).normal(size=(40, 3))
        label = (rows[:, 0] > 0).astype(int)
        open("rows.libsvm", "w").write("1 0:0.5\\n0 0:0.1 2:3\\n")
        assert xgb.DMatrix("rows.libsvm").num_row() == 2
        matrix = xgb.DMatrix(rows, label=label)
        found = {}
        booster = xgb.train(
            {"objective": "binary:logistic", "tree_method": "gpu_hist"},
            matrix, 5, [(matrix, "train")],
            feval=lambda predicted, d: ("mine", 1.0), evals_result=found, verbose_eval=False,
        )
        assert found["train"]["mine"] == [1.0] * 5
        assert len(booster.predict(matrix, ntree_limit=2)) == 40
        model = xgb.XGBClassifier(n_estimators=20, use_label_encoder=False)
        model.fit(rows, label, eval_set=[(rows, label)], eval_metric="logloss", early_stopping_rounds=3,
                  verbose=False)
        assert model.best_ntree_limit == model.best_iteration + 1
        assert model.predict(rows, ntree_limit=model.best_ntree_limit).shape == (40,)
        """,
    )
    assert "belongs to the model in this XGBoost" in said
    assert "hist is used" in said


@pytest.mark.parametrize(
    ("repository", "pandas"),
    [
        ("sagemaker-xgboost:1.7-1", 1),
        ("sagemaker-xgboost:3.0-5", 2),
        ("sagemaker-scikit-learn:1.2-1-cpu-py3", 1),
        ("sagemaker-scikit-learn:1.4-2-cpu-py3", 2),
    ],
)
def test_which_pandas_an_image_holds(repository: str, pandas: int) -> None:
    assert catalog.read(f"{ACCOUNT}/{repository}").pandas == pandas


def test_the_toolkits_that_scripts_import(image: Path) -> None:
    run(
        image,
        """
        import json, os
        import numpy as np
        from sagemaker_containers import entry_point
        from sagemaker_containers.beta.framework import (
            content_types, encoders, env, modules, server, transformer, worker,
        )
        from sagemaker_inference import content_types as types, decoder, encoder, errors
        from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
        from sagemaker_training import environment
        from sagemaker_xgboost_container import checkpointing, distributed
        from sagemaker_xgboost_container.data_utils import get_dmatrix
        from sagemaker_xgboost_container.encoder import csv_to_dmatrix, decode, libsvm_to_dmatrix
        assert content_types.JSON == types.JSON == "application/json"
        assert json.loads(encoders.encode(np.array([1, 2]), "application/json")) == [1, 2]
        assert decoder.decode("1,2", types.CSV).tolist() == [1, 2]
        answer = worker.Response("{}", mimetype="text/csv")
        assert (answer.get_data(), answer.mimetype, answer.status_code) == (b"{}", "text/csv", 200)
        os.makedirs("train", exist_ok=True)
        open("train/a.csv", "w").write("1,2,3\\n4,5,6\\n")
        assert get_dmatrix("train", "csv").num_col() == 2
        assert csv_to_dmatrix("1,2,3").num_col() == 3 and libsvm_to_dmatrix("0 0:1 4:2").num_col() == 5
        assert decode(b"1,2", "text/csv").num_row() == 1
        assert DefaultInferenceHandler().default_input_fn("1,2", "text/csv").num_col() == 2
        os.environ.update(SM_MODEL_DIR="/opt/ml/model", SM_HPS='{"a": 1}', SM_NUM_GPUS="0")
        found = environment.Environment()
        assert (found.model_dir, found.hyperparameters, found.num_gpus) == ("/opt/ml/model", {"a": 1}, 0)
        try:
            raise errors.UnsupportedFormatError("image/png")
        except ValueError as error:
            assert "image/png" in str(error)
        try:
            import sagemaker_no_such_thing
        except ImportError:
            pass
        else:
            raise AssertionError
        """,
    )
