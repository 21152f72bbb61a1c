"""`modelyard-docker`: what CDK calls instead of `docker` (CDK_DOCKER) when images run as processes.

Knows version, build, tag, inspect, images, login and push, as cdk-assets calls them. Build takes a snapshot
of the context into the local cloud's state folder; push registers it with the local cloud's ECR.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from localcloud.containers.dockerfile import DockerfileError
from localcloud.containers.image import ImageError, ImageStore
from localcloud.folder import DEFAULT_FOLDER, StateFolder

STATE_VARIABLE = "MODELYARD_STATE"


class UsageError(Exception):
    """A call that cannot be served, with what to do."""


def state_folder() -> StateFolder:
    """The state folder of the cloud that the environment points at.

    MODELYARD_STATE names it; without it, the `.modelyard` of this or a parent folder, if the cloud that runs
    there is the one of AWS_ENDPOINT_URL.
    """
    if named := os.environ.get(STATE_VARIABLE):
        return StateFolder(Path(named).absolute())
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/")
    here = Path.cwd()
    for parent in (here, *here.parents):
        folder = StateFolder(parent / DEFAULT_FOLDER)
        if folder.cloud_json.exists():
            running = json.loads(folder.cloud_json.read_text())
            if str(running.get("endpoint_url", "")).rstrip("/") == endpoint:
                return folder
    raise UsageError(
        f"no local cloud at AWS_ENDPOINT_URL ({endpoint or 'not set'}); run `modelyard up`, load its "
        f"environment, or name its state folder in {STATE_VARIABLE}"
    )


def _write(text: str) -> None:
    sys.stdout.write(text + "\n")


def _version(_: argparse.Namespace) -> int:
    _write("Docker version 0.0.0, modelyard-docker (images as folders, containers as processes)")
    return 0


def _build(options: argparse.Namespace) -> int:
    if options.target or options.build_context or options.secret or options.ssh:
        raise UsageError(
            "--target, --build-context, --secret and --ssh are not supported: nothing is executed"
        )
    arguments: dict[str, str] = {}
    for pair in options.build_arg:
        name, equals, value = pair.partition("=")
        arguments[name] = value if equals else os.environ.get(name, "")
    context = Path(options.context).resolve()
    dockerfile = Path(options.file).resolve() if options.file else context / "Dockerfile"
    if not dockerfile.is_relative_to(context):
        raise UsageError(f"the Dockerfile {dockerfile} must lie in the build context {context}")
    store = ImageStore(state_folder().images)
    name = dockerfile.relative_to(context).as_posix()
    image = store.build(context, dockerfile=name, build_args=arguments)
    for tag in options.tag:
        store.tag(tag, image.digest)
    for line in image.assumed:
        sys.stderr.write(f"not executed, assumed from the running environment: {line}\n")
    _write(image.digest)
    return 0


def _find(store: ImageStore, name: str) -> str:
    digest = store.find(name)
    if digest is None:
        raise UsageError(f"No such image: {name}")
    return digest


def _tag(options: argparse.Namespace) -> int:
    store = ImageStore(state_folder().images)
    store.tag(options.target, _find(store, options.source))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    store = ImageStore(state_folder().images)
    image = store.load(_find(store, options.name))
    config = {
        "Env": [f"{name}={value}" for name, value in image.environment.items()],
        "Entrypoint": list(image.entrypoint),
        "Cmd": list(image.command),
        "WorkingDir": image.workdir,
        "Labels": dict(image.labels),
    }
    _write(json.dumps([{"Id": image.digest, "RepoTags": [options.name], "Config": config}], indent=2))
    return 0


def _images(options: argparse.Namespace) -> int:
    suffix = next((f.rpartition(":")[2] for f in options.filter if f.startswith("reference=")), "")
    for name, _ in ImageStore(state_folder().images).names():
        # docker's reference=*/*:TAG wants a repository with a folder in it
        if not suffix or (name.endswith(f":{suffix}") and "/" in name):
            _write(name)
    return 0


def _login(options: argparse.Namespace) -> int:
    if options.password_stdin:
        sys.stdin.read()  # docker's token names nobody: pushes are signed with AWS credentials
    _write("Login Succeeded")
    return 0


def _push(options: argparse.Namespace) -> int:
    from localcloud.containers.push import push

    store = ImageStore(state_folder().images)
    image = store.load(_find(store, options.name))
    _write(f"{options.name}: digest: {push(options.name, image)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="modelyard-docker", description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="accepted, not used")
    commands = parser.add_subparsers(required=True)

    def command(name: str, run: Any) -> argparse.ArgumentParser:
        sub = commands.add_parser(name)
        sub.set_defaults(run=run)
        return sub

    command("version", _version)
    build = command("build", _build)
    build.add_argument("context")
    build.add_argument("--tag", "-t", action="append", default=[])
    build.add_argument("--file", "-f")
    build.add_argument("--build-arg", action="append", default=[])
    for refused in ("--target", "--ssh", "--secret", "--build-context"):
        build.add_argument(refused, action="append")
    for ignored in ("--platform", "--network", "--output", "--cache-from", "--cache-to"):
        build.add_argument(ignored, action="append", help="accepted: nothing to choose for a process")
    build.add_argument("--no-cache", action="store_true")
    tag = command("tag", _tag)
    tag.add_argument("source")
    tag.add_argument("target")
    command("inspect", _inspect).add_argument("name")
    images = command("images", _images)
    images.add_argument("--format")
    images.add_argument("--filter", action="append", default=[])
    login = command("login", _login)
    login.add_argument("server", nargs="?")
    login.add_argument("--username", "-u")
    login.add_argument("--password-stdin", action="store_true")
    command("push", _push).add_argument("name")
    return parser


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exit code 1 and one line on standard error when it fails, as docker does."""
    from botocore.exceptions import BotoCoreError, ClientError

    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(["version" if word == "--version" else word for word in words])
    try:
        sys.exit(options.run(options))
    except (UsageError, DockerfileError, ImageError, OSError, ClientError, BotoCoreError) as error:
        sys.stderr.write(f"modelyard-docker: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
