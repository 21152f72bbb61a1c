"""One job on one host: training without a cluster."""

from __future__ import annotations

import json

from aws_cdk import Fn, Names, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack, region_of
from modelyard.images import ContainerImage
from modelyard.permissions import acknowledge, allow, in_one_policy, service_principal
from modelyard.training.hosts import allow_look, host_key, host_template
from modelyard.training.instance_document import document, fixed_values, start_script
from modelyard.training.instance_driver import definition
from modelyard.training.instance_permissions import HostKind, allow_driver, allow_host
from modelyard.training.instance_props import InstanceSize
from modelyard.training.network import TrainingNetwork
from modelyard.training.props import TrainingData

_TAG = "modelyard:training-instance"
# After the driver has ended it: for the case that the driver is gone.
_LATER_MINUTES = 30


class TrainingInstance(Construct):
    """A host that a state machine starts for one job, tells by SSM what to do, and ends.

    It ends in four ways, whichever comes first: with its job; by the state machine when the time is up or
    the job is over; by itself, some time later, should the state machine be gone; by Spot. A shutdown
    terminates it. Nothing reaches it from outside: commands come by SSM, which the host asks for them.

    Args:
        scope: The parent.
        construct_id: Unique within the parent.
        network: Where it stands; its layout needs `SSM_ENDPOINTS`.
        image: The trainer's, with `training.vision`.
        data: Where the trainer reads and writes.
        size: Type, market and time.
        gpu: Whether the type has GPUs.
        processes: Of the trainer: one for each GPU.
        log_retention: How long logs are kept.

    Attributes:
        driver: The state machine; start it with `{"job", "attempt", "dataset", "checkpoints", "output",
            "hyperparameters"}`, or let `TrainingJobs` do so.
        size: As given.
        template: Launch template of the host.
        command: SSM document that it runs.
        role: Of the host, and so of the trainer.
        log_group: Of the trainer.

    Raises:
        ValueError: The network has no such zone.

    Example:
        >>> instance = TrainingInstance(stack, "Instance", network=network, image=image,
        ...     data=TrainingData(bucket=data), size=InstanceSize(max_hours=6))
        >>> instance.grant_start(role)

    See https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command.html
    """

    driver: stepfunctions.CfnStateMachine
    size: InstanceSize
    template: ec2.CfnLaunchTemplate
    command: ssm.CfnDocument
    role: iam.Role
    log_group: logs.LogGroup

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        network: TrainingNetwork,
        image: ContainerImage,
        data: TrainingData,
        size: InstanceSize | None = None,
        gpu: bool = True,
        processes: int = 1,
        log_retention: logs.RetentionDays = logs.RetentionDays.THREE_MONTHS,
    ) -> None:
        super().__init__(scope, construct_id)
        inherit_stack(self, scope)
        self.size = size = size or InstanceSize()
        if size.zone >= len(network.subnet_ids):
            raise ValueError(
                f"InstanceSize.zone is {size.zone}, but the network has zones 0 to "
                f"{len(network.subnet_ids) - 1}; change either"
            )
        self._tag = (_TAG, Names.unique_resource_name(self, max_length=60))
        self.log_group = logs.LogGroup(
            self, "Logs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.role = iam.Role(
            self,
            "HostRole",
            description="The host of a training job, and the job",
            assumed_by=service_principal("ec2"),
        )
        inherit_stack(self.role, self)
        allow_host(self.role, image=image, data=data, log_group_arn=self.log_group.log_group_arn)
        self._key_arn = host_key(self, "HostKey").key_arn
        self.template = self._template(network, size, gpu=gpu)
        self.command = ssm.CfnDocument(
            self,
            "Command",
            document_type="Command",
            document_format="JSON",
            target_type="/AWS::EC2::Instance",
            # A new version in place, under the name that executions know.
            update_method="NewVersion",
            content=document(
                fixed=fixed_values(
                    image=image.uri,
                    registry=Fn.select(0, Fn.split("/", image.uri)),
                    region=region_of(self),
                    log_group=self.log_group.log_group_name,
                    gpu=gpu,
                    processes=processes,
                    shared_memory=size.shared_memory_mib,
                ),
                limit_seconds=size.max_hours * 3600,
            ),
        )
        self.driver = self._driver(size, network, log_retention)

    def grant_start(self, grantee: iam.IGrantable) -> None:
        """Allow starting jobs, and looking at and stopping them.

        Stopping an execution leaves its host to the end of its time; the host has its own clock.
        """
        arn, name = self.driver.attr_arn, self.driver.attr_name
        allow(grantee, actions=["states:StartExecution", "states:ListExecutions"], resources=[arn])
        allow(
            grantee,
            actions=["states:DescribeExecution", "states:GetExecutionHistory", "states:StopExecution"],
            resources=[arn_in_stack(self, "states", f"execution:{name}:*")],
            reason="Executions are named when they start; the grant ends at those of this state machine.",
        )

    def grant_control(self, grantee: iam.IGrantable) -> None:
        """Allow what `grant_start` does, ending the hosts of jobs and seeing which have ended: whoever sees
        jobs through."""
        self.grant_start(grantee)
        allow(
            grantee,
            actions=["ec2:TerminateInstances"],
            resources=[arn_in_stack(self, "ec2", "instance/*")],
            conditions={"StringEquals": {f"aws:ResourceTag/{self._tag[0]}": self._tag[1]}},
            reason="A host is named when it starts; the grant ends at those with this tag.",
        )
        allow_look(grantee)

    def grant_read_log(self, grantee: iam.IGrantable) -> None:
        """Allow reading the log of a job whose attempts are known: stream `trainer/JOB/ATTEMPT`."""
        allow(grantee, actions=["logs:GetLogEvents"], resources=[self.log_group.log_group_arn])

    def _template(self, network: TrainingNetwork, size: InstanceSize, *, gpu: bool) -> ec2.CfnLaunchTemplate:
        part = ec2.CfnLaunchTemplate
        market = part.InstanceMarketOptionsProperty(
            market_type="spot",
            spot_options=part.SpotOptionsProperty(
                spot_instance_type="one-time", instance_interruption_behavior="terminate"
            ),
        )
        group = network.security_group(self, "Group", "A host for one training job")
        minutes = size.max_hours * 60 + _LATER_MINUTES
        return host_template(
            self,
            "Template",
            gpu=gpu,
            role=self.role,
            key_arn=self._key_arn,
            volume_gib=size.volume_gib,
            user_data=Fn.base64(start_script(minutes)),
            tags={"Name": self.node.path, self._tag[0]: self._tag[1]},
            instance_type=size.instance_type,
            instance_initiated_shutdown_behavior="terminate",
            instance_market_options=market if size.spot else None,
            network_interfaces=[
                part.NetworkInterfaceProperty(
                    device_index=0,
                    subnet_id=network.subnet_ids[size.zone],
                    groups=[group.security_group_id],
                    associate_public_ip_address=False,
                    delete_on_termination=True,
                )
            ],
        )

    def _driver(
        self, size: InstanceSize, network: TrainingNetwork, log_retention: logs.RetentionDays
    ) -> stepfunctions.CfnStateMachine:
        role = iam.Role(
            self,
            "DriverRole",
            description="Starts, watches and ends hosts of training jobs",
            assumed_by=service_principal("states"),
        )
        inherit_stack(role, self)
        with in_one_policy(role, "Permissions") as permissions:
            allow_driver(
                role,
                HostKind(
                    template_id=self.template.ref,
                    subnet_id=network.subnet_ids[size.zone],
                    role_arn=self.role.role_arn,
                    key_arn=self._key_arn,
                    document_name=self.command.ref,
                    tag=self._tag,
                    spot=size.spot,
                ),
            )
        log = logs.LogGroup(self, "DriverLogs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY)
        machine = stepfunctions.CfnStateMachine
        steps = definition(
            template_id=self.template.ref,
            template_version=self.template.attr_latest_version_number,
            document_name=self.command.ref,
            limit_minutes=size.max_hours * 60,
            watch_seconds=size.watch_seconds,
        )
        driver = machine(
            self,
            "Driver",
            role_arn=role.role_arn,
            definition_string=json.dumps(steps),
            logging_configuration=machine.LoggingConfigurationProperty(
                level="ALL",
                include_execution_data=True,
                destinations=[
                    machine.LogDestinationProperty(
                        cloud_watch_logs_log_group=machine.CloudWatchLogsLogGroupProperty(
                            log_group_arn=log.log_group_arn
                        )
                    )
                ],
            ),
        )
        if permissions.policy:
            driver.node.add_dependency(permissions.policy)
        acknowledge(
            driver, "AwsSolutions-SF2", "The history has every step; nothing that it calls is traced."
        )
        return driver
