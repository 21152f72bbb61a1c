"""Training jobs of several hosts, on spot, and their checkpoints, with real processes."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from tests.local.workloads.conftest import Gate, until
from tests.local.workloads.training_jobs import channel, ended, members, start


@pytest.mark.parametrize("isolated", [False, True])
def test_hosts_know_each_other(workplace: Any, settle: Any, isolated: bool) -> None:
    """Also where they know nobody else: isolation leaves the hosts of a training job one another."""
    code = """
import json, socket, time
here = json.load(open("/opt/ml/input/config/resourceconfig.json"))
if here["current_host"] == "algo-1":
    server = socket.create_server(("algo-1", 7777)); connection, _ = server.accept()
    open("/opt/ml/model/heard", "wb").write(connection.recv(100))
else:
    while True:  # the first host may begin later
        try:
            connection = socket.create_connection(("algo-1", 7777)); break
        except OSError:
            time.sleep(0.05)
    connection.sendall(here["current_host"].encode())
"""
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    name = start(workplace, code, ResourceConfig=resources, EnableNetworkIsolation=isolated)
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer
    assert answer["BillableTimeInSeconds"] == 2 * answer["TrainingTimeInSeconds"]
    assert members(workplace, f"{name}/{name}/output/model.tar.gz") == {"heard": b"algo-2"}


def test_isolated_hosts_know_nobody_else(workplace: Any, settle: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"""
import json, socket, time
config = json.load(open("/opt/ml/input/config/resourceconfig.json"))
here = config["current_host"]
try:
    socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), timeout=5)
    raise SystemExit(here + " reached the machine")
except OSError as error:
    print(error)
door = socket.create_server((here, 7000))
for other in config["hosts"]:
    while True:  # the other one may begin later
        try:
            socket.create_connection((other, 7000), timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
for _ in config["hosts"]:
    door.accept()
"""
        resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
        name = start(workplace, code, ResourceConfig=resources, EnableNetworkIsolation=True)
        answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer


def test_one_lost_host_ends_the_job(workplace: Any, settle: Any) -> None:
    code = """
import json, time
here = json.load(open("/opt/ml/input/config/resourceconfig.json"))
if here["current_host"] == "algo-2":
    raise SystemExit("algo-2 is lost")
time.sleep(3600)
"""
    resources = {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1}
    # `ended` would not wait for as long as the other one sleeps.
    answer = ended(workplace, settle, start(workplace, code, ResourceConfig=resources))
    assert answer["FailureReason"] == "AlgorithmError: algo-2 is lost, exit code: 1"


def test_checkpoints_travel_both_ways(workplace: Any, settle: Any) -> None:
    workplace.put("t2/checkpoints/step-1", "one")
    code = """
import os
assert os.listdir('/opt/ml/checkpoints') == ['step-1']
open('/opt/ml/checkpoints/step-2', 'w').write('two')
"""
    name = start(workplace, code, CheckpointConfig={"S3Uri": workplace.uri("t2/checkpoints")})
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer
    assert workplace.get("t2/checkpoints/step-2") == b"two"


def test_checkpoints_go_out_while_the_job_runs(workplace: Any, settle: Any) -> None:
    """What is written beside and renamed, as frameworks do, comes whole, and survives a failure."""
    code = """
import os
step, going_on = 0, True
while going_on:
    going_on = shut(0.1)
    with open('/opt/ml/checkpoints/next', 'w') as file:
        file.write(str(step) if going_on else 'the last one')
    os.rename('/opt/ml/checkpoints/next', '/opt/ml/checkpoints/last')
    step += 1
raise SystemExit(1)
"""
    config = {"S3Uri": workplace.uri("t5/checkpoints")}
    with Gate() as gate:
        name = start(workplace, gate.code + code, CheckpointConfig=config)
        until(lambda: workplace.keys("t5/checkpoints/last"))
        running = workplace.sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
        assert (running, workplace.keys("t5/checkpoints/")) == ("InProgress", ["t5/checkpoints/last"])
        assert workplace.get("t5/checkpoints/last").isdigit()
    assert ended(workplace, settle, name)["TrainingJobStatus"] == "Failed"
    assert workplace.get("t5/checkpoints/last") == b"the last one"


def test_hosts_share_a_manifest_on_spot(workplace: Any, settle: Any) -> None:
    for row in "abc":
        workplace.put(f"t6/data/{row}.csv", row)
    manifest = workplace.put(
        "t6/train.manifest", json.dumps([{"prefix": workplace.uri("t6/data/")}, "a.csv", "b.csv", "c.csv"])
    )
    train = channel("train", manifest)
    train["DataSource"]["S3DataSource"].update(
        S3DataType="ManifestFile", S3DataDistributionType="ShardedByS3Key"
    )
    code = """
import json, os
host = json.load(open('/opt/ml/input/config/resourceconfig.json'))['current_host']
found = sorted(os.listdir('/opt/ml/input/data/train'))
assert found == {'algo-1': ['a.csv', 'c.csv'], 'algo-2': ['b.csv']}[host], (host, found)
"""
    name = start(
        workplace,
        code,
        InputDataConfig=[train],
        ResourceConfig={"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1},
        EnableManagedSpotTraining=True,
        StoppingCondition={"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 60},
    )
    answer = ended(workplace, settle, name)
    assert answer["TrainingJobStatus"] == "Completed", answer
    assert answer["EnableManagedSpotTraining"] is True
