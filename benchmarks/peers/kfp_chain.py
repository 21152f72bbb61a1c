"""Ten empty steps in a chain on KFP's subprocess runner; prints the seconds that they took."""

import logging
import time

from kfp import dsl, local


@dsl.component
def nothing(before: int) -> int:
    return before


@dsl.pipeline
def chain() -> None:
    task = nothing(before=0)
    for _ in range(9):
        task = nothing(before=task.output)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    local.init(runner=local.SubprocessRunner(use_venv=False))
    started = time.perf_counter()
    chain()
    print(time.perf_counter() - started)
