"""What `lambda_overhead` starts: `python -P lambda_probe.py boto3|handler|requests N`, alone in a process.

`boto3` and `handler` print the seconds from the start of the import to the last client; `requests` prints the
milliseconds of N bare calls and N calls of the handler, in turn; each by the clock and of the processor. It
imports what a function has: boto3, and the function's archive, which PYTHONPATH names.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

MODEL = "m"
ROW = {f"feature_{number}": number * 1.5 for number in range(12)} | {"purpose": "credit_card", "state": "NY"}


class _Context:
    aws_request_id = "11111111-2222-3333-4444-555555555555"


class Watch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"wall": time.perf_counter() - self._wall, "cpu": time.process_time() - self._cpu}


def boto3_and_clients() -> dict[str, float]:
    watch = Watch()
    import boto3
    from botocore.config import Config

    config = Config(connect_timeout=5, read_timeout=70, retries={"total_max_attempts": 1}, tcp_keepalive=True)
    for service in ("dynamodb", "sagemaker-runtime", "sagemaker-runtime"):
        boto3.client(service, config=config)
    return watch.read()


def handler_and_clients() -> dict[str, float]:
    watch = Watch()
    import modelyard.inference.runtime.handler  # noqa: F401

    return watch.read()


def requests(count: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each call."""
    import botocore.session

    from modelyard.inference.runtime import handler
    from modelyard.runtime.invoke import CONFIG

    bare = botocore.session.get_session().create_client("sagemaker-runtime", config=CONFIG)
    text = json.dumps({"model": MODEL, "instances": [ROW]})
    body = json.dumps({"instances": [ROW]}, separators=(",", ":")).encode()
    event: dict[str, Any] = {
        "version": "2.0",
        "rawPath": "/",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "content-length": str(len(text))},
        "requestContext": {"http": {"method": "POST", "path": "/"}},
        "body": text,
        "isBase64Encoded": False,
    }

    def call() -> None:
        answer = bare.invoke_endpoint(
            EndpointName=os.environ["ENDPOINT_NAME"],
            TargetModel="m/3-0123456789ab.tar.gz",
            Body=body,
            ContentType="application/json",
            Accept="application/json",
            InferenceId=_Context.aws_request_id,
        )
        with answer["Body"] as stream:
            stream.read()

    def handle() -> None:
        answer = handler.handle(event, _Context())
        if answer["statusCode"] != 200:
            raise RuntimeError(answer["body"])

    taken: dict[str, dict[str, list[float]]] = {name: {"wall": [], "cpu": []} for name in ("bare", "handler")}
    for number in range(-20, count):
        for name, subject in (("bare", call), ("handler", handle)):
            watch = Watch()
            subject()
            for kind, seconds in watch.read().items():
                if number >= 0:
                    taken[name][kind].append(seconds * 1000)
    return taken


def main() -> None:
    told = sys.stdout
    # The lines that the function logs cost what they cost, and go nowhere.
    with Path(os.devnull).open("w", buffering=1) as sys.stdout:
        match sys.argv[1:]:
            case ["boto3"]:
                result: object = boto3_and_clients()
            case ["handler"]:
                result = handler_and_clients()
            case ["requests", count]:
                result = requests(int(count))
            case _:
                raise SystemExit(__doc__)
    told.write(json.dumps(result) + "\n")
    told.flush()


if __name__ == "__main__":
    main()
