"""The bytes of a checkpoint: a line that says what this is, a header in JSON, and the state.

What is read is checked before PyTorch sees it, and PyTorch reads tensors and plain values only.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from training.common.failure import UserError

SCHEMA = 1
MAGIC = b"modelyard checkpoint\n"
HEADER_BYTES = 64 * 1024
ADVICE = "name another place for checkpoints, or remove those there to train from the start"


class DamagedError(UserError):
    """Not what was once written, `reason`: an older checkpoint may be whole."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"checkpoint {name} {reason}; {ADVICE}")
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a checkpoint belongs to: another network, other data or other hyperparameters make another run.

    model: digest of the names, shapes and types of the network's tensors.
    data: digest of the images and classes.
    config: the hyperparameters that decide what is learned.
    """

    model: str
    data: str
    config: Mapping[str, Any]

    @property
    def fingerprint(self) -> str:
        return digest(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """`step`: of the whole training; `run`: of the process that wrote it, so that no two write one name;
    `length`, `sha256`: of the state's bytes."""

    schema: int
    run: str
    step: int
    epoch: int
    fingerprint: str
    model: str
    data: str
    config: Mapping[str, Any]
    length: int
    sha256: str


def digest(value: Any) -> str:
    """Of plain values, whatever the order of a mapping's names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def encode(
    state: Mapping[str, Any], identity: Identity, run: str, step: int, epoch: int
) -> tuple[str, bytes]:
    """A checkpoint's name and bytes."""
    stream = io.BytesIO()
    torch.save(dict(state), stream)
    payload = stream.getbuffer()
    header = Header(
        schema=SCHEMA,
        run=run,
        step=step,
        epoch=epoch,
        fingerprint=identity.fingerprint,
        length=len(payload),
        sha256=hashlib.sha256(payload).hexdigest(),
        **asdict(identity),
    )
    line = json.dumps(asdict(header), sort_keys=True).encode() + b"\n"
    return _name(step, line), b"".join((MAGIC, line, payload))


def decode(name: str, data: bytes, identity: Identity) -> dict[str, Any]:
    """The state in a checkpoint.

    Raises:
        DamagedError: it is cut off, damaged, or no checkpoint.
        UserError: it is of another version, or of another run's model.
    """
    header, payload = whole(name, data)
    _compare(name, header, identity)
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: pickle's, zip's, PyTorch's own
        raise _unusable(name, f"cannot be read by PyTorch {torch.__version__}: {error}") from error
    return state


def whole(name: str, data: bytes) -> tuple[Header, memoryview]:
    """The header and the state's bytes, of whatever run. Raises as `decode`."""
    if MAGIC.startswith(data):
        raise DamagedError(name, f"is cut off: it has {len(data)} bytes")
    if not data.startswith(MAGIC):
        raise DamagedError(name, "is no checkpoint of this trainer")
    end = data.find(b"\n", len(MAGIC), len(MAGIC) + HEADER_BYTES)
    if end < 0:
        raise DamagedError(name, "is cut off in its header")
    line, payload = data[len(MAGIC) : end + 1], memoryview(data)[end + 1 :]
    header = _header(name, line)
    if len(payload) < header.length:
        raise DamagedError(name, f"is cut off: {len(payload)} of {header.length} bytes are there")
    if hashlib.sha256(payload).hexdigest() != header.sha256 or _name(header.step, line) != name:
        raise DamagedError(name, "is damaged: its content is not what its name says")
    return header, payload


def _header(name: str, line: bytes) -> Header:
    try:
        document = json.loads(line)
        schema = document["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(name, "has a damaged header") from error
    if schema != SCHEMA:
        raise _unusable(name, f"has schema {schema}, this trainer reads {SCHEMA}")
    try:
        return Header(**document)
    except TypeError as error:
        raise DamagedError(name, "has a damaged header") from error


def _compare(name: str, header: Header, identity: Identity) -> None:
    """The first difference, in the words of the hyperparameters where it is one."""
    if header.fingerprint == identity.fingerprint:
        return
    for key, value in identity.config.items():
        if header.config.get(key) != value:
            raise _unusable(name, f"is of another model: {key} was {header.config.get(key)}, is {value}")
    if header.data != identity.data:
        raise _unusable(name, "is of another model: its images or classes were others")
    raise _unusable(name, "is of another model: its network has other tensors")


def _name(step: int, line: bytes) -> str:
    """The header has the digest of the state, so that its own digest stands for both."""
    return f"step-{step:08d}-{hashlib.sha256(line).hexdigest()[:12]}.ckpt"


def _unusable(name: str, reason: str) -> UserError:
    return UserError(f"checkpoint {name} {' '.join(reason.split())}; {ADVICE}")
