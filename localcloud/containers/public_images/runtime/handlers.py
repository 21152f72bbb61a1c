"""From the files of a model to what answers requests."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from . import codecs, script
from .environment import UserError, base_folder


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and its type."""

    status: int
    body: bytes
    content_type: str = "text/plain"


class Model(Protocol):
    """What answers requests."""

    def answer(self, body: bytes, content_type: str, accept: str) -> Answer:
        """Answer one request; safe to call from several threads."""
        ...


def load(folder: Path) -> Model:
    """Load the model of a folder: with the user's functions if there are any, else as the image does itself.

    Raises:
        UserError: the folder, or what is configured, cannot be served.
    """
    framework = os.environ["MODELYARD_FRAMEWORK"]
    module = _user_module(folder, framework)
    if module is not None:
        return UserModel(module, folder, framework)
    if framework == "xgboost":
        return BuiltInModel(folder)
    raise UserError(
        "there is no inference script: name one in the variable SAGEMAKER_PROGRAM (entry_point of the "
        "model), or put it into the archive as code/inference.py"
    )


def _user_module(folder: Path, framework: str) -> ModuleType | None:
    program, source = os.environ.get("SAGEMAKER_PROGRAM"), os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY")
    code = folder / "code"
    if not program:
        program = "inference.py" if (code / "inference.py").is_file() else None
    if not program:
        return None
    if source and not Path(source.removeprefix("file://")).is_dir():
        code = base_folder() / "code"
        if not (code / program).exists():
            script.fetch_code(source, code)
    elif source and folder == base_folder() / "model":
        code = Path(source.removeprefix("file://"))
    if not (code / program).is_file() and (code / "inference.py").is_file():
        program = "inference.py"
    if not (code / program).is_file():
        if framework == "xgboost" and not source:
            return None
        raise UserError(f"there is no {program} in {code}")
    script.check_requirements(code)
    sys.path.insert(0, str(code))
    name = Path(program).stem
    if folder == base_folder() / "model":
        return importlib.import_module(name)
    # Models of one server have scripts of the same name.
    spec = importlib.util.spec_from_file_location(f"{name}_{abs(hash(folder))}", code / program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class UserModel:
    """A model behind the user's model_fn, input_fn, predict_fn and output_fn, or transform_fn.

    Args:
        module: the user's script.
        folder: `/opt/ml/model`.
        framework: whose defaults stand for what the script lacks.
    """

    def __init__(self, module: ModuleType, folder: Path, framework: str) -> None:
        from . import defaults

        fallback = defaults.of(framework)

        def function(name: str) -> Callable[..., Any]:
            found: Callable[..., Any] = getattr(module, name, None) or getattr(fallback, name)
            return found

        self._transform: Callable[..., Any] | None = getattr(module, "transform_fn", None)
        self._input, self._predict = function("input_fn"), function("predict_fn")
        self._output = function("output_fn")
        self._model = function("model_fn")(str(folder))

    def answer(self, body: bytes, content_type: str, accept: str) -> Answer:
        """See `Model`."""
        accept = codecs.media_type(
            accept, os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", codecs.JSON)
        )
        kind = codecs.media_type(content_type, codecs.JSON)
        # As the real servers do: text for types that are text.
        text = kind in {codecs.JSON, codecs.CSV, codecs.LINES} or kind.startswith("text/")
        payload: Any = body.decode() if text else body
        try:
            if self._transform is not None:
                result = self._transform(self._model, payload, kind, accept)
            else:
                prediction = self._predict(self._input(payload, kind), self._model)
                result = self._output(prediction, accept)
        except codecs.UnsupportedTypeError as error:
            return Answer(415, str(error).encode())
        if isinstance(result, tuple):
            result, accept = result
        if hasattr(result, "get_data"):  # a flask.Response
            return Answer(result.status_code, result.get_data(), result.mimetype)
        if isinstance(result, str):
            result = result.encode()
        if not isinstance(result, bytes | bytearray):
            result = codecs.encode(result, accept)
        return Answer(200, bytes(result), accept)


class BuiltInModel:
    """The XGBoost algorithm's own server.

    https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html#InputOutput-XGBoost

    Args:
        folder: with one file, of the algorithm, or saved or pickled by somebody.
    """

    def __init__(self, folder: Path) -> None:
        if os.environ.get("SAGEMAKER_INFERENCE_OUTPUT"):
            raise UserError("SAGEMAKER_INFERENCE_OUTPUT is not supported here; the answer is the prediction")
        files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
        if not files:
            raise UserError(f"the model archive has no file in {folder}; it should hold xgboost-model")
        self._booster = load_booster(files[0])
        self._booster.set_param({"nthread": 1})
        self._columns = int(self._booster.num_features())
        self._lock = threading.Lock()
        self._guessing = False

    def answer(self, body: bytes, content_type: str, accept: str) -> Answer:
        """See `Model`."""
        if not body:
            return Answer(204, b"")
        kind = codecs.media_type(content_type, "") or self._guessed(body)
        try:
            if kind == codecs.CSV:
                rows = codecs.csv_rows(body)
            elif kind in codecs.LIBSVM:
                rows = codecs.libsvm_rows(body, self._columns)
            else:
                return Answer(415, f"Content-type {content_type} is not supported.".encode())
        except ValueError as error:
            return Answer(415 if kind == codecs.CSV else 400, str(error).encode())
        accept = codecs.media_type(accept, os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", codecs.CSV))
        if accept not in {codecs.CSV, codecs.JSON, codecs.LINES}:
            return Answer(406, f"Accept type {accept} is not supported.".encode())
        if rows.shape[1] != self._columns:
            problem = (
                f"Unable to evaluate payload provided: Feature size of csv inference data {rows.shape[1]} is "
                f"not consistent with feature size of trained model {self._columns}."
            )
            return Answer(400, problem.encode())
        with self._lock:
            predicted = self._booster.inplace_predict(rows, validate_features=False)
        return Answer(200, _encoded(predicted, accept), accept)

    def _guessed(self, body: bytes) -> str:
        kind = codecs.guess(body)
        if kind == codecs.CSV and not self._guessing:
            self._guessing = True
            sys.stdout.write(
                "[local cloud] rows came without a content type and are read as CSV; AWS's image would read "
                "them as libsvm, and answer nonsense: give the content type text/csv\n"
            )
            sys.stdout.flush()
        return kind


def load_booster(path: Path) -> Any:
    """A booster from a file that was saved or pickled; UserError."""
    import xgboost

    content = path.read_bytes()
    try:
        if content[:1] == b"\x80":
            found = pickle.loads(content)  # noqa: S301 - as the image does, with what its user trained
            return found.get_booster() if hasattr(found, "get_booster") else found
        booster = xgboost.Booster()
        booster.load_model(bytearray(content))
    except Exception as error:
        raise UserError(f"Model {path} cannot be loaded: {error}") from error
    return booster


def _encoded(predicted: Any, accept: str) -> bytes:
    values = predicted.tolist()
    if os.environ.get("SAGEMAKER_BATCH"):
        return ("\n".join(map(str, values)) + "\n").encode()
    if accept == codecs.CSV:
        return codecs.encode(predicted, codecs.CSV)
    scores = [{"score": value} for value in values]
    if accept == codecs.JSON:
        return json.dumps({"predictions": scores}).encode()
    return "".join(json.dumps(score) + "\n" for score in scores).encode()
