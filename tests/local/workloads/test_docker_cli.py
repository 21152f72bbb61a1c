"""modelyard-docker as CDK calls it, and what it says to what it cannot do."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def context(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text('ARG BASE=python\nFROM $BASE\nRUN apt-get update\nCMD ["true"]\n')
    return tmp_path


def test_the_calls_of_cdk_assets(run_docker: Any, context: Path) -> None:
    config = ["--config", str(context)]
    build = [
        "build",
        "--build-arg",
        "BASE=other",
        "--tag",
        "cdkasset-1",
        "--file",
        "Dockerfile",
        "--platform",
    ]
    assert run_docker(*config, "inspect", "cdkasset-1", cwd=context).returncode == 1
    built = run_docker(*config, *build, "linux/amd64", "--no-cache", ".", cwd=context)
    assert built.returncode == 0, built.stderr
    assert built.stdout.startswith("sha256:")
    assert "assumed from the running environment: RUN apt-get update" in built.stderr
    uri = "000000000000.dkr.ecr.us-east-1.amazonaws.com/assets/app:abc"
    assert run_docker("tag", "cdkasset-1", uri, cwd=context).returncode == 0
    inspected = json.loads(run_docker("inspect", uri, cwd=context).stdout)
    assert inspected[0]["Id"] == built.stdout.strip()
    assert inspected[0]["Config"]["Cmd"] == ["true"]
    found = run_docker(
        "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=*/*:abc", cwd=context
    )
    assert found.stdout.split() == [uri]
    login = ["login", "--username", "AWS", "--password-stdin", "000000000000.dkr.ecr.us-east-1.amazonaws.com"]
    assert run_docker(*login, cwd=context).returncode == 0
    assert run_docker("--version", cwd=context).stdout.startswith("Docker version")


def test_the_calls_of_cdk_assets_for_a_second_dockerfile(run_docker: Any, context: Path) -> None:
    """`DockerImageAsset(file="vision.Dockerfile")`: the CLI runs docker in the asset's folder."""
    (context / "vision.Dockerfile").write_text('FROM other\nCOPY kept /opt/program/kept\nCMD ["kept"]\n')
    (context / "vision.Dockerfile.dockerignore").write_text("*\n!kept\n")
    (context / ".dockerignore").write_text("kept\n")
    (context / "kept").write_text("")
    command = [
        "build",
        "--tag",
        "cdkasset-2",
        "--file",
        "vision.Dockerfile",
        "--platform",
        "linux/amd64",
        ".",
    ]
    built = run_docker(*command, cwd=context)
    assert built.returncode == 0, built.stderr
    (inspected,) = json.loads(run_docker("inspect", "cdkasset-2", cwd=context).stdout)
    assert inspected["Config"]["Cmd"] == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "--target", "x", "."], "--target"),
        (["build", "--file", "None", "."], "there is no None"),
        (["build", "--file", "../Dockerfile", "."], "must lie in the build context"),
        (["tag", "no-such-image", "b"], "No such image: no-such-image"),
        (["push", "no-such-image"], "No such image"),
    ],
)
def test_one_line_for_what_fails(run_docker: Any, context: Path, arguments: list[str], words: str) -> None:
    result = run_docker(*arguments, cwd=context)
    assert result.returncode == 1
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bad_dockerfile_names_its_line(run_docker: Any, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM a\nVOLUME /data\n")
    result = run_docker("build", ".", cwd=context)
    assert result.returncode == 1
    assert "Dockerfile line 2: VOLUME is not supported" in result.stderr


def test_ecr_knows_what_is_missing(cloud: Any, admin: Any, actor: Any) -> None:
    name = f"describe-{uuid.uuid4().hex[:8]}"
    arn = cloud.client("ecr", admin).create_repository(repositoryName=name)["repository"]["repositoryArn"]
    actions = ["ecr:DescribeRepositories", "ecr:DescribeImages"]
    ecr = cloud.client("ecr", actor([{"Effect": "Allow", "Action": actions, "Resource": arn}]))
    assert ecr.describe_repositories(repositoryNames=[name])["repositories"][0]["repositoryArn"] == arn
    with pytest.raises(ClientError) as missing:
        ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": "none"}])
    assert missing.value.response["Error"]["Code"] == "ImageNotFoundException"
    with pytest.raises(ClientError) as other:
        ecr.describe_repositories(repositoryNames=["other"])
    assert "AccessDenied" in other.value.response["Error"]["Code"]


def test_push_needs_a_repository(run_docker: Any, context: Path) -> None:
    uri = "000000000000.dkr.ecr.us-east-1.amazonaws.com/no-such-repository:1"
    assert run_docker("build", "--tag", uri, ".", cwd=context).returncode == 0
    result = run_docker("push", uri, cwd=context)
    assert result.returncode == 1
    assert "no-such-repository" in result.stderr
    assert run_docker("build", "--tag", "plain", ".", cwd=context).returncode == 0
    assert "not an ECR image URI" in run_docker("push", "plain", cwd=context).stderr
