"""Hosts, and the commands that they are sent, put into the cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localcloud.cloudformation import ssm_document
from localcloud.context import Cloud
from localcloud.sagemaker.store import Store

if TYPE_CHECKING:
    from localcloud.ec2.fleet import Fleet


class Installed:
    """The running service."""

    def __init__(self, fleet: Fleet, store: Store) -> None:
        self._fleet, self._store = fleet, store

    def close(self) -> None:
        """End every host and close the store."""
        self._fleet.close()
        self._store.close()


def install(cloud: Cloud) -> Installed:
    """Put the service into the cloud: operations, documents in templates, tasks of state machines."""
    from localcloud.aws import sdk_tasks
    from localcloud.ec2 import authorization
    from localcloud.ec2.fleet import Fleet
    from localcloud.ec2.instances import Instances
    from localcloud.ec2.run_command import RunCommand

    store = Store(cloud.folder.ssm_db)
    ssm_document.install(store)
    commands = RunCommand(cloud, store)
    fleet = Fleet(cloud, commands.heard)
    fleet.end_interrupted()
    authorization.install()
    Instances(fleet).install()
    commands.install(fleet)
    sdk_tasks.install(cloud, "ec2", "Ec2")
    sdk_tasks.install(cloud, "ssm", "Ssm")
    return Installed(fleet, store)
