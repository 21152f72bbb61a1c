"""A training container's surroundings as the variables that scripts read.

https://github.com/aws/sagemaker-training-toolkit/blob/master/ENVIRONMENT_VARIABLES.md
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Hyperparameters for the toolkit itself, which scripts do not see.
_OF_TOOLKIT = """
    sagemaker_program sagemaker_submit_directory sagemaker_enable_cloudwatch_metrics sagemaker_region
    sagemaker_container_log_level sagemaker_job_name default_user_module_name _tuning_objective_metric
    sagemaker_s3_output sagemaker_estimator_class_name sagemaker_estimator_module
"""
_TOOLKIT = frozenset(_OF_TOOLKIT.split())


class UserError(Exception):
    """What the request or the data got wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What SageMaker tells a training container.

    Args:
        base: `/opt/ml`.
        given: hyperparameters as they are on disk: text.
        values: the same, decoded from JSON where they are JSON.
        resources: `resourceconfig.json`.
        channels: `inputdataconfig.json`.
    """

    base: Path
    given: Mapping[str, str]
    values: Mapping[str, Any]
    resources: Mapping[str, Any]
    channels: Mapping[str, Mapping[str, str]]

    @property
    def host(self) -> str:
        """This host's name."""
        return str(self.resources["current_host"])

    @property
    def hosts(self) -> list[str]:
        """All hosts, sorted."""
        return sorted(self.resources["hosts"])

    @property
    def code(self) -> Path:
        """Where the script's folder is unpacked."""
        return self.base / "code"

    @property
    def user(self) -> dict[str, Any]:
        """The script's own hyperparameters."""
        return {
            name: value
            for name, value in self.values.items()
            if name not in _TOOLKIT and not name.startswith("sagemaker_")
        }

    def folder(self, channel: str) -> Path:
        """Where a channel's files lie."""
        return self.base / "input" / "data" / channel

    @property
    def program(self) -> str | None:
        """The script to run, None in algorithm mode."""
        value = self.values.get("sagemaker_program") or os.environ.get("SAGEMAKER_PROGRAM")
        return str(value) if value else None


def base_folder() -> Path:
    """The container's `/opt/ml`."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def read(base: Path) -> Surroundings:
    """Read the configuration files below `base`."""
    config = base / "input" / "config"

    def load(name: str) -> Any:
        path = config / name
        return json.loads(path.read_text()) if path.exists() else {}

    given = load("hyperparameters.json")
    return Surroundings(
        base=base,
        given=given,
        values={name: decode(value) for name, value in given.items()},
        resources=load("resourceconfig.json"),
        channels=load("inputdataconfig.json"),
    )


def decode(value: str) -> Any:
    """A hyperparameter's value: the SDK writes JSON, people write text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def arguments(values: Mapping[str, Any]) -> list[str]:
    """Hyperparameters as command-line arguments.

    >>> arguments({"epochs": 3, "p": 0.5})
    ['--epochs', '3', '-p', '0.5']
    """
    words: list[str] = []
    for name in sorted(values):
        value = values[name]
        if isinstance(value, dict):
            value = ",".join(f"{key}={item}" for key, item in sorted(value.items()))
        words += [f"--{name}" if len(name) > 1 else f"-{name}", "" if value is None else str(value)]
    return words


def variables(found: Surroundings) -> dict[str, str]:
    """The `SM_...` variables."""
    base, program = found.base, found.program or ""
    groups = found.resources.get("instance_groups", [])
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    folders = {name: str(found.folder(name)) for name in sorted(found.channels)}
    plain: dict[str, Any] = {
        "hosts": found.hosts,
        "network_interface_name": found.resources.get("network_interface_name", "lo"),
        "user_entry_point": program,
        "framework_params": {},
        "resource_config": dict(found.resources),
        "input_data_config": dict(found.channels),
        "output_data_dir": str(base / "output" / "data"),
        "current_host": found.host,
        "current_instance_type": found.resources.get("current_instance_type", ""),
        "current_instance_group": found.resources.get("current_group_name", ""),
        "current_instance_group_hosts": found.hosts,
        "instance_groups": [group["instance_group_name"] for group in groups],
        "instance_groups_dict": {group["instance_group_name"]: group for group in groups},
        "distribution_instance_groups": [],
        "is_hetero": False,
        "module_name": Path(program).stem,
        "log_level": found.values.get("sagemaker_container_log_level", 20),
        "framework_module": f"sagemaker_{os.environ.get('MODELYARD_FRAMEWORK', '')}_container.training:main",
        "input_dir": str(base / "input"),
        "input_config_dir": str(base / "input" / "config"),
        "output_dir": str(base / "output"),
        "num_cpus": cpus,
        "num_gpus": 0,
        "num_neurons": 0,
        "model_dir": str(base / "model"),
        "module_dir": str(found.values.get("sagemaker_submit_directory") or found.code),
        "output_intermediate_dir": str(base / "output" / "intermediate"),
    }
    training = {
        **plain,
        "additional_framework_parameters": {},
        "channel_input_dirs": folders,
        "hyperparameters": found.user,
        "is_master": found.host == found.hosts[0],
        "is_modelparallel_enabled": None,
        "job_name": found.values.get("sagemaker_job_name") or os.environ.get("TRAINING_JOB_NAME", ""),
        "master_hostname": found.hosts[0],
    }
    every = {
        **plain,
        "hps": found.user,
        "channels": list(folders),
        "training_env": training,
        "user_args": arguments(found.user),
        **{f"channel_{name}": folder for name, folder in folders.items()},
        **{f"hp_{name}": value for name, value in found.user.items()},
    }
    return {f"SM_{name.upper()}": _text(value) for name, value in every.items()}


def _text(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
