"""A queue of training jobs, and what keeps each going until it is done."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack
from modelyard.durations import minutes
from modelyard.functions import FunctionSize, RuntimeFunction
from modelyard.permissions import accept, acknowledge, allow, in_one_policy, merged, service_principal
from modelyard.storage import Retention
from modelyard.training.jobs_machine import FUNCTION, definition
from modelyard.training.jobs_permissions import grant_attempts, grant_eviction
from modelyard.training.jobs_props import HostPool, Pace, Registration, TrainerTask
from modelyard.training.jobs_table import JobsTable
from modelyard.training.runtime.aws_names import (
    CLUSTER,
    EVICTED,
    JOBS_COMPLETED,
    JOBS_FAILED,
    NAMESPACE,
    SPOT_WARNING,
    STALLED,
    SWEEP,
    UNPLACED,
)
from modelyard.training.runtime.settings import Settings

if TYPE_CHECKING:
    from aws_cdk import aws_sns as sns

    from modelyard.training.training_instance import TrainingInstance

_TIMEOUT_SECONDS = 60
_DELIVERIES = 5


class TrainingJobs(Construct):
    """Takes requests for training from a queue and sees each through: slots, hosts, losses, retries, its end.

    A message asks for a job, cancels one or resumes one: `modelyard.training.runtime.intake` has their form.
    Each attempt at a job is one execution of a state machine, named `<job>_<attempt>`: it waits until all its
    hosts can be had at once, starts a task on each, watches, and gives back what it held, whatever happens.
    Hosts that Spot takes back are stopped first, so that training saves and goes on with fewer, or later.
    What makes no step is ended and tried again; hosts that nobody hears, or that do not end, are taken away.

    Messages that are no request are among the dead letters, with the reason as an attribute.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        name: Of the state machine, unique in account and region.
        cluster: Where tasks run.
        task: What trains.
        pool: What it trains on.
        pace: How often jobs are looked after.
        registration: Of the models of jobs that finish; without it none is registered.
        instance: A single host, for jobs that ask for one instead of the cluster.
        retention: What becomes of the records when the stack is deleted; kept by default.
        alarm_topic: Hears of all alarms, and of their end.

    Attributes:
        queue: Of requests.
        dead_letters: Of messages that could not be served.
        records: Table of jobs; readers and trainers ask it for grants.
        intake: Function behind the queue.
        attempts: Function behind the state machine.
        machine: The state machine.
        letters: Alarm on dead letters.
        broken: Alarm on executions that failed; sweeps put right what they leave.
        failed: Alarm on jobs that failed for good; the function's log says which, and why.
        unplaced: Alarm on a job that got no hosts of any pool.
        stalled: Alarm on attempts that were ended since they made no step.
        evicted: Alarm on hosts that obeyed no more, and were taken away or could not be.

    Example:
        >>> jobs = TrainingJobs(stack, "Jobs", name="training", cluster=cluster, task=task, pool=pool)
        >>> jobs.grant_submit(scientists)
        >>> jobs.records.grant_report(task_role)
    """

    queue: sqs.Queue
    dead_letters: sqs.Queue
    records: JobsTable
    intake: RuntimeFunction
    attempts: RuntimeFunction
    machine: sfn.CfnStateMachine
    letters: cloudwatch.Alarm
    broken: cloudwatch.Alarm
    failed: cloudwatch.Alarm
    unplaced: cloudwatch.Alarm
    stalled: cloudwatch.Alarm
    evicted: cloudwatch.Alarm

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        cluster: ecs.ICluster,
        task: TrainerTask,
        pool: HostPool,
        pace: Pace | None = None,
        registration: Registration | None = None,
        instance: TrainingInstance | None = None,
        retention: Retention | None = None,
        alarm_topic: sns.ITopic | None = None,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        pace = pace or Pace()
        self.records = JobsTable(self, "Records", retention=retention)
        self.dead_letters = self._queue("DeadLetters")
        acknowledge(self.dead_letters, "AwsSolutions-SQS3", "It is the dead-letter queue.")
        self.queue = self._queue("Queue", self.dead_letters)
        # By name: the machine calls the function that starts its executions.
        self._cluster_name, self._cluster_arn = cluster.cluster_name, cluster.cluster_arn
        self._machine_arn = arn_in_stack(self, "states", f"stateMachine:{name}")
        settings = Settings(
            table_name=self.records.table.table_name,
            state_machine_arn=self._machine_arn,
            dead_letters_url=self.dead_letters.queue_url,
            cluster=self._cluster_arn,
            task_definition=task.task_definition_arn,
            container=task.container,
            subnets=tuple(pool.subnets),
            security_groups=tuple(pool.security_groups),
            capacity_providers=tuple(pool.capacity_providers),
            zones=tuple(pool.zones),
            slots=pool.slots,
            output_uri=task.output_uri,
            rendezvous_endpoint=task.rendezvous_endpoint,
            distinct_instances=pool.distinct_instances,
            host_price_usd=pool.price_usd,
            processes_per_host=task.processes,
            start_seconds=pace.start_seconds,
            ask_seconds=pace.ask_seconds,
            watch_seconds=pace.watch_seconds,
            stop_seconds=pace.stop_seconds,
            queue_days=pace.queue_days,
            stall_seconds=pace.stall_seconds,
            silent_seconds=pace.silent_seconds,
            end_seconds=pace.end_seconds,
            most_rounds=pace.most_rounds,
            model_groups=tuple(one.group_name for one in registration.registries) if registration else (),
            serving_image=registration.image.uri if registration else "",
            driver_arn=instance.driver.attr_arn if instance else "",
            instance_price_usd=instance.size.price_usd if instance else 0.0,
        )
        self.intake = self._function("Intake", "intake_handler", "Takes requests for training", settings)
        self.attempts = self._function("Attempts", "handler", "Sees training jobs through", settings)
        with in_one_policy(self.intake.execution_role, "Permissions"):
            self._grant_common(self.intake.execution_role)
            self._grant_intake(self.intake.execution_role)
        with in_one_policy(self.attempts.execution_role, "Permissions"):
            self._grant_common(self.attempts.execution_role)
            role = self.attempts.execution_role
            self.records.grant_read(role)
            here = {"cluster_name": self._cluster_name, "cluster_arn": self._cluster_arn}
            grant_attempts(self, role, task, machine=name, **here)
            if pool.distinct_instances:
                grant_eviction(self, role, **here)
            if instance:
                instance.grant_control(role)
        if instance:
            with in_one_policy(instance.role, "Report"):
                self.records.grant_report(instance.role)
        with merged(self.attempts.execution_role):
            for registry in registration.registries if registration else ():
                registry.grant_register(self.attempts.execution_role)
        self._feed()
        self.machine = self._state_machine(name)
        self._listen(pace)
        self._watch(alarm_topic, pools=len(pool.capacity_providers))

    def grant_submit(self, grantee: iam.IGrantable) -> None:
        """Allow asking for jobs, cancelling and resuming them, and seeing all of them."""
        allow(grantee, actions=["sqs:SendMessage"], resources=[self.queue.queue_arn])
        self.records.grant_read(grantee)

    def metric_dead_letters(self) -> cloudwatch.Metric:
        """Messages that could not be served and that nobody has taken out of the queue yet."""
        return self.dead_letters.metric_approximate_number_of_messages_visible(
            period=minutes(1), statistic="Maximum"
        )

    def metric_broken(self) -> cloudwatch.Metric:
        """Executions that failed, which no end of a job is: sum of a minute."""
        return cloudwatch.Metric(
            namespace="AWS/States",
            metric_name="ExecutionsFailed",
            dimensions_map={"StateMachineArn": self._machine_arn},
            period=minutes(1),
            statistic="Sum",
        )

    def metric_failed(self) -> cloudwatch.Metric:
        """Jobs that failed for good, by failures, budget or a mistake, or got no hosts: sum of a minute."""
        return self._metric(JOBS_FAILED)

    def metric_completed(self) -> cloudwatch.Metric:
        """Jobs that trained all there was: sum of a minute."""
        return self._metric(JOBS_COMPLETED)

    def metric_unplaced(self) -> cloudwatch.Metric:
        """Attempts in a row that got no hosts, of the job that has most of them: maximum of an hour, in which
        there is another one."""
        return self._metric(UNPLACED, "Maximum", 60)

    def metric_stalled(self) -> cloudwatch.Metric:
        """Attempts that were ended since they made no step: sum of a minute."""
        return self._metric(STALLED)

    def metric_evicted(self) -> cloudwatch.Metric:
        """Hosts that obeyed no more, and were taken away or could not be: sum of a minute."""
        return self._metric(EVICTED)

    def _metric(self, name: str, statistic: str = "Sum", period: int = 1) -> cloudwatch.Metric:
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=name,
            dimensions_map={CLUSTER: self._cluster_name},
            period=minutes(period),
            statistic=statistic,
        )

    def _queue(self, construct_id: str, dead_letters: sqs.Queue | None = None) -> sqs.Queue:
        return sqs.Queue(
            self,
            construct_id,
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=Duration.days(14),
            # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html: six times the timeout.
            visibility_timeout=Duration.seconds(6 * _TIMEOUT_SECONDS),
            dead_letter_queue=sqs.DeadLetterQueue(queue=dead_letters, max_receive_count=_DELIVERIES)
            if dead_letters
            else None,
        )

    def _function(
        self, construct_id: str, entry: str, description: str, settings: Settings
    ) -> RuntimeFunction:
        return RuntimeFunction(
            self,
            construct_id,
            domain="training",
            entry=entry,
            description=description,
            environment=settings.to_environment(),
            size=FunctionSize(memory_mib=512, timeout_seconds=_TIMEOUT_SECONDS),
        )

    def _grant_common(self, role: iam.Role) -> None:
        self.records.grant_write(role)
        allow(role, actions=["states:StartExecution"], resources=[self._machine_arn])

    def _grant_intake(self, role: iam.Role) -> None:
        allow(role, actions=["sqs:SendMessage"], resources=[self.dead_letters.queue_arn])
        allow(
            role,
            actions=["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
            resources=[self.queue.queue_arn],
        )

    def _feed(self) -> None:
        lambda_.CfnEventSourceMapping(
            self,
            "Feed",
            function_name=self.intake.function_name,
            event_source_arn=self.queue.queue_arn,
            batch_size=10,
            function_response_types=["ReportBatchItemFailures"],
        ).node.add_dependency(self.intake.execution_role)

    def _state_machine(self, name: str) -> sfn.CfnStateMachine:
        role = iam.Role(
            self,
            "MachineRole",
            description=f"Runs the attempts of {name}",
            assumed_by=service_principal("states"),
        )
        allow(role, actions=["lambda:InvokeFunction"], resources=[self.attempts.function_arn])
        machine = sfn.CfnStateMachine(
            self,
            "Machine",
            state_machine_name=name,
            state_machine_type="STANDARD",
            role_arn=role.role_arn,
            definition_string=json.dumps(definition(), separators=(",", ":")),
            definition_substitutions={FUNCTION[2:-1]: self.attempts.function_arn},
        )
        machine.node.add_dependency(role)
        acknowledge(
            machine, "AwsSolutions-SF1", "Step Functions keeps the history; the function logs every step."
        )
        acknowledge(machine, "AwsSolutions-SF2", "Each step is one function, seconds apart from the next.")
        return machine

    def _listen(self, pace: Pace) -> None:
        sweeps = events.Rule(
            self,
            "Sweeps",
            description="Puts right what executions left that were aborted or broke",
            schedule=events.Schedule.rate(minutes(pace.sweep_minutes)),
            targets=[self._target(events.RuleTargetInput.from_object({SWEEP: True}))],
        )
        warnings = events.Rule(
            self,
            "SpotWarnings",
            description="Stops the tasks on an instance that Spot takes back, so that they save first",
            event_pattern=events.EventPattern(source=["aws.ec2"], detail_type=[SPOT_WARNING]),
            targets=[self._target()],
        )
        accept(sweeps, "MYT611", "Another sweep comes within minutes.")
        accept(warnings, "MYT611", "A warning is worth nothing after two minutes; a lost host is seen.")

    def _target(self, event: events.RuleTargetInput | None = None) -> targets.LambdaFunction:
        # A sweep follows in a minute, and a warning is worth nothing after two.
        return targets.LambdaFunction(self.attempts, event=event, retry_attempts=1, max_event_age=minutes(2))

    @property
    def alarms(self) -> tuple[cloudwatch.Alarm, ...]:
        """All of them."""
        return (self.letters, self.broken, self.failed, self.unplaced, self.stalled, self.evicted)

    def _watch(self, topic: sns.ITopic | None, *, pools: int) -> None:
        self.letters = self._alarm(
            "Letters",
            self.metric_dead_letters(),
            "Messages to the jobs queue could not be served. Read the reason, mend, send again, purge.",
        )
        self.broken = self._alarm(
            "Broken",
            self.metric_broken(),
            "An attempt's control failed: see the execution, and the functions' logs. Sweeps clean up.",
        )
        self.failed = self._alarm(
            "JobFailed",
            self.metric_failed(),
            "A training job failed for good. `modelyard train list` says which and why.",
        )
        self.unplaced = self._alarm(
            "Unplaced",
            self.metric_unplaced(),
            "A training job got no hosts of any pool. See quotas and the groups' activities; it tries on.",
            threshold=pools,
        )
        self.stalled = self._alarm(
            "Stalled",
            self.metric_stalled(),
            "A training job made no step and was started anew. See the log of the attempt before.",
        )
        self.evicted = self._alarm(
            "Evicted",
            self.metric_evicted(),
            "Hosts obeyed no more and were taken away, or (see the log) could not be. Often: see why.",
        )
        if topic:
            from aws_cdk.aws_cloudwatch_actions import SnsAction

            tell = SnsAction(topic)
            for alarm in self.alarms:
                alarm.add_alarm_action(tell)
                alarm.add_ok_action(tell)

    def _alarm(
        self, name: str, metric: cloudwatch.Metric, description: str, threshold: int = 1
    ) -> cloudwatch.Alarm:
        return cloudwatch.Alarm(
            self,
            name,
            alarm_description=description,
            metric=metric,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
        )
