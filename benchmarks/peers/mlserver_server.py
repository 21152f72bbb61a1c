"""One model behind MLServer, in its own process: `python mlserver_server.py MODEL PORT`."""

import asyncio
import sys

import numpy as np
import xgboost
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.types import InferenceResponse, ResponseOutput


class Runtime(MLModel):
    async def load(self):
        self.booster = xgboost.Booster({"nthread": 1}, model_file=sys.argv[1])
        return True

    async def predict(self, payload):
        given = payload.inputs[0]
        rows = np.array(given.data.root, dtype=np.float32).reshape(given.shape)
        predictions = self.booster.inplace_predict(rows, validate_features=False)
        output = ResponseOutput(
            name="predict",
            shape=[len(predictions)],
            datatype="FP32",
            data=[float(value) for value in predictions],
        )
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main(port):
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=port + 1,
        metrics_port=port + 2,
        parallel_workers=0,
        debug=False,
        load_models_at_startup=False,
    )
    server = MLServer(settings)
    await server.start([ModelSettings(name="model", implementation=Runtime)])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[2])))
