"""The archives with the code of a stack's steps."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from modelyard.pipeline.props import StepCode
from modelyard.singletons import StackSingleton


class StepArchives(StackSingleton):
    """One asset for each content, however many pipelines run it. One of these per stack."""

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(scope, construct_id)
        self._by_step: dict[StepCode, s3_assets.Asset] = {}
        self._by_content: dict[str, s3_assets.Asset] = {}
        self._urls: dict[StepCode, str] = {}

    def asset(self, step: StepCode) -> s3_assets.Asset:
        """The archive of these files."""
        if step not in self._by_step:
            content = step.archive()
            name = hashlib.sha256(content).hexdigest()[:12]
            self._by_step[step] = self._by_content.get(name) or self._create(name, content)
        return self._by_step[step]

    def url(self, step: StepCode) -> str:
        """Where the archive lies, as `s3://bucket/key`."""
        if step not in self._urls:
            self._urls[step] = self.asset(step).s3_object_url
        return self._urls[step]

    def _create(self, name: str, content: bytes) -> s3_assets.Asset:
        # A file, and not the folder less what is to be ignored: CDK would walk the whole folder, twice.
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "code.zip"
            archive.write_bytes(content)
            self._by_content[name] = s3_assets.Asset(self, name, path=str(archive))
        return self._by_content[name]
