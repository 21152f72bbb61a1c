"""From a fresh clone to a prediction through the deployed function URL, on this machine, with IAM enforced.

Every phase uses the tools a team would use: the stock CDK CLI, boto3 under a role of the deployed stacks,
plain HTTPS with SigV4. KEEP=1 leaves the cloud running, ALL=1 runs every pipeline of the catalogue at once,
TRAIN=1 trains on two hosts in place of a pipeline (`training`). Figures go to build/demo.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from modelyard_cli import errors
from modelyard_cli.demo import phases, summary, training
from modelyard_cli.demo.commands import ROOT, modelyard
from modelyard_cli.demo.screen import Screen
from modelyard_cli.output import console

Made = TypeVar("Made")
STATE = ROOT / "build" / "demo-cloud"
RESULT = ROOT / "build" / "demo.json"


def main() -> None:
    """Entry point of `make demo`."""
    errors.run(demo)


def demo() -> None:
    keep, everything, hosts = (os.environ.get(name, "") not in ("", "0") for name in ("KEEP", "ALL", "TRAIN"))
    if everything and hosts:
        raise errors.CliError("ALL=1 and TRAIN=1 are two demos; choose one")
    started = time.monotonic()
    result: dict[str, Any] = {"succeeded": False}
    screen = Screen()
    way = "images → queue → two hosts" if hosts else "raw data → pipeline → gate"
    console.print(f"\n[bold]Modelyard[/bold]  {way} → registry → endpoint → prediction\n")
    stop_cloud()
    shutil.rmtree(STATE, ignore_errors=True)
    phases.BUILD.mkdir(exist_ok=True)
    try:
        if hosts:
            train(screen, result)
        else:
            loop(screen, result, everything=everything)
        result["succeeded"] = True
    finally:
        result |= {
            "phases": {name: round(seconds, 3) for name, seconds in screen.seconds.items()},
            "total_seconds": round(time.monotonic() - started, 3),
        }
        RESULT.write_text(json.dumps(result, indent=2, default=str) + "\n")
        if not keep:
            stop_cloud()
    summary.show(result, STATE if keep else None)


def start(
    screen: Screen,
    result: dict[str, Any],
    title: str,
    prepare: Callable[[], Made],
    stage: str = "local",
    clock: float = 1.0,
) -> tuple[Made, dict[str, str], dict[str, str]]:
    """Data, and a cloud with all deployed: what was prepared, its AWS environment, the stacks' outputs.

    Synthesis runs beside both, for it needs neither.
    """
    with ThreadPoolExecutor(max_workers=1) as beside:
        synthesized = beside.submit(phases.synthesize, stage)
        with screen.phase("data", title):
            made = prepare()
        with screen.phase("cloud", "Local cloud, IAM enforced"):
            environment = phases.start_cloud(STATE, clock)
        with screen.phase("bootstrap", "cdk bootstrap") as news:
            phases.bootstrap(environment, news)
        with screen.phase("synth", "cdk synth"):
            synthesized.result()
    with screen.phase("deploy", "cdk deploy --all") as news:
        outputs = phases.deploy(environment, news)
    result["outputs"] = outputs
    return made, environment, outputs


def train(screen: Screen, result: dict[str, Any]) -> None:
    """The phases of training on hosts of one's own."""
    chosen, environment, outputs = start(
        screen, result, "Real handwritten digits", training.prepare, training.STAGE, training.CLOCK
    )
    training.loop(screen, result, chosen, environment, outputs)


def loop(screen: Screen, result: dict[str, Any], *, everything: bool) -> None:
    """The phases of pipelines."""
    chosen, environment, outputs = start(
        screen,
        result,
        "Real loans, cell nuclei, mortgages and digits" if everything else "Real loans from Lending Club",
        phases.prepare_all if everything else lambda: [phases.prepare_data()],
    )
    with screen.phase("upload", "Upload as the data scientist, who runs pipelines and approves nothing"):
        scientist = phases.acting_as("DataScientist", environment, outputs)
        parameters = {data.model: phases.upload(scientist, outputs, data) for data in chosen}
    with screen.phase(
        "pipeline", "Pipeline: validate, preprocess, train, evaluate, gate, register, transform"
    ):
        if everything:
            executions = phases.run_pipelines(scientist, parameters)
        else:
            executions = {phases.MODEL: phases.run_pipeline(scientist, parameters[phases.MODEL])}
    with screen.phase("approve", "Approve what was registered as the model approver, who runs nothing"):
        approver = phases.acting_as("ModelApprover", environment, outputs)
        metrics = {data.model: phases.metrics(approver, data.model) for data in chosen}
        approvals = {data.model: phases.approve(approver, data.model) for data in chosen}
    with screen.phase("predict", "Prediction through the function URL") as news:
        predictions = {data.model: phases.predict(scientist, outputs, data, news) for data in chosen}
    models = {
        name: {
            "parameters": parameters[name],
            "execution": executions[name],
            "metrics": metrics[name],
            "approval": approvals[name],
            "prediction": predictions[name],
        }
        for name in parameters
    }
    # The one that the demo always runs also stands by itself, for whoever reads the figures.
    result |= models[phases.MODEL] | {"models": models}


def stop_cloud() -> None:
    """End a cloud that an earlier demo left running."""
    if STATE.exists():
        with contextlib.suppress(errors.CliError):
            modelyard("down", "--state", str(STATE))


if __name__ == "__main__":
    main()
