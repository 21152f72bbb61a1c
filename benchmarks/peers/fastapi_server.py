"""One model behind FastAPI: `python fastapi_server.py MODEL PORT`.

/validated is how its documentation does it, /raw the least that it can do for a request.
"""

import sys

import numpy as np
import orjson
import uvicorn
import xgboost
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

booster = xgboost.Booster({"nthread": 1}, model_file=sys.argv[1])
app = FastAPI()


class Body(BaseModel):
    instances: list[dict[str, float]]


def predict(instances):
    rows = np.array([list(instance.values()) for instance in instances], dtype=np.float32)
    return [float(value) for value in booster.inplace_predict(rows, validate_features=False)]


@app.post("/validated")
def validated(body: Body):
    return {"predictions": predict(body.instances)}


@app.post("/raw")
async def raw(request: Request):
    document = orjson.loads(await request.body())
    answer = {"predictions": predict(document["instances"])}
    return Response(orjson.dumps(answer), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")
