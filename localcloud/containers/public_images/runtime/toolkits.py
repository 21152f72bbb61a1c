"""The modules of SageMaker's own toolkits that AWS's images hold and published scripts import.

https://github.com/aws/sagemaker-containers
https://github.com/aws/sagemaker-training-toolkit
https://github.com/aws/sagemaker-inference-toolkit
https://github.com/aws/sagemaker-xgboost-container
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from . import codecs
from .environment import UserError

Members = Mapping[str, Any]


class Response:
    """What `output_fn` may answer with, as `worker.Response` of the containers toolkit.

    Args:
        response: the body.
        status: of HTTP.
        headers: kept, not sent.
        mimetype: of the body.
    """

    def __init__(
        self,
        response: str | bytes | None = None,
        status: int | None = None,
        headers: Any = None,
        mimetype: str | None = None,
        content_type: str | None = None,
        accept: str | None = None,
        **_: Any,
    ) -> None:
        self._body = response or b""
        self.status_code = status or 200
        self.headers = headers
        self.mimetype = mimetype or content_type or accept or codecs.JSON

    def get_data(self) -> bytes:
        """The body."""
        return self._body.encode() if isinstance(self._body, str) else bytes(self._body)


class Environment:
    """The training environment: each `SM_...` variable as an attribute, `model_dir` for SM_MODEL_DIR."""

    def __getattr__(self, name: str) -> Any:
        name = {"module_dir": "MODULE_DIR", "hyperparameters": "HPS"}.get(name, name.upper())
        if name == "CHANNEL_INPUT_DIRS":
            return json.loads(os.environ["SM_TRAINING_ENV"])["channel_input_dirs"]
        text = os.environ.get(f"SM_{name}")
        if text is None:
            raise AttributeError(f"the training environment has no {name.lower()}")
        try:
            return json.loads(text)
        except ValueError:
            return text


def _content_types() -> Members:
    return {
        **{"JSON": codecs.JSON, "CSV": codecs.CSV, "NPY": codecs.NPY, "ANY": "*/*"},
        **{"OCTET_STREAM": "application/octet-stream", "NPZ": "application/x-npz"},
        "UTF8_TYPES": [codecs.JSON, codecs.CSV],
    }


def _encoders() -> Members:
    def to(kind: str) -> Callable[[Any], bytes]:
        return lambda value: codecs.encode(value, kind)

    def of(kind: str) -> Callable[..., Any]:
        def decode(value: Any, dtype: Any = None) -> Any:
            found = _decode(value, kind)
            return found.astype(dtype) if dtype else found

        return decode

    return {
        "encode": codecs.encode,
        "decode": _decode,
        **{f"array_to_{name}": to(kind) for name, kind in _KINDS.items()},
        **{f"{name}_to_numpy": of(kind) for name, kind in _KINDS.items()},
    }


_KINDS = {"json": codecs.JSON, "csv": codecs.CSV, "npy": codecs.NPY}


def _decode(value: Any, content_type: str) -> Any:
    return codecs.decode(value.encode() if isinstance(value, str) else bytes(value), content_type)


def _errors() -> Members:
    class UnsupportedFormatError(codecs.UnsupportedTypeError):
        def __init__(self, content_type: str, **_: Any) -> None:
            super().__init__(f"Content type {content_type} is not supported by this framework.")

    class ClientError(Exception):
        pass

    names = ("GenericInferenceToolkitError", "BaseInferenceToolkitError")
    return {
        "UnsupportedFormatError": UnsupportedFormatError,
        "UserError": UserError,
        "ClientError": ClientError,
        **dict.fromkeys(names, ClientError),
    }


def _handler() -> Members:
    from . import defaults

    fallback = defaults.of(os.environ.get("MODELYARD_FRAMEWORK", "sklearn"))
    members = {
        f"default_{name}": staticmethod(getattr(fallback, name))
        for name in ("model_fn", "input_fn", "predict_fn", "output_fn")
    }
    return {"DefaultInferenceHandler": type("DefaultInferenceHandler", (), members)}


def _training_environment() -> Members:
    return {
        **dict.fromkeys(("Environment", "TrainingEnv", "training_env"), Environment),
        "num_cpus": lambda: os.cpu_count() or 1,
        "num_gpus": lambda: 0,
    }


def _matrices() -> Members:
    """How the XGBoost image's scripts read their channels."""
    from . import xgboost_data as data

    def get_dmatrix(
        data_path: str | Sequence[str],
        content_type: str,
        csv_weights: int = 0,
        is_pipe: Any = False,
        **_: Any,
    ) -> Any:
        if is_pipe:
            raise UserError("Pipe mode does not run on the local cloud; use File mode")
        folder = Path(data_path if isinstance(data_path, str) else data_path[0])
        return data.load(folder, data.kind_of(content_type), weights=csv_weights == 1)

    return {
        "get_dmatrix": get_dmatrix,
        "get_content_type": data.kind_of,
        **{kind.upper(): kind for kind in ("csv", "libsvm", "parquet")},
    }


def _matrix_encoder() -> Members:
    import xgboost

    def csv_to_dmatrix(input: str | bytes, dtype: Any = None) -> Any:  # noqa: A002, ARG001 - its names
        return xgboost.DMatrix(codecs.csv_rows(_bytes(input)))

    def libsvm_to_dmatrix(string_like: str | bytes) -> Any:
        body = _bytes(string_like)
        indices = (field.partition(":") for field in body.decode().split())
        columns = 1 + max((int(index) for index, colon, _ in indices if colon), default=-1)
        return xgboost.DMatrix(codecs.libsvm_rows(body, columns))

    def decode(obj: str | bytes, content_type: str) -> Any:
        kind = codecs.media_type(content_type, codecs.CSV)
        if kind in codecs.LIBSVM:
            return libsvm_to_dmatrix(obj)
        if kind == codecs.CSV:
            return csv_to_dmatrix(obj)
        raise codecs.UnsupportedTypeError(f"Content type {content_type} is not supported.")

    return {"csv_to_dmatrix": csv_to_dmatrix, "libsvm_to_dmatrix": libsvm_to_dmatrix, "decode": decode}


def _bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _distributed() -> Members:
    """Brings hosts together as the XGBoost image does for scripts."""
    from . import environment
    from .hosts import together

    def rabit_run(
        exec_fun: Callable[..., Any],
        args: Mapping[str, Any],
        include_in_training: bool,
        hosts: Sequence[str] | None = None,  # noqa: ARG001 - the container knows
        current_host: str | None = None,  # noqa: ARG001
        update_rabit_args: bool = False,
        **_: Any,
    ) -> None:
        found = environment.read(environment.base_folder())
        if not include_in_training:
            raise UserError(f"{found.host} has no data; divide the data over all hosts")
        with together(found):
            shared = {"is_master": found.host == found.hosts[0]} if update_rabit_args else {}
            exec_fun(**{**args, **shared})

    return {"rabit_run": rabit_run}


def _checkpointing() -> Members:
    def train(train_args: Mapping[str, Any], checkpoint_dir: str) -> Any:  # noqa: ARG001 - its name
        import xgboost

        return xgboost.train(**train_args)

    return {"train": train}


_EMPTY: Callable[[], Members] = dict
_FRAMEWORK: Mapping[str, Callable[[], Members]] = {
    "content_types": _content_types,
    "encoders": _encoders,
    "env": _training_environment,
    "errors": _errors,
    **{name: lambda: {"Response": Response} for name in ("worker", "transformer", "server")},
    **dict.fromkeys(("entry_point", "modules", "mapping", "params", "logging_config"), _EMPTY),
}
MODULES: Mapping[str, Callable[[], Members]] = {
    "sagemaker_containers": _training_environment,
    **{f"sagemaker_containers.{name}": _FRAMEWORK[name] for name in ("entry_point", "env")},
    "sagemaker_containers.beta": _EMPTY,
    "sagemaker_containers.beta.framework": _EMPTY,
    **{f"sagemaker_containers.beta.framework.{name}": make for name, make in _FRAMEWORK.items()},
    "sagemaker_training": _EMPTY,
    "sagemaker_training.environment": _training_environment,
    "sagemaker_inference": _EMPTY,
    "sagemaker_inference.content_types": _content_types,
    "sagemaker_inference.decoder": _encoders,
    "sagemaker_inference.encoder": _encoders,
    "sagemaker_inference.errors": _errors,
    "sagemaker_inference.default_inference_handler": _handler,
    "sagemaker_xgboost_container": _EMPTY,
    "sagemaker_xgboost_container.checkpointing": _checkpointing,
    "sagemaker_xgboost_container.data_utils": _matrices,
    "sagemaker_xgboost_container.distributed": _distributed,
    "sagemaker_xgboost_container.encoder": _matrix_encoder,
}


class _Finder(MetaPathFinder, Loader):
    """Makes the modules; those that are installed go first."""

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG002
        if name not in MODULES:
            return None
        return importlib.util.spec_from_loader(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(MODULES[module.__name__]())
        if module.__name__ == "sagemaker_containers.beta.framework":
            for name in _FRAMEWORK:
                setattr(module, name, importlib.import_module(f"{module.__name__}.{name}"))


def install() -> None:
    """From now on the toolkits' modules can be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
