"""The hosts of a training job as one: PyTorch's process group, over which DistributedDataParallel averages.

Hosts find each other, and end when one is lost, as those of distributed XGBoost do: `training.common.gang`.
The first host serves the store at which the others meet. The ranks of an elastic job have an agent that does
this for them.
https://docs.pytorch.org/docs/stable/distributed.html
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from training.common.gang import Limits, join
from training.common.hosts import Hosts
from training.common.paths import base_dir
from training.vision.elastic import ranks as elastic

LIMITS = Limits()
MEET_SECONDS = 1.0
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Group:
    """This process's place among `hosts`, and the device that it computes on."""

    hosts: Hosts
    device: Any

    def wrap(self, network: Any) -> Any:
        """The network with gradients averaged over the hosts."""
        if self.hosts.count == 1:
            return network
        # Its statistics are frozen or there are none: nothing to broadcast before each step.
        return DistributedDataParallel(network, forward_sync_buffers=False)

    def apart(self, replica: Any) -> contextlib.AbstractContextManager[Any]:
        """Gradients that are computed in it stay on this host, to be averaged with those that follow."""
        return contextlib.nullcontext() if self.hosts.count == 1 else replica.no_sync()

    def summed(self, numbers: Sequence[float]) -> list[float]:
        """The sums of the numbers over all hosts."""
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        if self.hosts.count > 1:
            distributed.all_reduce(total)
        return [float(number) for number in total.tolist()]

    def shared(self, data: bytes) -> bytes:
        """The first host's bytes, at least one, on every host; what the others give does not matter."""
        if self.hosts.count == 1:
            return data
        size = torch.tensor([len(data)], device=self.device)
        distributed.broadcast(size, 0)
        content = torch.empty(int(size), dtype=torch.uint8)
        if self.hosts.is_first:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        content = content.to(self.device)
        distributed.broadcast(content, 0)
        return bytes(content.cpu().numpy())

    def alone(self, work: Callable[[], Result]) -> Result | None:
        """Have the first host do something, for which the others wait; returns its result there, else None.

        It may take longer than a host may be silent: meanwhile all of them meet every second.
        """
        if self.hosts.count == 1:
            return work()
        if not self.hosts.is_first:
            while not self.summed([0.0])[0]:
                pass
            return None
        found: Future[Result] = Future()

        def do() -> None:
            try:
                found.set_result(work())
            except BaseException as error:
                found.set_exception(error)

        # When another host is lost, or SIGTERM comes, nothing waits for it.
        threading.Thread(target=do, name="alone", daemon=True).start()
        done = False
        while not done:
            done = bool(wait([found], MEET_SECONDS).done)
            self.summed([float(done)])
        return found.result()

    def gathered(self, value: Any) -> list[Any]:
        """A tensor of each host, of the same size on all, on the CPU and in the order of the hosts."""
        if self.hosts.count == 1:
            return [value]
        own = value.to(self.device)
        parts = [torch.empty_like(own) for _ in self.hosts.names]
        distributed.all_gather(parts, own)
        return [part.cpu() for part in parts]


@contextlib.contextmanager
def together(hosts: Hosts) -> Iterator[Group]:
    """Bring the hosts together. On one host there is nothing to do."""
    device = elastic.device()
    if hosts.count == 1:
        yield Group(hosts, device)
        return
    if elastic.ranks():
        with elastic.joined(device.type):
            yield Group(hosts, device)
        return
    _choose_interface()
    timeout = timedelta(seconds=LIMITS.join)
    store = None
    invitation = ""
    if hosts.is_first:
        address = socket.gethostbyname(hosts.names[0])
        store = distributed.TCPStore(
            address, 0, hosts.count, is_master=True, timeout=timeout, wait_for_workers=False
        )
        invitation = json.dumps([address, store.port])
    with join(hosts, invitation, LIMITS) as gang:
        if store is None:
            address, port = json.loads(gang.invitation)
            store = distributed.TCPStore(address, port, hosts.count, timeout=timeout)
        # A lost host is noticed by `join`, within seconds; this is for a broken line between two others.
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=hosts.rank,
            world_size=hosts.count,
            timeout=timeout,
        )
        yield Group(hosts, device)
        distributed.barrier()
    # Only now: the first host's store must outlive the others' last request to it.
    distributed.destroy_process_group()


def _choose_interface() -> None:
    """The network interface that SageMaker names; without one the libraries guess by the machine's name."""
    path = base_dir() / "input" / "config" / "resourceconfig.json"
    name = json.loads(path.read_text(encoding="utf-8")).get("network_interface_name")
    if name:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
