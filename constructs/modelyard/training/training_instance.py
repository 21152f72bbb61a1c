"""One job on one host: training without a cluster."""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import Aws, Fn, Names, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_ssm as ssm
from aws_cdk import aws_stepfunctions as stepfunctions
from constructs import Construct

from modelyard.arns import arn_in_stack, inherit_stack, partition_of
from modelyard.images import ContainerImage
from modelyard.permissions import acknowledge, allow, in_one_policy, service_principal
from modelyard.training.hosts import VOLUME_ACTIONS, host_key, host_template
from modelyard.training.instance_document import document, fixed_values, start_script
from modelyard.training.instance_driver import definition
from modelyard.training.instance_props import InstanceSize
from modelyard.training.network import TrainingNetwork
from modelyard.training.props import TrainingData

_TAG = "modelyard:training-instance"
# After the driver has ended it: for the case that the driver is gone.
_LATER_MINUTES = 30
_AGENT = (
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)
_DELIVERY = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)


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
            "hyperparameters"}`.
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
        size = size or InstanceSize()
        if size.zone >= len(network.subnet_ids):
            raise ValueError(
                f"InstanceSize.zone is {size.zone}, but the network has zones 0 to "
                f"{len(network.subnet_ids) - 1}; change either"
            )
        self._tag = (_TAG, Names.unique_resource_name(self, max_length=60))
        self.log_group = logs.LogGroup(
            self, "Logs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.role = self._host_role(image, data)
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
                    region=Aws.REGION,
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
            actions=["states:DescribeExecution", "states:GetExecutionHistory"],
            resources=[arn_in_stack(self, "states", f"execution:{name}:*")],
            reason="Executions are named when they start; the grant ends at those of this state machine.",
        )

    def _host_role(self, image: ContainerImage, data: TrainingData) -> iam.Role:
        role = iam.Role(
            self,
            "HostRole",
            description="The host of a training job, and the job",
            assumed_by=service_principal("ec2"),
        )
        inherit_stack(role, self)
        itself = arn_in_stack(self, "ec2", "instance/*")
        with in_one_policy(role, "Permissions"):
            image.grant_pull(role)
            allow(
                role,
                actions=["logs:CreateLogStream", "logs:PutLogEvents"],
                resources=[self.log_group.log_group_arn],
            )
            allow(
                role,
                actions=["ssm:UpdateInstanceInformation"],
                resources=[itself],
                reason="A host is named when it starts, and reports by its own name.",
            )
            allow(
                role,
                actions=_AGENT,
                resources=["*"],
                reason="The actions of SSM's agent take no resource.",
            )
            data.grant(role)
        return role

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
            self._grant_driver(role, size, network.subnet_ids[size.zone])
        log = logs.LogGroup(self, "DriverLogs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY)
        machine = stepfunctions.CfnStateMachine
        steps = definition(
            template_id=self.template.ref,
            template_version=self.template.attr_latest_version_number,
            document_name=self.command.ref,
            limit_minutes=size.max_hours * 60,
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

    def _grant_driver(self, role: iam.Role, size: InstanceSize, subnet_id: str) -> None:
        of_host = arn_in_stack(self, "ec2", "instance/*")
        tagged: dict[str, Any] = {"StringEquals": {f"aws:ResourceTag/{self._tag[0]}": self._tag[1]}}
        region = f"arn:{partition_of(self)}:ec2:{Aws.REGION}"
        template = arn_in_stack(self, "ec2", f"launch-template/{self.template.ref}")
        made = [of_host, arn_in_stack(self, "ec2", "volume/*")]
        allow(
            role,
            actions=["ec2:RunInstances"],
            resources=[
                template,
                arn_in_stack(self, "ec2", f"subnet/{subnet_id}"),
                arn_in_stack(self, "ec2", "security-group/*"),
                arn_in_stack(self, "ec2", "network-interface/*"),
                f"{region}::image/*",
                *made,
            ],
            # Everything as the template says, and nothing beside it.
            conditions={
                "ArnLike": {"ec2:LaunchTemplate": template},
                "Bool": {"ec2:IsLaunchTemplateResource": "true"},
            },
            reason="What a start makes has no name yet; the template says what it may be.",
        )
        if size.spot:
            # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-requests.html
            allow(
                role,
                actions=["ec2:RunInstances"],
                resources=[arn_in_stack(self, "ec2", "spot-instances-request/*")],
                reason="The request for a Spot host has no name yet, and starts what the template says.",
            )
        allow(
            role,
            actions=["ec2:CreateTags"],
            resources=made,
            conditions={"StringEquals": {"ec2:CreateAction": "RunInstances"}},
            reason="Tags are put on what the start makes, and by nothing else.",
        )
        allow(
            role,
            actions=["ec2:TerminateInstances"],
            resources=[of_host],
            conditions=tagged,
            reason="A host is named when it starts; the grant ends at those with this tag.",
        )
        allow(
            role,
            actions=["ec2:DescribeInstances", "ssm:GetCommandInvocation"],
            resources=["*"],
            reason="Neither takes a resource.",
        )
        allow(
            role,
            actions=["ssm:SendCommand"],
            resources=[arn_in_stack(self, "ssm", f"document/{self.command.ref}")],
        )
        allow(
            role,
            actions=["ssm:SendCommand"],
            resources=[of_host],
            conditions={"StringEquals": {f"ssm:resourceTag/{self._tag[0]}": self._tag[1]}},
            reason="A host is named when it starts; the grant ends at those with this tag.",
        )
        allow(
            role,
            actions=["ssm:GetParameters"],
            resources=[f"arn:{partition_of(self)}:ssm:{Aws.REGION}::parameter/aws/service/ecs/*"],
            reason="Where AWS publishes its newest images; EC2 asks for it on the driver's behalf.",
        )
        allow(
            role,
            actions=["iam:PassRole"],
            resources=[self.role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        )
        through = {"StringEquals": {"kms:ViaService": f"ec2.{Aws.REGION}.amazonaws.com"}}
        allow(role, actions=VOLUME_ACTIONS, resources=[self._key_arn], conditions=through)
        allow(
            role,
            actions=["kms:CreateGrant"],
            resources=[self._key_arn],
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
        )
        allow(
            role,
            actions=_DELIVERY,
            resources=["*"],
            reason="Step Functions sets up the delivery of its log by these, which take no resource.",
        )
