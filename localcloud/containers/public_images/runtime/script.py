"""Script mode: fetches the user's code and runs it, as sagemaker-training-toolkit does.

https://github.com/aws/sagemaker-training-toolkit
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from .environment import Surroundings, UserError, arguments, variables
from .pip import check, read_file

# What the toolkit would start the script with, and this does not have.
_REFUSED = {
    "sagemaker_mpi_enabled": "MPI",
    "sagemaker_parameter_server_enabled": "parameter servers",
    "sagemaker_distributed_dataparallel_enabled": "SageMaker's data parallel library",
    "sagemaker_multi_worker_mirrored_strategy_enabled": "TensorFlow's strategies",
    "sagemaker_instance_groups": "instance groups",
}
_TORCHRUN = ("sagemaker_torch_distributed_enabled", "sagemaker_pytorch_ddp_enabled")
_PORT = 7777


def master_port() -> int:
    """AWS's 7777, moved by the job: hosts of several jobs share the machine's addresses."""
    return _PORT + zlib.crc32(os.environ.get("TRAINING_JOB_ARN", "").encode()) % 20_000


def fetch_code(source: str, folder: Path) -> None:
    """Put the user's code into `folder`.

    Args:
        source: `s3://` URI of a .tar.gz, or a folder of the container.
        folder: made if missing.

    Raises:
        UserError: neither.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = urlparse(source)
    if found.scheme == "s3":
        import boto3

        with tempfile.TemporaryDirectory() as scratch:
            archive = Path(scratch) / Path(found.path).name
            boto3.client("s3").download_file(found.netloc, found.path.lstrip("/"), str(archive))
            _unpack(archive, folder)
    elif found.scheme in {"", "file"} and Path(found.path).is_file():
        _unpack(Path(found.path), folder)
    elif found.scheme in {"", "file"} and Path(found.path).is_dir():
        for path in Path(found.path).rglob("*"):
            target = folder / path.relative_to(found.path)
            if path.is_file() and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
    else:
        raise UserError(f"sagemaker_submit_directory {source} is neither an s3:// URI nor a folder")


def _unpack(source: Path, folder: Path) -> None:
    """An archive is unpacked, a single script is copied."""
    if tarfile.is_tarfile(source):
        with tarfile.open(source) as archive:
            for member in archive:
                _extract(archive, member, folder)
    else:
        (folder / source.name).write_bytes(source.read_bytes())


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    """Files and folders below `folder`; by hand, since tarfile's own filter came with Python 3.11.4."""
    place = PurePosixPath(member.name)
    if place.is_absolute() or ".." in place.parts or not (member.isfile() or member.isdir()):
        raise UserError(f"the member {member.name!r} of the code archive is no file or folder below it")
    target = folder / place
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None  # it is a file
    with content, target.open("wb") as out:
        shutil.copyfileobj(content, out)
    target.chmod(0o755 if member.mode & 0o100 else 0o644)


def check_requirements(folder: Path) -> None:
    """Look whether all that `requirements.txt` asks for is here; UserError if not."""
    file = folder / "requirements.txt"
    if file.exists() and not check(list(read_file(file))):
        raise UserError(f"{file.name} asks for packages that are not installed here; see the job's log")


def command(found: Surroundings, program: str) -> list[str]:
    """What runs the user's program, with the hyperparameters as arguments; UserError if it cannot be run."""
    for name, what in _REFUSED.items():
        if found.values.get(name):
            raise UserError(f"{name}: {what} does not run on the local cloud; use one process per host")
    words = arguments(found.user)
    if not program.endswith(".py"):
        line = f"./{shlex.quote(program)} {shlex.join(words)}"
        return ["/bin/sh", "-c", line]
    if any(found.values.get(name) for name in _TORCHRUN):
        return [
            *(sys.executable, "-m", "torch.distributed.run", f"--nnodes={len(found.hosts)}"),
            *("--nproc_per_node=1", f"--master_addr={found.hosts[0]}", f"--master_port={master_port()}"),
            *(f"--node_rank={found.hosts.index(found.host)}", program, *words),
        ]
    return [sys.executable, program, *words]


def run(found: Surroundings) -> int:
    """Fetch, check and run the user's program. Returns its exit code.

    Raises:
        UserError: there is nothing to run, or not everything it needs.
    """
    program = found.program
    assert program is not None
    source = found.values.get("sagemaker_submit_directory") or os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY")
    if source:
        fetch_code(str(source), found.code)
    if not (found.code / program).is_file():
        raise UserError(f"there is no {program} in the source directory {source or found.code}")
    check_requirements(found.code)
    (found.base / "output" / "intermediate").mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **variables(found)}
    environment["PYTHONPATH"] = os.pathsep.join(
        part for part in (str(found.code), environment.get("PYTHONPATH", "")) if part
    )
    environment |= {"MASTER_ADDR": found.hosts[0], "MASTER_PORT": str(master_port())}
    words = command(found, program)
    sys.stdout.write(f"Invoking script with the following command:\n\n{shlex.join(words)}\n\n")
    sys.stdout.flush()
    return _run(words, found, environment)


def _run(words: list[str], found: Surroundings, environment: dict[str, str]) -> int:
    """Run the program; what it last said on its error stream explains a failure."""
    process = subprocess.Popen(words, cwd=found.code, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    last: list[str] = []
    for line in process.stderr:
        sys.stderr.write(line)
        sys.stderr.flush()
        last = [*last[-5:], line]
    code = process.wait()
    if code:
        said = "".join(last).strip()
        fail(
            found.base,
            f'ExecuteUserScriptError:\nExitCode {code}\nErrorMessage "{said}"\nCommand "{shlex.join(words)}"',
        )
    return code if code >= 0 else 128 - code


def fail(base: Path, text: str) -> None:
    """Leave the reason where SageMaker looks for it."""
    (base / "output").mkdir(parents=True, exist_ok=True)
    (base / "output" / "failure").write_text(text)
