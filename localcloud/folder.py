"""Where one local cloud keeps everything it writes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_FOLDER = ".modelyard"


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder of one local cloud, by default `.modelyard` in the working directory.

    Example:
        >>> StateFolder(Path("/tmp/x")).sagemaker_db
        PosixPath('/tmp/x/sagemaker.db')
    """

    root: Path

    @property
    def cloud_json(self) -> Path:
        """Address and credentials of the running cloud; there from readiness to the end of a clean stop."""
        return self.root / "cloud.json"

    @property
    def run_json(self) -> Path:
        """Process and run id of the server; what it leaves behind tells the next start of an unclean stop."""
        return self.root / "run.json"

    @property
    def lock(self) -> Path:
        """Held by the server through `flock`, so one cloud at most serves a folder."""
        return self.root / "lock"

    @property
    def credentials_json(self) -> Path:
        """Key of the administrator, made once per folder."""
        return self.root / "credentials.json"

    @property
    def port(self) -> Path:
        """Number of the port of the last run; the next one prefers it, so that URLs stay right."""
        return self.root / "port"

    @property
    def region(self) -> Path:
        """Name of the region that the account's resources lie in; gone with them."""
        return self.root / "region"

    @property
    def starting(self) -> Path:
        """Held by `modelyard up` through `flock` until its server answers, so that two do not meet."""
        return self.root / "starting"

    @property
    def tls(self) -> Path:
        """Certificate authority, server certificate, and the bundle that clients trust."""
        return self.root / "tls"

    @property
    def ministack(self) -> Path:
        """State that MiniStack writes at a clean stop, and S3's objects."""
        return self.root / "ministack"

    @property
    def sagemaker_db(self) -> Path:
        """SQLite file of the local SageMaker."""
        return self.root / "sagemaker.db"

    @property
    def autoscaling_db(self) -> Path:
        """SQLite file of Application Auto Scaling."""
        return self.root / "autoscaling.db"

    @property
    def codedeploy_db(self) -> Path:
        """SQLite file of CodeDeploy."""
        return self.root / "codedeploy.db"

    @property
    def ecs_db(self) -> Path:
        """SQLite file of ECS."""
        return self.root / "ecs.db"

    @property
    def ssm_db(self) -> Path:
        """SQLite file of SSM's documents."""
        return self.root / "ssm.db"

    @property
    def images(self) -> Path:
        """Images that the stand-in for `docker` built."""
        return self.root / "images"

    @property
    def containers(self) -> Path:
        """One private folder per running container."""
        return self.root / "containers"

    @property
    def temporary(self) -> Path:
        """Unpacked functions and the like; empty before and after a run."""
        return self.root / "tmp"

    @property
    def logs(self) -> Path:
        """What the server itself prints."""
        return self.root / "logs"

    @property
    def server_log(self) -> Path:
        """Log of the server process."""
        return self.logs / "server.log"

    @property
    def audit(self) -> Path:
        """Every authorization decision, one JSON object a line."""
        return self.root / "audit.jsonl"

    @property
    def faults(self) -> Path:
        """What fails for now, if anything; see `localcloud.faults`."""
        return self.root / "faults.json"

    @property
    def interruptions(self) -> Path:
        """Hosts that Spot takes back, if any; see `localcloud.ec2.interruptions`."""
        return self.root / "interruptions.json"

    @property
    def env_file(self) -> Path:
        """Shell exports that point any AWS client at the cloud."""
        return self.root / "env"

    @property
    def sagemaker_sdk(self) -> Path:
        """Defaults of the SageMaker SDK of whoever uses the cloud."""
        return self.root / "sagemaker-sdk.yaml"

    def create(self) -> None:
        """Make the folder, readable by its owner alone, and keep git from seeing it."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for part in (self.logs, self.ministack, self.images, self.containers):
            part.mkdir(exist_ok=True, mode=0o700)
        ignore = self.root / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, all of it or nothing."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)
