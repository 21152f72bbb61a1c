"""Spot takes a host back: a file of the state folder says which, and since when.

    interruptions.warn(cloud.folder, "i-0123456789abcdef0")

The host's metadata tell it from then on, and it is gone two minutes later, as on AWS; `seconds` may be less.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

from localcloud.folder import StateFolder

_SECONDS = 120.0


def warn(folder: StateFolder, instance_id: str, seconds: float = _SECONDS) -> None:
    """Tell a host that it will be terminated in so many seconds."""
    file = _file(folder, instance_id)
    file.parent.mkdir(exist_ok=True)
    whole = file.with_suffix(".new")
    whole.write_text(json.dumps({"at": time.time() + seconds}))
    whole.replace(file)


def facts(folder: StateFolder, instance_id: str) -> dict[str, str]:
    """What the host's metadata say of it; nothing where nobody wants the host back."""
    told = _read(folder, instance_id)
    if told is None:
        return {}
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(told["at"]))
    return {
        "spot/instance-action": json.dumps({"action": "terminate", "time": moment}),
        "spot/termination-time": moment,
    }


def due(folder: StateFolder, instance_id: str) -> bool:
    """Whether the time is up."""
    told = _read(folder, instance_id)
    return told is not None and time.time() >= told["at"]


def forget(folder: StateFolder) -> None:
    """No host of an earlier run is there any more."""
    shutil.rmtree(folder.interruptions, ignore_errors=True)


def _read(folder: StateFolder, instance_id: str) -> dict[str, Any] | None:
    with contextlib.suppress(FileNotFoundError):
        found: dict[str, Any] = json.loads(_file(folder, instance_id).read_text())
        return found
    return None


def _file(folder: StateFolder, instance_id: str) -> Path:
    return folder.interruptions / f"{instance_id}.json"
