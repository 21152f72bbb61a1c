"""What SageMaker starts in the image.

    train                       training job: runs the module in STEP_MODULE, code from the channel `code`
    step --module M [ARGS...]   processing job: runs module M, code from the processing input `code`
    serve                       hosting and batch transform: the model server of this image

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from training.common.failure import UserError, run
from training.common.paths import channel, processing_input
from training.container.launch import launch

USAGE = "needs train, serve, or step --module MODULE"


def main(arguments: Sequence[str]) -> None:
    command, rest = (arguments[0], list(arguments[1:])) if arguments else ("", [])
    if command == "train":
        module = os.environ.get("STEP_MODULE")
        if not module:
            raise UserError("the environment variable STEP_MODULE must name the module that trains")
        launch(module, rest, channel("code"))
    elif command == "step":
        if len(rest) < 2 or rest[0] != "--module":
            raise UserError(f"{USAGE}, got step {' '.join(rest)}")
        launch(rest[1], rest[2:], processing_input("code"))
    elif command == "serve":
        from training.serving.server import serve  # a job has no use for the server

        serve()
    else:
        raise UserError(f"{USAGE}, got {command or 'nothing'}")


if __name__ == "__main__":
    raise SystemExit(run(main))
