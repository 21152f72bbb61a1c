"""A cluster without AWS: records with their conditions, hosts that come and go, executions that are data."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from training_runtime.admission import Capacity
from training_runtime.attempt import Attempt, Step, from_document
from training_runtime.attempts import Cause
from training_runtime.errors import MissingError, RefusedError
from training_runtime.intake import accept
from training_runtime.item import of_capacity, of_job, to_capacity, to_job
from training_runtime.job import ENDS, Checkpoint, Job
from training_runtime.ports import Notice, Outcome, Phase, Ports, Report, Started, Task
from training_runtime.settings import Settings
from training_runtime.steps import perform
from training_runtime.sweeping import sweep

SETTINGS = Settings(
    table_name="jobs",
    state_machine_arn="arn:aws:states:eu-west-1:111122223333:stateMachine:training",
    dead_letters_url="https://sqs/dead",
    cluster="arn:aws:ecs:eu-west-1:111122223333:cluster/training",
    task_definition="arn:aws:ecs:eu-west-1:111122223333:task-definition/trainer:7",
    container="trainer",
    subnets=("subnet-1", "subnet-2"),
    security_groups=("sg-1",),
    capacity_providers=("spot", "on-demand"),
    slots=4,
    output_uri="s3://bucket/training/",
    rendezvous_endpoint="rendezvous.train.local:29400",
    host_price_usd=1.0,
)


class Records:
    """`ports.Jobs` with the condition of DynamoDB; `meddle` is called between a read and a write."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.reports: dict[str, Report] = {}
        self.meddle: Callable[[], None] = lambda: None

    def read(self, name: str) -> Job | None:
        item = self.items.get(name)
        return to_job(json.loads(json.dumps(item))) if item else None

    def create(self, job: Job) -> bool:
        self.meddle()
        return self.items.setdefault(job.request.job, of_job(job))["generation"] == {"N": "1"} and (
            self.read(job.request.job) == job
        )

    def change(self, name: str, change: Callable[[Job], Job]) -> Job:
        for _ in range(50):
            before = self.read(name)
            if before is None:
                raise MissingError(name)
            after = change(before)
            if after == before:
                return before
            self.meddle()
            if self.items[name]["generation"] == {"N": str(before.generation)}:
                if after.generation == before.generation:
                    after = replace(after, generation=after.generation + 1)
                self.items[name] = of_job(after)
                return after
        raise AssertionError(f"the record of {name} never settles")

    def open(self) -> Iterator[str]:
        yield from (name for name, item in self.items.items() if item["standing"] == {"S": "open"})

    def report(self, name: str) -> Report | None:
        return self.reports.get(name)


class Slots:
    """`admission.Store`, likewise."""

    def __init__(self, total: int) -> None:
        self.total, self.item = total, of_capacity(Capacity(total=total))
        self.meddle: Callable[[], None] = lambda: None

    def read(self) -> Capacity:
        return to_capacity(self.item, self.total)

    def write(self, capacity: Capacity) -> bool:
        self.meddle()
        if self.read().generation != capacity.generation - 1:
            return False
        self.item = of_capacity(capacity)
        return True


@dataclass
class Fleet:
    """`ports.Hosts`: tasks come when told to, and end some time after they were stopped.

    Those of `deaf` hosts do not obey, and end with these only; nobody can take away those that are `denied`,
    nor any on Fargate.
    """

    tasks: dict[str, Task] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    told: dict[str, Mapping[str, str]] = field(default_factory=dict)
    stopping: set[str] = field(default_factory=set)
    started: dict[str, Started] = field(default_factory=dict)
    refusal: str = ""
    short: int = 0
    patient: bool = False
    providers: list[int] = field(default_factory=list)
    deaf: set[str] = field(default_factory=set)
    evicted: list[str] = field(default_factory=list)
    fargate: bool = False
    denied: set[str] = field(default_factory=set)
    alone: list[str] = field(default_factory=list)

    def run(
        self,
        attempt: str,
        count: int,
        environment: Mapping[str, str],
        *,
        provider: int,
        token: str,
        alone: bool = False,
    ) -> Started:
        if alone:
            self.alone.append(attempt)
        if self.refusal:
            raise RefusedError(self.refusal)
        self.providers.append(provider)
        key = f"{attempt}|{token}"
        if key not in self.started:
            arns = tuple(f"task-{len(self.tasks) + number}" for number in range(count - self.short))
            for arn in arns:
                self.tasks[arn] = Task(arn=arn, phase=Phase.COMING)
                self.owners[arn], self.told[arn] = attempt, environment
            self.started[key] = Started(tasks=arns, failures=("RESOURCE:GPU",) * self.short)
        return self.started[key]

    def look(self, tasks: Iterable[str]) -> tuple[Task, ...]:
        return tuple(self.tasks[arn] for arn in tasks)

    def stop(self, attempt: str, tasks: Iterable[str], reason: str) -> tuple[str, ...]:
        mine = {arn for arn, owner in self.owners.items() if owner == attempt} | set(tasks)
        left = {arn for arn in mine if self.tasks[arn].phase is not Phase.ENDED}
        if self.patient:
            self.stopping |= left - self.deaf
        else:
            for arn in left - self.deaf:
                self.end(arn, Cause.INTERRUPTED, reason)
        return tuple(sorted(left))

    def evict(self, tasks: Iterable[str]) -> tuple[str, ...]:
        if self.fargate:
            return ()
        taken = tuple(arn for arn in tasks if arn not in self.denied)
        for arn in taken:
            self.evicted.append(arn)
            self.deaf.discard(arn)
            if self.tasks[arn].phase is not Phase.ENDED:
                self.end(arn, Cause.INTERRUPTED, "its host was taken away")
        return taken

    def let_go(self, tasks: Iterable[str], reason: str) -> None:
        for arn in tasks:
            assert self.tasks[arn].phase is not Phase.ENDED
            self.deaf.discard(arn)
            self.end(arn, Cause.INTERRUPTED, reason)

    def attempts(self) -> frozenset[str]:
        return frozenset(self.owners[arn] for arn in self.living())

    def drain(self, instance: str, reason: str) -> int:
        raise NotImplementedError

    def living(self, attempt: str = "") -> list[str]:
        """ARNs of tasks that have not ended."""
        return [
            arn
            for arn, task in self.tasks.items()
            if task.phase is not Phase.ENDED and attempt in ("", self.owners[arn])
        ]

    def arrive(self, *arns: str) -> None:
        for arn in arns or tuple(self.living()):
            if self.tasks[arn].phase is Phase.COMING:
                self.tasks[arn] = Task(arn=arn, phase=Phase.RUNNING)

    def silence(self, arn: str) -> None:
        """ECS hears its host no more."""
        self.deaf.add(arn)
        self.tasks[arn] = replace(self.tasks[arn], connected=False)

    def end(self, arn: str, cause: Cause, reason: str = "", *, done: bool = False) -> None:
        self.tasks[arn] = Task(arn=arn, phase=Phase.ENDED, cause=cause, reason=reason, done=done)
        self.stopping.discard(arn)


class Machines:
    """`ports.Executions`; `inputs` are what each will do next, `ended` how each ended."""

    def __init__(self) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, str] = {}

    def start(self, attempt: Attempt) -> None:
        if attempt.execution not in self.inputs and attempt.execution not in self.ended:
            self.inputs[attempt.execution] = json.loads(json.dumps(attempt.to_document()))

    def status(self, attempt: Attempt) -> str | None:
        last = None
        while True:
            name = attempt.execution
            status = "RUNNING" if name in self.inputs else self.ended.get(name)
            if status is None:
                return last
            last, attempt = status, replace(attempt, part=attempt.part + 1)


class World:
    """All of it, and the state machine as `jobs_machine` has it."""

    def __init__(self, slots: int = 4, **changes: Any) -> None:
        self.settings = replace(SETTINGS, slots=slots, **changes)
        self.now, self.draw = 1000.0, 0.5
        self.jobs, self.slots, self.hosts, self.machines = Records(), Slots(slots), Fleet(), Machines()
        self.heard: list[Job] = []
        self.notices: list[tuple[Notice, str, int]] = []
        self.ports = Ports(
            jobs=self.jobs,
            capacity=self.slots,
            hosts=self.hosts,
            executions=self.machines,
            listener=self,
            clock=lambda: self.now,
            chance=lambda: self.draw,
        )

    def ended(self, job: Job) -> None:
        self.heard.append(job)

    def noticed(self, what: Notice, attempt: str, value: int, reason: str) -> None:
        assert reason
        self.notices.append((what, attempt, value))

    def send(self, body: Mapping[str, Any] | str, message: str = "") -> Job:
        text = body if isinstance(body, str) else json.dumps(body)
        return accept(
            text,
            message or text,
            jobs=self.jobs,
            executions=self.machines,
            settings=self.settings,
            now=self.now,
        )

    def submit(self, name: str = "dogs-1", hosts: int = 4, **members: Any) -> Job:
        return self.send({"job": name, "data": "s3://bucket/manifest.json", "hosts": hosts, **members})

    def step(self, execution: str, *, repeated: bool = False) -> Attempt:
        """One step of an execution, waited for; `repeated` loses the answer of a first one."""
        document = self.machines.inputs[execution]
        self.now += document["wait"]
        if repeated:
            perform(Step(document["next"]), from_document(document), self.ports, self.settings)
        after = perform(Step(document["next"]), from_document(document), self.ports, self.settings)
        if execution in self.machines.inputs:
            if after.next is Step.OVER:
                del self.machines.inputs[execution]
                self.machines.ended[execution] = "SUCCEEDED"
            else:
                self.machines.inputs[execution] = json.loads(json.dumps(after.to_document()))
        return after

    def end_execution(self, execution: str, status: str) -> None:
        del self.machines.inputs[execution]
        self.machines.ended[execution] = status

    def sweep(self) -> list[str]:
        return sweep(self.ports, self.settings)

    def job(self, name: str = "dogs-1") -> Job:
        job = self.jobs.read(name)
        assert job is not None
        return job

    def report(self, name: str = "dogs-1", outcome: str = "", step: int = 0, saved: int = -1) -> None:
        self.jobs.reports[name] = Report(
            attempt=self.job(name).attempt,
            step=step,
            checkpoint=Checkpoint(step=saved, key=f"step-{saved}") if saved >= 0 else None,
            outcome=Outcome(outcome) if outcome else None,
            reason="the loss is no number" if outcome in ("failed", "refused") else "",
        )

    def until(self, state: str, name: str = "dogs-1", steps: int = 30) -> Job:
        """Step the job's own execution until the record is in a state; hosts come at once."""
        for _ in range(steps):
            if self.job(name).state == state:
                return self.job(name)
            (execution,) = (own for own in self.machines.inputs if own.startswith(f"{name}_"))
            self.step(execution)
            self.hosts.arrive()
        raise AssertionError(f"{name} is {self.job(name).state}, not {state}: {self.job(name).reason}")

    def settle(self, rounds: int = 400) -> None:
        """Let everything come to its end: hosts come, trainers finish, nobody meddles any more."""
        for _ in range(rounds):
            for arn in list(self.hosts.stopping):
                self.hosts.end(arn, Cause.INTERRUPTED)
            self.hosts.arrive()
            for name in list(self.jobs.open()):
                if self.job(name).state == "running":
                    self.report(name, outcome="finished")
            for execution in list(self.machines.inputs):
                if execution in self.machines.inputs:
                    self.step(execution)
            self.sweep()
            if all(self.job(name).state in ENDS for name in self.jobs.items) and not self.machines.inputs:
                return
        raise AssertionError({name: str(self.job(name).state) for name in self.jobs.open()})
