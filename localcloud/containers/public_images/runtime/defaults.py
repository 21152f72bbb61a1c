"""The functions that stand for what a user's inference script leaves out, by framework."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from . import codecs
from .environment import UserError


def of(framework: str) -> Any:
    """An object with model_fn, input_fn, predict_fn and output_fn."""
    return {"xgboost": _XGBOOST, "sklearn": _SKLEARN, "pytorch": _PYTORCH}[framework]


def _no_model(folder: str) -> Any:
    raise UserError(f"the inference script has no model_fn(model_dir), which loads the model from {folder}")


def _bytes(payload: Any) -> bytes:
    return payload.encode() if isinstance(payload, str) else bytes(payload)


def _decode(payload: Any, content_type: str) -> Any:
    return codecs.decode(_bytes(payload), content_type)


def _matrix(payload: Any, content_type: str) -> Any:
    import xgboost

    if content_type in codecs.LIBSVM:
        body = _bytes(payload)
        columns = 1 + max((int(f.partition(":")[0]) for f in body.decode().split() if ":" in f), default=-1)
        return xgboost.DMatrix(codecs.libsvm_rows(body, columns))
    if content_type == codecs.CSV:
        return xgboost.DMatrix(codecs.csv_rows(_bytes(payload)))
    raise codecs.UnsupportedTypeError(
        f"Content type {content_type} is not supported by this image's input_fn."
    )


_SKLEARN = SimpleNamespace(
    model_fn=_no_model,
    input_fn=_decode,
    predict_fn=lambda data, model: model.predict(data),
    output_fn=lambda prediction, accept: (codecs.encode(prediction, accept), accept),
)
_XGBOOST = SimpleNamespace(
    model_fn=_no_model,
    input_fn=_matrix,
    predict_fn=lambda data, model: model.predict(data, validate_features=False),
    output_fn=lambda prediction, accept: (codecs.encode(prediction, accept), accept),
)


# https://github.com/aws/sagemaker-pytorch-inference-toolkit
def _torch_model(folder: str) -> Any:
    import torch

    files = sorted(path for path in Path(folder).iterdir() if path.suffix in {".pt", ".pth"})
    file = next((path for path in files if path.name == "model.pt"), None)
    if file is None:
        if len(files) != 1:
            _no_model(folder)
        file = files[0]
    return torch.jit.load(str(file), map_location="cpu").eval()


def _torch_input(payload: Any, content_type: str) -> Any:
    import torch

    rows = _decode(payload, content_type)
    text = codecs.media_type(content_type, codecs.JSON) in {codecs.JSON, codecs.CSV}
    return torch.as_tensor(rows, dtype=torch.float32 if text else None)


def _torch_predict(data: Any, model: Any) -> Any:
    import torch

    with torch.no_grad():
        return model.to("cpu").eval()(data)


def _torch_output(prediction: Any, accept: str) -> Any:
    value = prediction.detach().cpu().numpy() if hasattr(prediction, "detach") else prediction
    return codecs.encode(value, accept), accept


_PYTORCH = SimpleNamespace(
    model_fn=_torch_model, input_fn=_torch_input, predict_fn=_torch_predict, output_fn=_torch_output
)
