"""Faults of clusters, tasks, state machines and networks."""

from __future__ import annotations

from tests.unit.check.check_mutations import drop, fault, machine, put, without

T = "training"
fault(T, "MYT103", "group with minimum above maximum", put("Fleet", "MinSize", "9"))
fault(
    T,
    "MYT321",
    "task role trusts ECS hosts",
    put("TaskRole", "AssumeRolePolicyDocument|Statement|0|Principal|Service", "ec2.amazonaws.com"),
)
fault(T, "MYT323", "rule may not start the machine", without("RuleRole", 0))
fault(T, "MYT324", "target without role", put("Interruptions", "Targets|0|RoleArn", None))
fault(
    T,
    "MYT403",
    "action that is not",
    put("Interruptions", "EventPattern|detail|instance-action", ["terminated"]),
)
fault(T, "MYT641", "next state missing", machine(lambda s: s["Run"].update(Next="Judged")))
fault(
    T,
    "MYT641",
    "state nobody reaches",
    machine(lambda s: s["Run"].pop("Catch") and s["Judge"].update(Default="Done")),
)
fault(T, "MYT642", "state that never ends", machine(lambda s: s["Release"].pop("Next")))
fault(T, "MYT642", "choice without default", machine(lambda s: s["Judge"].pop("Default")))
fault(
    T,
    "MYT643",
    "integration misspelt",
    machine(lambda s: s["Run"].update(Resource="arn:aws:states:::ecs.runTask")),
)
fault(
    T,
    "MYT643",
    "sync of DynamoDB",
    machine(lambda s: s["Admit"].update(Resource="arn:aws:states:::dynamodb:updateItem.sync")),
)
fault(
    T,
    "MYT644",
    "catch-all first",
    machine(lambda s: s["Run"]["Retry"].insert(0, {"ErrorEquals": ["States.ALL"]})),
)
fault(
    T,
    "MYT645",
    "path taken as text",
    machine(lambda s: s["Admit"]["Parameters"]["Key"].update(id={"S": "$.job"})),
)
fault(T, "MYT646", "may not watch the task", without("MachineRole", 2))
fault(T, "MYT646", "may not pass the roles", without("MachineRole", 3))
fault(T, "MYT651", "containers above the task", put("Task", "ContainerDefinitions|0|Memory", 65_536))
fault(
    T,
    "MYT652",
    "GPUs on hosts without",
    lambda d: (
        put("Launch", "LaunchTemplateData|InstanceType", "m5.xlarge")(d),
        put("Fleet", "MixedInstancesPolicy|LaunchTemplate|Overrides", [{"InstanceType": "m5.xlarge"}])(d),
    ),
)
fault(
    T,
    "MYT653",
    "waits for nobody",
    put("Task", "ContainerDefinitions|0|DependsOn", [{"ContainerName": "sidecar", "Condition": "START"}]),
)
fault(
    T,
    "MYT654",
    "no log group",
    put("Task", "ContainerDefinitions|0|LogConfiguration|Options", {"awslogs-region": "us-east-1"}),
)
fault(
    T,
    "MYT655",
    "provider of nobody",
    put("Service", "CapacityProviderStrategy|0|CapacityProvider", "FARGATE_SPOT"),
)
fault(T, "MYT656", "hosts not protected", put("Fleet", "NewInstancesProtectedFromScaleIn", False))
fault(T, "MYT657", "awsvpc without network", put("Service", "NetworkConfiguration", None))
fault(
    T,
    "MYT657",
    "no room to replace",
    put("Service", "DeploymentConfiguration", {"MinimumHealthyPercent": 100, "MaximumPercent": 100}),
)
fault(T, "MYT659", "no insights", put("Cluster", "ClusterSettings|0|Value", "disabled"))
fault(
    T,
    "MYT658",
    "cheapest spot",
    put("Fleet", "MixedInstancesPolicy|InstancesDistribution|SpotAllocationStrategy", "lowest-price"),
)
fault(T, "MYT661", "open to the world", put("Hosts", "SecurityGroupIngress|0|CidrIp", "0.0.0.0/0"))
fault(T, "MYT662", "IMDSv1", put("Launch", "LaunchTemplateData|MetadataOptions|HttpTokens", "optional"))
fault(T, "MYT663", "no endpoint to pull from", drop("DkrEndpoint"))
fault(T, "MYT664", "gateway to ECR", put("ApiEndpoint", "VpcEndpointType", "Gateway"))
