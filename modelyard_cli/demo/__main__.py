"""From a fresh clone to a prediction through the deployed function URL, on this machine, with IAM enforced.

Every phase uses the tools a team would use: the stock CDK CLI, boto3 under a role of the deployed stacks,
plain HTTPS with SigV4. KEEP=1 leaves the cloud running. Figures go to build/demo.json.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from modelyard_cli import errors
from modelyard_cli.demo import phases, summary
from modelyard_cli.demo.commands import ROOT, modelyard
from modelyard_cli.demo.screen import Screen
from modelyard_cli.output import console

STATE = ROOT / "build" / "demo-cloud"
RESULT = ROOT / "build" / "demo.json"


def main() -> None:
    """Entry point of `make demo`."""
    errors.run(demo)


def demo() -> None:
    keep = os.environ.get("KEEP", "") not in ("", "0")
    started = time.monotonic()
    result: dict[str, Any] = {"succeeded": False}
    screen = Screen()
    console.print("\n[bold]Modelyard[/bold]  raw data → pipeline → gate → registry → endpoint → prediction\n")
    stop_cloud()
    shutil.rmtree(STATE, ignore_errors=True)
    phases.BUILD.mkdir(exist_ok=True)
    try:
        loop(screen, result)
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


def loop(screen: Screen, result: dict[str, Any]) -> None:
    """The phases, in order; synthesis runs beside the start of the cloud, for it needs neither."""
    with ThreadPoolExecutor(max_workers=1) as beside:
        synthesized = beside.submit(phases.synthesize)
        with screen.phase("data", "Real loans from Lending Club"):
            data = phases.prepare_data()
        with screen.phase("cloud", "Local cloud, IAM enforced"):
            environment = phases.start_cloud(STATE)
        with screen.phase("bootstrap", "cdk bootstrap") as news:
            phases.bootstrap(environment, news)
        with screen.phase("synth", "cdk synth"):
            synthesized.result()
    with screen.phase("deploy", "cdk deploy --all") as news:
        outputs = phases.deploy(environment, news)
    result["outputs"] = outputs
    with screen.phase("upload", "Upload as the data scientist, who runs pipelines and approves nothing"):
        scientist = phases.acting_as("DataScientist", environment, outputs)
        parameters = phases.upload(scientist, outputs, data)
    result["parameters"] = parameters
    with screen.phase(
        "pipeline", "Pipeline: validate, preprocess, train, evaluate, gate, register, transform"
    ):
        result["execution"] = phases.run_pipeline(scientist, parameters)
    with screen.phase("approve", "Approve the registered version as the model approver, who runs nothing"):
        approver = phases.acting_as("ModelApprover", environment, outputs)
        result["metrics"] = phases.metrics(approver)
        result["approval"] = phases.approve(approver)
    with screen.phase("predict", "Prediction through the function URL") as news:
        result["prediction"] = phases.predict(scientist, outputs, data, news)


def stop_cloud() -> None:
    """End a cloud that an earlier demo left running."""
    if STATE.exists():
        with contextlib.suppress(errors.CliError):
            modelyard("down", "--state", str(STATE))


if __name__ == "__main__":
    main()
