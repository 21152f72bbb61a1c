"""The command that runs one job on one host, and the script with which a host starts."""

from __future__ import annotations

from typing import Any

from modelyard.training.instance_driver import INTERRUPTED
from modelyard.training.runtime.job_request import PLAIN_ADDRESS

# Each is put into a script as text, so that nothing but its own alphabet may stand in it.
_ADDRESS = f"^{PLAIN_ADDRESS}$"
_PARAMETERS: dict[str, tuple[str, str]] = {
    "Job": (r"^[a-z0-9](-?[a-z0-9]){0,62}$", "Name of the job"),
    "Attempt": (r"^[1-9][0-9]{0,5}$", "Number of the attempt, from 1"),
    "Dataset": (_ADDRESS, "Manifest of the dataset"),
    "Checkpoints": (_ADDRESS, "Folder of the job's checkpoints"),
    "Output": (_ADDRESS, "Folder of what the job makes"),
    "Hyperparameters": (r"^[A-Za-z0-9+/=]{4,13336}$", "JSON object, in base64"),
    "Variables": (r"^[A-Za-z0-9+/=]{4,4096}$", "More variables of the trainer: lines NAME=VALUE, in base64"),
}
PARAMETERS = tuple(_PARAMETERS)
# Spot says so two minutes ahead.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
_STOP_SECONDS = 110

_RUN = """\
set -euo pipefail
# Whatever comes: a host that has nothing to do ends. Its disk goes with it.
trap 'shutdown -h +1' EXIT
notice=$(mktemp -u)
# Not in ECS's image; Amazon Linux's packages lie in S3, which the network's gateway reaches.
command -v aws > /dev/null || dnf install --assumeyes --quiet awscli-2
aws ecr get-login-password --region {{Region}} | docker login --username AWS --password-stdin {{Registry}}
docker pull --quiet {{Image}}
log="--log-driver awslogs --log-opt awslogs-region={{Region}} --log-opt awslogs-group={{LogGroup}}"
# Both in the host's network: the store listens where the trainer asks.
docker run --detach --rm --network host --name rendezvous $log \\
  --log-opt awslogs-stream=rendezvous/{{Job}}/{{Attempt}} --entrypoint python {{Image}} \\
  -m training.vision.rendezvous --port 29400
(
  # A Spot host is told ahead; the trainer then stores a checkpoint.
  while sleep 5; do
    token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \\
      http://169.254.169.254/latest/api/token || true)
    if curl -sf -o /dev/null -H "X-aws-ec2-metadata-token: $token" \\
      http://169.254.169.254/latest/meta-data/spot/instance-action; then
      touch "$notice"
      docker stop --time {{StopSeconds}} trainer || true
      exit
    fi
  done
) &
watch=$!
variables=()
while read -r line; do
  [ -z "$line" ] || variables+=(--env "$line")
done <<< "$(echo {{Variables}} | base64 --decode)"
status=0
docker run --rm --network host --name trainer {{Gpus}} --shm-size {{SharedMemory}}m \\
  --stop-timeout {{StopSeconds}} --ulimit nofile=65536 $log \\
  --log-opt awslogs-stream=trainer/{{Job}}/{{Attempt}} \\
  --env RENDEZVOUS_ENDPOINT=localhost:29400 --env PROCESSES_PER_HOST={{Processes}} \\
  --env MIN_HOSTS=1 --env MAX_HOSTS=1 --env JOB_NAME={{Job}} --env ATTEMPT={{Attempt}} \\
  --env DATASET_URI={{Dataset}} --env CHECKPOINT_URI={{Checkpoints}} --env OUTPUT_URI={{Output}} \\
  --env AWS_DEFAULT_REGION={{Region}} \\
  --env HYPERPARAMETERS="$(echo {{Hyperparameters}} | base64 --decode)" \\
  "${variables[@]}" --entrypoint python {{Image}} -m training.vision.launch || status=$?
kill $watch || true
# Also where it was killed, since a checkpoint took too long. One that trained to its end has done so.
[ $status = 0 ] || [ ! -e "$notice" ] || status={{Interrupted}}
exit $status
"""


def document(*, fixed: dict[str, str], limit_seconds: int) -> dict[str, Any]:
    """An SSM document of type Command.

    Args:
        fixed: What this construct knows: image, registry, region and the like.
        limit_seconds: After which SSM ends the command.

    See https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html
    """
    script = _RUN
    for name, value in fixed.items():
        script = script.replace(f"{{{{{name}}}}}", value)
    # SSM writes the parameters of a document as `{{ Name }}` too.
    return {
        "schemaVersion": "2.2",
        "description": "Trains one job on this host, which then ends",
        "parameters": {
            name: {"type": "String", "allowedPattern": pattern, "description": text}
            for name, (pattern, text) in _PARAMETERS.items()
        },
        "mainSteps": [
            {
                "name": "Train",
                "action": "aws:runShellScript",
                "precondition": {"StringEquals": ["platformType", "Linux"]},
                "inputs": {"timeoutSeconds": str(limit_seconds), "runCommand": script.splitlines()},
            }
        ],
    }


def fixed_values(
    *, image: str, registry: str, region: str, log_group: str, gpu: bool, processes: int, shared_memory: int
) -> dict[str, str]:
    """What `document` fills in by itself."""
    return {
        "Image": image,
        "Registry": registry,
        "Region": region,
        "LogGroup": log_group,
        "Gpus": "--runtime nvidia --env NVIDIA_VISIBLE_DEVICES=all" if gpu else "",
        "Processes": str(processes),
        "SharedMemory": str(shared_memory),
        "StopSeconds": str(_STOP_SECONDS),
        "Interrupted": str(INTERRUPTED),
    }


def start_script(limit_minutes: int) -> str:
    """User data: the host ends itself, even when nobody ever sends it a job or asks again."""
    # ECS's agent would look for a cluster that this host has none of.
    return f"#!/bin/bash\nshutdown -h +{limit_minutes}\nsystemctl disable --now --no-block ecs\n"
