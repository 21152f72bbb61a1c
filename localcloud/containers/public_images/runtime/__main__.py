"""Entry point of the images: `python -m aws_images train|serve`."""

from __future__ import annotations

import os
import sys
import traceback

from . import environment, script


def train() -> int:
    """Run a training job in script mode, or XGBoost's own algorithm. Returns the exit code."""
    base = environment.base_folder()
    try:
        found = environment.read(base)
        if found.program is not None:
            return script.run(found)
        if os.environ["MODELYARD_FRAMEWORK"] != "xgboost":
            raise environment.UserError(
                "the hyperparameter sagemaker_program is missing: this image has no algorithm of its own, "
                "give it a script (entry_point)"
            )
        from . import xgboost_training

        xgboost_training.train(found)
    except environment.UserError as error:
        traceback.print_exc()
        script.fail(base, f"framework error: UserError: {error}")
        return 1
    except Exception as error:
        traceback.print_exc()
        said = str(error).partition("\nStack trace:")[0]  # XGBoost's own, of its library
        script.fail(base, f"framework error: {type(error).__name__}: {said}")
        return 1
    return 0


def serve() -> int:
    """Serve the model until ended."""
    from .server import serve as run

    return run()


def main() -> int:
    """Do what the first argument says."""
    word = sys.argv[1] if len(sys.argv) > 1 else ""
    if word == "train":
        return train()
    if word == "serve":
        return serve()
    sys.stderr.write(f"{word or 'no argument'}: this image takes train or serve\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
