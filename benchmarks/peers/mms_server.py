"""One model behind multi-model-server: `python mms_server.py MODEL PORT MANAGEMENT_PORT [toolkit]`.

toolkit: its handler is that of sagemaker-inference, as in AWS's own containers, XGBoost's among them; without
it, the least that it can do for a request. It needs Java.
"""

import json
import os
import sys
from pathlib import Path

HANDLER = """
import json

import numpy as np
import xgboost

TOOLKIT = {toolkit}
booster = xgboost.Booster({{"nthread": 1}}, model_file={model!r})


def predict(document):
    rows = np.array([list(instance.values()) for instance in document["instances"]], dtype=np.float32)
    return [float(value) for value in booster.inplace_predict(rows, validate_features=False)]


def plain(data, context):
    if data is None:
        return None
    bodies = [item["body"] for item in data]
    documents = [body if isinstance(body, dict) else json.loads(body) for body in bodies]
    return [json.dumps({{"predictions": predict(document)}}) for document in documents]


if TOOLKIT:
    from sagemaker_inference.default_handler_service import DefaultHandlerService
    from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
    from sagemaker_inference.transformer import Transformer

    class Inference(DefaultInferenceHandler):
        def default_model_fn(self, model_dir, context=None):
            return booster

        def default_input_fn(self, input_data, content_type, context=None):
            return input_data if isinstance(input_data, dict) else json.loads(input_data)

        def default_predict_fn(self, data, model, context=None):
            return {{"predictions": predict(data)}}

        def default_output_fn(self, prediction, accept, context=None):
            return json.dumps(prediction)

    service = DefaultHandlerService(Transformer(Inference()))


def handle(data, context):
    if not TOOLKIT:
        return plain(data, context)
    if data is None:
        service.initialize(context)
        return None
    return service.handle(data, context)
"""
CONFIG = """inference_address=http://127.0.0.1:{port}
management_address=http://127.0.0.1:{management}
default_workers_per_model=1
number_of_netty_threads=1
job_queue_size=1000
decode_input_request=false
async_logging=true
vmargs=-Xmx512m
"""


def main():
    model, port = Path(sys.argv[1]).resolve(), int(sys.argv[2])
    folder = model.parent.parent / f"mms-{port}"
    archive = folder / "store" / "bench"
    (archive / "MAR-INF").mkdir(parents=True)
    (folder / "tmp").mkdir()
    (archive / "service.py").write_text(HANDLER.format(toolkit="toolkit" in sys.argv, model=str(model)))
    manifest = {
        "runtime": "python",
        "model": {"modelName": "bench", "handler": "service.py:handle"},
        "modelServerVersion": "1.0",
        "implementationVersion": "1.0",
        "specificationVersion": "1.0",
    }
    (archive / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))
    config = folder / "config.properties"
    config.write_text(CONFIG.format(port=port, management=int(sys.argv[3])))
    os.chdir(folder)  # where it writes its logs
    # Where it notes that it runs, so that two of them do not take each other for themselves.
    os.environ["TMPDIR"] = os.environ["TEMP"] = str(folder / "tmp")
    arguments = [
        "--start",
        "--foreground",
        "--mms-config",
        str(config),
        "--model-store",
        str(folder / "store"),
    ]
    os.execv(
        str(Path(sys.executable).parent / "multi-model-server"),
        ["multi-model-server", *arguments, "--models", "bench=bench"],
    )


if __name__ == "__main__":
    main()
