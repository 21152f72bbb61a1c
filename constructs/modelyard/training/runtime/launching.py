"""What the containers of a job are told.

`training.vision.launch` reads these variables; see its page for what each does.
"""

from __future__ import annotations

import json
import re

from .errors import RequestError
from .job_request import PLAIN_ADDRESS, JobRequest
from .settings import Settings

# https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_TaskOverride.html: 8192 characters for all
# overrides as JSON, which quotes the hyperparameters once more.
_MOST_CHARACTERS = 7_000
# By which whoever watches the attempt is patient for less long than its hosts, a late look included.
_LATER_SECONDS = 120


def environment(
    request: JobRequest, attempt: int, settings: Settings, *, paid: float = 0.0
) -> dict[str, str]:
    """Variables of the trainer's container.

    Args:
        request: What is trained.
        attempt: Number of the attempt.
        settings: Of the cluster.
        paid: Node-seconds for which the hosts of earlier attempts were paid.
    """
    place = f"{settings.output_uri}{request.job}/"
    return {
        "JOB_NAME": request.job,
        "JOB_TABLE": settings.table_name,
        "ATTEMPT": str(attempt),
        # Goodput and cost are of the whole job.
        "PAID_NODE_SECONDS": f"{paid:.0f}",
        "PRICE_PER_HOST_HOUR": repr(settings.price(instance=request.instance)),
        # ECS names it on Fargate only.
        "AWS_DEFAULT_REGION": settings.cluster.split(":")[3],
        "RENDEZVOUS_ENDPOINT": settings.rendezvous_endpoint,
        "MIN_HOSTS": str(request.min_hosts if request.elastic else request.hosts),
        "MAX_HOSTS": str(request.hosts),
        # A host that gave up before the attempt does would count as a failure of the program.
        "JOIN_SECONDS": str(settings.start_seconds + settings.watch_seconds + _LATER_SECONDS),
        "PROCESSES_PER_HOST": str(settings.processes_per_host),
        "DATASET_URI": request.data,
        "CHECKPOINT_URI": f"{place}checkpoints/",
        "OUTPUT_URI": f"{place}output/",
        "HYPERPARAMETERS": json.dumps(dict(request.settings), sort_keys=True, separators=(",", ":")),
        # The cluster's task definition says so itself: without it there is no telemetry, and no alarm rings.
        **({"TRAINING_CLUSTER": settings.cluster.rpartition("/")[2]} if request.instance else {}),
        # Offline: hosts have no way to its servers, and no key.
        **({"WANDB_PROJECT": request.wandb, "WANDB_MODE": "offline"} if request.wandb else {}),
    }


def check(request: JobRequest, settings: Settings) -> None:
    """Whether the cluster can ever run it.

    Raises:
        RequestError: it asks for more hosts than there are, or for a single one where there is none, or with
            data of an address that such a host is not told; it has a budget where hosts have no price; its
            settings are too long for ECS; or its models would be registered where this cluster may not.
    """
    if request.instance and not settings.driver_arn:
        raise RequestError("instance is true; this stage has no single host (TrainingSettings.instance)")
    if request.instance and not re.fullmatch(PLAIN_ADDRESS, request.data):
        raise RequestError(
            f"data is {request.data!r:.200}; a single host takes letters, digits and _ . / = + - in its key: "
            "write the manifest under such a key"
        )
    if request.hosts > settings.slots:
        raise RequestError(f"hosts is {request.hosts}; this cluster has {settings.slots}")
    if request.budget_usd is not None and not settings.price(instance=request.instance):
        whose, member = (
            ("its single host", "InstanceSize.price_usd")
            if request.instance
            else ("its hosts", "host_price_usd")
        )
        raise RequestError(
            f"budget_usd is {request.budget_usd:g}, and this cluster knows no price of {whose}, so that it "
            f"would never be spent; give max_hours, or the cluster a price ({member})"
        )
    if request.model_group and request.model_group not in settings.model_groups:
        known = ", ".join(settings.model_groups) or "none"
        raise RequestError(f"model_group is {request.model_group}; this cluster registers models in: {known}")
    pairs = [{"name": name, "value": value} for name, value in environment(request, 1, settings).items()]
    if (length := len(json.dumps(pairs))) > _MOST_CHARACTERS:
        over = length - _MOST_CHARACTERS
        raise RequestError(f"the settings are {over} characters too long for a task; put large ones in S3")
