"""The files that a container finds below `/opt/ml` when it starts.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html
https://docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcloud.containers.archives import ArchiveError, open_below
from localcloud.containers.engine import Container

MODEL = "/opt/ml/model"
OUTPUT_DATA = "/opt/ml/output/data"
FAILURE = "/opt/ml/output/failure"
MESSAGE = "/opt/ml/output/message"  # ExitMessage of a processing job
CHECKPOINTS = "/opt/ml/checkpoints"
MAX_MESSAGE = 1024


def host_name(index: int) -> str:
    """`algo-1` for the first host (index 0)."""
    return f"algo-{index + 1}"


def host_addresses(count: int) -> dict[str, str]:
    """A loopback address for each host, for `/etc/hosts`: hosts may use the same port without a clash."""
    return {host_name(index): f"127.0.1.{index + 1}" for index in range(count)}


def resource_config(index: int, count: int, instance_type: str) -> dict[str, Any]:
    """`resourceconfig.json` of one host."""
    hosts = [host_name(i) for i in range(count)]
    group = "homogeneousCluster"
    return {
        "current_host": host_name(index),
        "current_instance_type": instance_type,
        "current_group_name": group,
        "hosts": hosts,
        "instance_groups": [
            {"instance_group_name": group, "instance_type": instance_type, "hosts": hosts},
        ],
        "network_interface_name": "lo",
    }


def lay_out_training(base: Path, record: Mapping[str, Any], index: int) -> None:
    """Make the folders and configuration files of one training host.

    Args:
        base: the container's `/opt/ml`.
        record: the job, in the shape of DescribeTrainingJob.
        index: of the host, from 0.
    """
    resources = record["ResourceConfig"]
    config = base / "input" / "config"
    _write(config / "hyperparameters.json", record.get("HyperParameters", {}))
    _write(config / "inputdataconfig.json", input_data_config(record))
    _write(
        config / "resourceconfig.json",
        resource_config(index, resources["InstanceCount"], resources["InstanceType"]),
    )
    for folder in ("input/data", "model", "output/data", "checkpoints"):
        (base / folder).mkdir(parents=True, exist_ok=True)


def input_data_config(record: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """`inputdataconfig.json`: what each channel holds and how it was brought."""
    mode = record["AlgorithmSpecification"]["TrainingInputMode"]
    channels: dict[str, dict[str, str]] = {}
    for channel in record.get("InputDataConfig", []):
        source = channel["DataSource"]["S3DataSource"]
        entry = {
            "TrainingInputMode": channel.get("InputMode", mode),
            "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
            "RecordWrapperType": channel.get("RecordWrapperType", "None"),
        }
        if "ContentType" in channel:
            entry["ContentType"] = channel["ContentType"]
        channels[channel["ChannelName"]] = entry
    return channels


def lay_out_processing(base: Path, record: Mapping[str, Any], index: int) -> None:
    """Make the configuration files of one processing host; see `lay_out_training`."""
    cluster = record["ProcessingResources"]["ClusterConfig"]
    members = (
        "ProcessingJobArn ProcessingJobName AppSpecification Environment ProcessingInputs "
        "ProcessingOutputConfig ProcessingResources RoleArn StoppingCondition"
    )
    config = {name: record[name] for name in members.split() if name in record}
    _write(base / "config" / "processingjobconfig.json", config)
    _write(
        base / "config" / "resourceconfig.json",
        resource_config(index, cluster["InstanceCount"], cluster["InstanceType"]),
    )
    for folder in ("input", "output", "processing"):
        (base / folder).mkdir(parents=True, exist_ok=True)


def message_of(container: Container, path: str) -> str:
    """What a container left in a failure or message file, at most 1 KB; empty if it left none."""
    try:
        with open_below(container.base, container.outside(path)) as file:
            return file.read(MAX_MESSAGE).decode("utf-8", "replace").strip()
    except (ArchiveError, FileNotFoundError):
        return ""


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
