"""The local cloud's one process: MiniStack's application and our services behind one TLS address.

    python -m localcloud.server --state DIR [--port 0] [--region us-east-1]

prints one JSON line when it is ready, and ends cleanly on SIGTERM or Ctrl-C. `modelyard up` starts it
in the background.
"""

from __future__ import annotations

import argparse
import asyncio
import asyncio.constants
import faulthandler
import json
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from localcloud import processes, tls
from localcloud.aws import (
    administrator,
    differences,
    inside,
    interrupted_stacks,
    parsed_policies,
    shortcuts,
)
from localcloud.aws.audit import Audit
from localcloud.context import Cloud, Credentials, use_transport
from localcloud.environment import server_environment
from localcloud.faults import Application, Faults
from localcloud.folder import StateFolder
from localcloud.run import Refused, Run, bind

ACCOUNT = "000000000000"

_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# MiniStack's own levers answer anybody who can connect, without a signature. Only what the way of AWS's
# services leads through is open: functions' and APIs' URLs, which ask IAM, and answers to CloudFormation,
# whose paths end in a secret.
_LEVERS = ("/_ministack", "/_localstack", "/_aws")
_OPEN = ("/_ministack/cfn-response/", "/_ministack/cfn-signal/", "/_aws/lambda-url/", "/_aws/execute-api/")
_HEALTH = ("/_ministack/health", "/_ministack/ready", "/_localstack/health")


class Closable(Protocol):
    """A service that holds threads or processes."""

    def close(self) -> None: ...


class Server:
    """Serves one state folder until `stop` is called or a signal arrives."""

    def __init__(
        self, cloud: Cloud, key: Credentials, serving: Callable[[], None], announce: Callable[[], None]
    ) -> None:
        self._cloud = cloud
        self._serving = serving
        self._key = key
        self._announce = announce
        self._services: list[Closable] = []
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Begin a clean stop; safe to call again."""
        self._stopping.set()

    async def run(self, listener: socket.socket, files: tls.TlsFiles) -> None:
        """Serve until stopped; MiniStack has saved its state on return."""
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        config = Config()
        config.bind = [f"fd://{listener.detach()}"]
        config.certfile, config.keyfile = str(files.certificate), str(files.key)
        # HTTP/2 would change nothing but the ways to fail.
        config.alpn_protocols = ["http/1.1"]
        config.keep_alive_timeout = 75
        config.graceful_timeout = 2
        config.loglevel = "WARNING"
        config.errorlog = "-"
        # A client that keeps an idle connection open must not hold up the stop for asyncio's 30 s.
        asyncio.constants.SSL_SHUTDOWN_TIMEOUT = 0.5
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_without_slow_goodbyes)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stop)
        application = Faults(self._application, self._cloud.folder.faults)
        announcing = asyncio.create_task(self._announce_when_reachable(application))
        inside.serve(self._cloud.endpoint_url, loop, self._cloud.folder.faults)
        try:
            await serve(application, config, shutdown_trigger=self._until_stopped)
        finally:
            inside.end(self._cloud.endpoint_url)
            announcing.cancel()

    async def _until_stopped(self) -> None:
        await self._stopping.wait()
        # Jobs and endpoints end while the cloud still answers them.
        for service in reversed(self._services):
            await asyncio.to_thread(service.close)

    async def _announce_when_reachable(self, application: Application) -> None:
        host, port = "127.0.0.1", int(self._cloud.endpoint_url.rpartition(":")[2])
        while True:
            with suppress(OSError):
                _reader, writer = await asyncio.open_connection(host, port)
                writer.close()
                break
            await asyncio.sleep(0.02)
        self._announce()
        await asyncio.to_thread(self._prepare_clients, asyncio.get_running_loop(), application)

    def _prepare_clients(self, loop: asyncio.AbstractEventLoop, application: Application) -> None:
        """Load what jobs and pipelines call AWS with, half a second that the first of them would wait."""
        from localcloud.aws.transport import Transport

        use_transport(self._cloud, Transport(loop, application, str(self._cloud.ca_bundle)))
        for service in ("sagemaker", "s3", "ecr"):
            self._cloud.client(service, self._key)

    def _install(self) -> None:
        """Add what is ours to MiniStack, which has just loaded its state."""
        interrupted_stacks.fail()
        differences.apply(self._cloud)
        shortcuts.apply()
        administrator.install(self._cloud, self._key)
        self._services += _install_services(self._cloud)

    async def _application(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        from ministack.app import app

        if scope["type"] == "lifespan":
            await app(scope, receive, self._installing(send))
        elif scope["type"] == "http" and is_closed(str(scope["path"])):
            await _refuse(send)
        else:
            await app(scope, receive, send)

    def _installing(self, send: Send) -> Send:
        async def forward(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                try:
                    await asyncio.to_thread(self._install)
                    self._serving()
                except Exception as error:
                    # Told the server's way: it would serve on after an exception, with half of the cloud.
                    _log.exception("the local cloud cannot start")
                    await send({"type": "lifespan.startup.failed", "message": repr(error)})
                    return
            await send(message)

        return forward


def is_closed(path: str) -> bool:
    """Whether a path is one of MiniStack's own that no service of AWS needs."""
    return path.lower().startswith(_LEVERS) and not path.startswith(_OPEN) and path not in _HEALTH


def _without_slow_goodbyes(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Keep out of the log that a client left without TLS's goodbye, as Node's and functions' clients do."""
    if not isinstance(context.get("exception"), TimeoutError):
        loop.default_exception_handler(context)


def _install_services(cloud: Cloud) -> list[Closable]:
    from localcloud.autoscaling import ecs_services, sagemaker_variants
    from localcloud.autoscaling import service as autoscaling
    from localcloud.aws import queue_metrics
    from localcloud.cloudformation import network
    from localcloud.cloudwatch import service as cloudwatch
    from localcloud.codedeploy import service as codedeploy
    from localcloud.ec2 import service as ec2
    from localcloud.ecs import service as ecs
    from localcloud.sagemaker import service

    network.install(cloud)
    alarms, queues = cloudwatch.install(cloud), queue_metrics.install(cloud)
    sagemaker = service.install(cloud)
    containers = ecs.install(cloud)
    variants = sagemaker_variants.Variants(cloud, sagemaker.store)
    counts = ecs_services.Services(cloud, containers.service.store)
    scaling = autoscaling.install(cloud, {"sagemaker": variants, "ecs": counts})
    return [alarms, queues, sagemaker, containers, scaling, codedeploy.install(cloud), ec2.install(cloud)]


async def _refuse(send: Send) -> None:
    body = json.dumps({"message": "This path of MiniStack is closed in the local cloud."}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def serve(
    root: Path,
    port: int,
    region: str | None,
    announce: Callable[[dict[str, Any]], None],
    clock: float = 1.0,
) -> None:
    """Run a cloud in this process until a signal stops it.

    Args:
        root: the state folder.
        port: 0 for the one of the last run, or else any free one.
        region: for example `us-east-1`; None for the folder's.
        announce: called once, from the event loop, with the content of `cloud.json`.
        clock: see `Cloud.clock`.

    Raises:
        Refused: the folder has a running cloud or another region, or the port is taken.
    """
    folder = StateFolder(root.resolve())
    folder.create()
    with Run(folder, region=region, run_id=secrets.token_hex(16)) as run:
        listener, port = bind(port, run.last_port)
        files = tls.ensure(folder.tls, run.region)
        run.begin()
        cloud = Cloud(
            account=ACCOUNT,
            region=run.region,
            endpoint_url=f"https://localhost:{port}",
            ca_bundle=files.bundle,
            folder=folder,
            run_id=run.run_id,
            clock=clock,
        )
        environment = server_environment(cloud, files, port, os.environ)
        os.environ.clear()
        os.environ.update(environment)
        key = administrator.credentials(folder)
        audit = Audit(folder.audit)
        differences.apply_before_import(audit)
        parsed_policies.apply()

        def ready() -> None:
            announce(run.publish(cloud, key))

        try:
            # Not asyncio.run: it would wait for functions and stack operations that still run, while
            # MiniStack has saved its state already.
            asyncio.new_event_loop().run_until_complete(
                Server(cloud, key, run.serving, ready).run(listener, files)
            )
        finally:
            processes.end_run(run.run_id)
            audit.close()
        run.finish()


def main() -> None:
    """Entry point of `python -m localcloud.server`."""
    parser = argparse.ArgumentParser(prog="python -m localcloud.server", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for everything the cloud writes")
    parser.add_argument("--port", type=int, default=0, help="0: the last run's, or any free one")
    parser.add_argument("--region", help="the folder's, or us-east-1")
    parser.add_argument(
        "--clock",
        type=float,
        default=1.0,
        help="how many times faster the time of scaling and deployments runs",
    )
    options = parser.parse_args()
    # Of a cloud that hangs: `kill -USR1` writes into its log where each thread is.
    faulthandler.register(signal.SIGUSR1)
    # A shell's `&` starts us with SIGINT ignored; until the loop runs, both signals just end the start.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)

    def announce(record: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(record) + "\n")
        sys.stdout.flush()
        # Whoever waited for the line stops reading: what prints later goes to the log.
        os.dup2(2, 1)

    try:
        serve(options.state, options.port, options.region, announce, options.clock)
    except Refused as refusal:
        sys.stderr.write(f"{refusal}\n")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of functions that still run must not keep a stopped cloud alive.
    os._exit(0)


if __name__ == "__main__":
    main()
