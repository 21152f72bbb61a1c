"""One model behind LitServe: `python litserve_server.py MODEL PORT [BATCH]`.

BATCH: requests that share a call; 1 without.
"""

import sys

import litserve
import numpy as np
import xgboost


class Api(litserve.LitAPI):
    def setup(self, _device):
        self.booster = xgboost.Booster({"nthread": 1}, model_file=sys.argv[1])

    def decode_request(self, request):
        return np.array([list(instance.values()) for instance in request["instances"]], dtype=np.float32)

    def batch(self, inputs):
        return np.concatenate(inputs)

    def unbatch(self, output):
        return list(output.reshape(-1, 1))

    def predict(self, rows):
        return self.booster.inplace_predict(rows, validate_features=False)

    def encode_response(self, predictions):
        return {"predictions": [float(value) for value in predictions]}


if __name__ == "__main__":
    batch = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    server = litserve.LitServer(
        Api(max_batch_size=batch, batch_timeout=0.001),
        accelerator="cpu",
        workers_per_device=1,
    )
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
