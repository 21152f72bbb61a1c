"""Training jobs: who gets hosts, what follows an attempt, what a request may say, and the functions for it.

`admission`, `attempts`, `job`, `job_request`, `judging` and `launching` are pure: no clock, no chance and no
AWS in there; callers bring time, random draws and the store. The simulation in `benchmarks/spot_simulation`
uses the same code, so that its figures are those of this policy. `intake`, `steps` and `sweeping` work
through `ports`; the files `aws_*` are AWS behind those.

Two functions: ``intake_handler.handle`` takes messages of the jobs queue; ``handler.handle`` does the steps
of the state machine, drains instances that Spot takes back, and sweeps by a schedule. This file imports
nothing.

Actions of the first: sqs:SendMessage on the dead letters; dynamodb:GetItem and PutItem on the table;
states:StartExecution on the machine. Of the second: the latter two, dynamodb:Query on the table's index,
states:DescribeExecution on the machine's executions; ecs:RunTask on the trainer's task definition with
iam:PassRole on its roles; ecs:StopTask and DescribeTasks on the cluster's tasks, ecs:ListTasks and
ListContainerInstances on the cluster; sagemaker:CreateModelPackage on the groups in which jobs register their
models, never as approved; the KMS key of the table.
"""
