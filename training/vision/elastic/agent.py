"""The agent of a host: meets the other hosts, starts the ranks, watches them, and starts them again.

It is PyTorch's, `torchrun` without its command line, for what this has no option for: a mistake of the user
ends the job instead of being repeated, hosts that come and go do not use up the restarts that are for
defects, a host that falls silent is left behind, and ranks fork from a process that has everything loaded.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousParameters,
    RendezvousTimeoutError,
)
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from training.common.failure import UserError, fail, say
from training.common.paths import base_dir
from training.vision.elastic import preload
from training.vision.elastic.meeting import AbsentError, await_rendezvous
from training.vision.elastic.settings import Settings
from training.vision.elastic.worker import LOST, REFUSED, STOPPED, Trainer, work
from training.vision.job_record import UntoldError, from_environment

# A host that is gone is noticed after 3 s, and hosts that meet wait 3 s for more of them; PyTorch's defaults
# make 80 s of it. No host holds the store: PyTorch would guess by host names whether this is the one.
TUNED = {
    "last_call_timeout": 3,
    "keep_alive_interval": 1,
    "keep_alive_max_attempt": 3,
    "read_timeout": 15,
    "is_host": False,
}
# NCCL's watchdog so ends a rank, whose main thread waits on the GPU, when a connection breaks: what happened
# to the other end it does not say, and a defect on this GPU may end it so too.
# https://github.com/pytorch/pytorch/issues/150916
ABORTED = -signal.SIGABRT
NOTICE_SECONDS = 10.0  # for the rendezvous to drop a host that is gone: above, with room
# Restarts of a host's ranks that ended in another way than a lost or stopped rank does. On GPUs a defect of
# one host is counted by all: see `_loses_a_host`.
DEFECTS = 3
LEAVE_SECONDS = 60  # for a rank to write its checkpoint once it was told to stop
SILENT_SECONDS = 3
END_SECONDS = 60.0  # for hosts to wait for one another at the end
SIOCGIFADDR = 0x8915
LOOPBACK = "127.0.0.1"


def supervise(settings: Settings, trainer: Trainer, arguments: Sequence[str]) -> None:
    """Train on this host, with the others of the job, until the training has ended.

    Raises:
        SystemExit: SIGTERM came, or the rendezvous is gone, LOST; the ranks have written a checkpoint.
        UserError: the job cannot go on: too few hosts, or ranks that fail.
    """
    try:
        await_rendezvous(settings.rendezvous, settings.absence)
    except AbsentError as error:
        _give_up(f"there is no rendezvous at {settings.rendezvous} after {settings.absence} s: {error}")
    address = own_address(settings.rendezvous)
    _prepare(address)
    # At the latest now: this host meets the others, who wait for it from then on.
    preload.begin()
    try:
        handler = get_rendezvous_handler(_parameters(settings, address))
    except RendezvousConnectionError:
        _give_up(f"the rendezvous at {settings.rendezvous} went as this host came")
    spec = WorkerSpec(
        role="trainer",
        local_world_size=settings.processes,
        entrypoint=work,
        args=(trainer, tuple(arguments), preload.changes()),
        rdzv_handler=handler,
        max_restarts=DEFECTS,
        local_addr=address,
    )
    agent = Agent(
        spec,
        DefaultLogsSpecs(log_dir=os.devnull),
        start_method="forkserver",
        exit_barrier_timeout=END_SECONDS,
        shutdown_timeout=LEAVE_SECONDS,
    )
    try:
        result = agent.run()
    except SignalException as error:
        # The rendezvous stays open: the others go on.
        say(f"{error.sigval.name}: this host leaves the job")
        raise SystemExit(128 + error.sigval) from None
    except RendezvousConnectionError:
        _give_up(f"the rendezvous at {settings.rendezvous} is gone: start the job again")
    except RendezvousClosedError:
        raise UserError("the job has ended, or another host ended it: see the logs of the others") from None
    except RendezvousTimeoutError:
        handler.shutdown()
        raise UserError(f"{settings.min_hosts} hosts did not come within {settings.patience} s") from None
    handler.shutdown()
    if result.is_failed():
        codes = {failure.exitcode for failure in result.failures.values()}
        reason = _reason(codes)
        _tell_record(reason, refused=REFUSED in codes)
        raise UserError(reason)


class Agent(LocalElasticAgent):  # type: ignore[misc]  # torch is not followed by mypy here
    """Tells failures of ranks apart, and does not wait for a host that is silent."""

    _round: frozenset[Any] = frozenset()  # its hosts, as the rendezvous names them

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        result = super()._monitor_workers(worker_group)
        if result.is_failed():
            codes = {failure.exitcode for failure in result.failures.values()}
            if REFUSED in codes:
                self._remaining_restarts = 0
            elif codes <= {LOST, STOPPED} or self._loses_a_host(worker_group, codes):
                self._remaining_restarts += 1  # the caller takes one away
            if self._remaining_restarts:
                say(f"ranks ended with {_listed(codes)}: starts them again with the hosts that are there")
        elif result.state == WorkerState.HEALTHY and self._lacks_a_host(worker_group):
            say("a host is silent: starts the ranks again with the hosts that are there")
            # Those that wait for it do not hear SIGTERM. A checkpoint that is being written may end.
            self._pcontext.close(signal.SIGTERM, SILENT_SECONDS)
            self._remaining_restarts += 1
            return RunResult(state=WorkerState.UNHEALTHY)
        return result

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        # Whoever reads the log learns here whose lines follow: `modelyard train logs`.
        numbers = _listed({worker.global_rank for worker in worker_group.workers})
        say(f"starts ranks {numbers} of {worker_group.workers[0].world_size}")
        self._round = frozenset(self._rdzv_handler._state_holder.state.participants)
        found: dict[int, Any] = super()._start_workers(worker_group)
        return found

    def _lacks_a_host(self, worker_group: WorkerGroup) -> bool:
        """Whether the rendezvous has dropped a host of this round; the caller asks it ten times a second."""
        known = len(self._rdzv_handler._state_holder.state.participants)
        return bool(known < worker_group.group_world_size)

    def _loses_a_host(self, worker_group: WorkerGroup, codes: set[int]) -> bool:
        """Whether ranks were aborted since a host of this round is gone. NCCL is quicker than the rendezvous,
        which takes seconds to notice.

        It may abort them also where a rank of a host that stays died of a defect. Nothing here tells that
        from a defect of this host's GPU: each host whose ranks are aborted takes it for one of its own
        `DEFECTS`.
        """
        if not codes <= {LOST, STOPPED, ABORTED} or worker_group.group_world_size == 1:
            return False
        deadline = time.monotonic() + NOTICE_SECONDS
        while not (gone := self._has_lost_a_host(worker_group)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return gone

    def _has_lost_a_host(self, worker_group: WorkerGroup) -> bool:
        """Whether a host of this round is known to the rendezvous no more. One that starts its ranks again,
        as those do that lost the aborted one, waits there for the next round."""
        state = self._rdzv_handler._state_holder.state
        known = self._round & (state.participants.keys() | state.wait_list | state.redundancy_list)
        return bool(len(known) < worker_group.group_world_size)

    def _shutdown(self, *arguments: Any, **named: Any) -> None:
        # When it starts ranks anew it gives the old ones PyTorch's own 30 s.
        super()._shutdown(*arguments, **({"timeout": LEAVE_SECONDS} | named))


def own_address(endpoint: str) -> str:
    """The address of this host towards the rendezvous, at which the other hosts reach it too.

    Raises:
        UserError: the rendezvous has no address.
    """
    host, _, port = endpoint.rpartition(":")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            asked.connect((host, int(port)))  # sends nothing
            address = str(asked.getsockname()[0])
    except OSError as error:
        raise UserError(f"the rendezvous {endpoint} cannot be reached: {error}") from None
    return _own_loopback() or address if address == LOOPBACK else address


def _own_loopback() -> str | None:
    """The address of a container's name, where containers share the loopback interface of one machine.

    PyTorch knows hosts by address and process; in containers the processes have the same numbers.
    """
    try:
        named = socket.gethostbyname(socket.gethostname())
    except OSError:
        return None
    # 127.0.1.1 is what Debian calls the machine itself.
    return named if named.startswith("127.") and not named.startswith("127.0.") else None


def interface_of(address: str) -> str | None:
    """The network interface that has this IPv4 address.

    >>> interface_of("127.0.0.1")
    'lo'
    """
    if address.startswith("127."):
        address = LOOPBACK  # which the others of the interface are not listed beside
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        for _, name in socket.if_nameindex():
            try:
                found = fcntl.ioctl(asked, SIOCGIFADDR, struct.pack("256s", name.encode()))
            except OSError:
                continue  # it has none
            if socket.inet_ntoa(found[20:24]) == address:
                return name
    return None


def _reason(codes: set[int]) -> str:
    """What a rank left as its reason, unless it ended without a word."""
    left = base_dir() / "output" / "failure"
    if codes & {1, REFUSED} and left.is_file():
        return left.read_text(encoding="utf-8")
    return f"the ranks of this host ended with {_listed(codes)}, which is no way for them to end"


def _tell_record(reason: str, *, refused: bool) -> None:
    """Ranks that end may be started again; here is known that they are not."""
    try:
        record = from_environment()
        if record:
            record.failed(None, reason, refused=refused)
    except (UntoldError, UserError, OSError) as error:
        # Outdated: then another attempt has spoken. Else the task's exit code says it, without the reason.
        say(str(error))


def _give_up(reason: str) -> NoReturn:
    """End this host for what is neither its fault nor its user's: a cluster's job does not count it as a
    failure, however often."""
    fail(reason)
    raise SystemExit(LOST)


def _listed(codes: set[int]) -> str:
    return ", ".join(map(str, sorted(codes)))


def _parameters(settings: Settings, address: str) -> Any:
    return RendezvousParameters(
        backend="c10d",
        endpoint=settings.rendezvous,
        run_id=settings.run,
        min_nodes=settings.min_hosts,
        max_nodes=settings.max_hosts,
        local_addr=address,
        join_timeout=settings.patience,
        **TUNED,
    )


def _prepare(address: str) -> None:
    """What PyTorch takes from the environment only."""
    # Each round gets a store of its own at its first rank. With the shared one a lost first rank or a new
    # host would meet the addresses of the round before, and the job would end.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    if name := interface_of(address):
        # Else a guess by the machine's name, which on Debian may be 127.0.1.1.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
    # Says the same as this agent does, with a stack trace that shows nothing but the agent.
    logging.getLogger("torch.distributed.elastic.multiprocessing.api").setLevel(logging.CRITICAL)
