"""What each phase of the demo does."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3

from modelyard_cli import images, registry
from modelyard_cli.aws import client
from modelyard_cli.demo import data
from modelyard_cli.demo.commands import ROOT, cdk, modelyard
from modelyard_cli.demo.data import Data
from modelyard_cli.demo.parallel import together
from modelyard_cli.demo.screen import News
from modelyard_cli.errors import FAILED, CliError
from modelyard_cli.executions import start, watch
from modelyard_cli.output import console
from modelyard_cli.pipelines import LOCAL_EVERY_S, show
from modelyard_cli.predict import invoke, invoke_images
from pipeline_defs.catalog import PIPELINES

BUILD = ROOT / "build"
ASSEMBLY = BUILD / "demo-cdk.out"
MODEL = "refinance-interest-rate"
# Approval reaches the endpoint by events; a team's own clients would see the model appear just so.
DEPLOYMENT_LIMIT_S = 60.0


def prepare_data() -> Data:
    """The data of the one pipeline that the demo runs unless it is told to run all."""
    (found,) = data.prepare([spec for spec in PIPELINES if spec.name == MODEL], BUILD / "data")
    return found


def prepare_all() -> list[Data]:
    """The data of every pipeline of the catalogue."""
    return data.prepare(PIPELINES, BUILD / "data")


def synthesize(stage: str = "local") -> None:
    cdk(
        "synth",
        "--quiet",
        "-c",
        f"env={stage}",
        "--output",
        str(ASSEMBLY),
        environment={},
        log=BUILD / "demo-synth.log",
    )


def start_cloud(state: Path, clock: float = 1.0) -> dict[str, str]:
    """Start it and return the AWS environment that points at it; `clock`: see `modelyard up`."""
    modelyard("up", "--state", str(state), "--clock", str(clock))
    environment: dict[str, str] = modelyard("env", "--state", str(state))
    os.environ.update(environment)  # boto3 sessions of this process
    return environment


def bootstrap(environment: Mapping[str, str], news: News) -> None:
    account = boto3.Session().client("sts").get_caller_identity()["Account"]
    target = f"aws://{account}/{environment['AWS_DEFAULT_REGION']}"
    log = BUILD / "demo-bootstrap.log"
    # Away from cdk.json: the CLI would run the app first, which bootstrapping has no use for.
    cdk("bootstrap", target, environment=environment, log=log, news=news, cwd=BUILD)


def deploy(environment: Mapping[str, str], news: News) -> dict[str, str]:
    """Deploy every stack; returns the outputs of all of them."""
    file = BUILD / "demo-outputs.json"
    cdk(
        "deploy", "--all", "--app", str(ASSEMBLY), "--require-approval", "never", "--progress", "events",
        "--concurrency", "4", "--outputs-file", str(file),
        environment=environment, log=BUILD / "demo-deploy.log", news=news,
    )  # fmt: skip
    stacks: dict[str, dict[str, str]] = json.loads(file.read_text())
    return {name: value for outputs in stacks.values() for name, value in outputs.items()}


def acting_as(role: str, environment: Mapping[str, str], outputs: Mapping[str, str]) -> boto3.Session:
    """A session of a role that the stacks define for people, `DataScientist` or `ModelApprover`: after the
    deployment nobody is administrator."""
    region = environment["AWS_DEFAULT_REGION"]
    keys = client("sts").assume_role(RoleArn=outputs[f"{role}RoleArn"], RoleSessionName="demo")["Credentials"]
    return boto3.Session(
        keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"], region_name=region
    )


def upload(session: boto3.Session, outputs: Mapping[str, str], chosen: Data) -> dict[str, str]:
    """Put the files where the pipeline reads them; returns its parameters."""
    return data.upload(client("s3", session), outputs["DataBucketName"], chosen)


def run_pipeline(session: boto3.Session, parameters: Mapping[str, str]) -> dict[str, Any]:
    sagemaker = client("sagemaker", session)
    arn = start(sagemaker, MODEL, [{"Name": name, "Value": value} for name, value in parameters.items()])
    final = show(watch(sagemaker, arn, LOCAL_EVERY_S), MODEL, console)
    if final.status != "Succeeded":
        raise CliError(f"the pipeline {final.status.lower()}: {final.failure_reason}", FAILED)
    return final.as_json()


def run_pipelines(
    session: boto3.Session, parameters: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Any]]:
    """All at once, one line each on the screen; parameters and results by the pipelines' names."""
    sagemaker = client("sagemaker", session)
    watched = {
        name: watch(
            sagemaker,
            start(sagemaker, name, [{"Name": key, "Value": value} for key, value in values.items()]),
            0.0,
        )
        for name, values in parameters.items()
    }
    ended = together(watched, console, LOCAL_EVERY_S)
    if failed := {name: state for name, state in ended.items() if state.status != "Succeeded"}:
        reasons = "; ".join(f"{name} {state.failure_reason}" for name, state in failed.items())
        raise CliError(f"{len(failed)} of {len(ended)} pipelines failed: {reasons}", FAILED)
    return {name: state.as_json() for name, state in ended.items()}


def metrics(session: boto3.Session, model: str = MODEL) -> dict[str, Any]:
    """The newest version's evaluation report, found through the registry, and the gate's threshold.

    `metric`, `value`, `baseline` and `threshold` are of what the gate compared.
    """
    sagemaker = client("sagemaker", session)
    newest = sagemaker.list_model_packages(
        ModelPackageGroupName=model, SortBy="CreationTime", SortOrder="Descending", MaxResults=1
    )["ModelPackageSummaryList"][0]["ModelPackageArn"]
    package = sagemaker.describe_model_package(ModelPackageName=newest)
    report = urlsplit(package["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"])
    stored = client("s3", session).get_object(Bucket=report.netloc, Key=report.path.lstrip("/"))
    document = json.loads(stored["Body"].read())
    metadata = package["CustomerMetadataProperties"]
    if "gate" in document:
        gate: dict[str, Any] = document["gate"]
        return gate | {"threshold": float(metadata["metric_threshold"]), "algorithm": metadata["algorithm"]}
    if "classification_metrics" in document:
        metric = metadata["metric"]
        return {
            "metric": metric,
            "value": document["classification_metrics"][metric]["value"],
            "baseline": document["baseline"][metric]["value"],
            "threshold": float(metadata["metric_threshold"]),
        }
    measured = {name: entry["value"] for name, entry in document["regression_metrics"].items()}
    baseline = document["baseline"]["mse"]["value"]
    compared = {"metric": "mse", "value": measured["mse"], "baseline": baseline}
    return measured | compared | {"threshold": float(metadata["mse_threshold"])}


def approve(session: boto3.Session, model: str = MODEL) -> dict[str, Any]:
    return registry.decide(client("sagemaker", session), model, None, "Approved", "make demo")


def predict(session: boto3.Session, outputs: Mapping[str, str], chosen: Data, news: News) -> dict[str, Any]:
    """Ask until the approved version answers: its deployment follows the approval by events."""
    url = outputs["FunctionUrl"]
    files = [str(chosen.batch / name) for name in chosen.examples] if chosen.images else []
    addresses = images.upload(files, lambda: outputs["ImageFolder"], session)
    deadline = time.monotonic() + DEPLOYMENT_LIMIT_S
    attempts = 0
    while True:
        attempts += 1
        try:
            answer = (
                invoke_images(url, chosen.model, addresses, session)
                if chosen.images
                else invoke(url, chosen.model, chosen.examples, session)
            )
            news(f"version {answer['version']}")  # what it waited for until now is over
            return answer | {
                "true_values": chosen.truth, "attempts": attempts, "url": url, "images": files
            }  # fmt: skip
        except CliError as error:
            if time.monotonic() > deadline:
                raise
            news(str(error).rpartition(": ")[2])  # without the image's long address
            time.sleep(0.5)
