"""Endpoints on the local cloud, with real servers: how they come, change, fail and go."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from typing import Any

import psutil
from botocore.exceptions import ClientError

from tests.local.workloads.conftest import until


def test_a_killed_server_comes_back(deployer: Any) -> None:
    name = deployer.up(deployer.single("phoenix"))
    once = deployer.without_retries()
    error = deployer.failure(lambda: once.invoke_endpoint(EndpointName=name, Body=b"crash"))
    assert error["Error"]["Code"] in {"ModelError", "ServiceUnavailable"}

    def back() -> bool:
        try:
            return bool(deployer.ask(name, b"1") == "phoenix:1")
        except ClientError:
            return False

    until(back)
    lines = deployer.workplace.log(f"/aws/sagemaker/Endpoints/{name}", "AllTraffic/")
    assert any("exit code 9; it is started again" in line for line in lines)


def test_an_update_loses_no_request(deployer: Any) -> None:
    name = deployer.up(deployer.single("old"))
    answers: Counter[str] = Counter()
    errors: list[Exception] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                answers[deployer.ask(name, b"1")] += 1
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=load) for _ in range(3)]
    for thread in threads:
        thread.start()
    # It takes its time, so that the next request comes while it starts.
    new = deployer.single("new", READY_AFTER="2")
    config = deployer.config(deployer.variant("AllTraffic", new))
    deployer.workplace.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
    blocked = deployer.failure(
        lambda: deployer.workplace.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
    )
    assert "Cannot update in-progress endpoint" in blocked["Error"]["Message"]
    answer = deployer.ready(name)
    until(lambda: answers["new:1"])
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert answer["EndpointConfigName"] == config
    assert answers["old:1"]
    assert answers["new:1"]
    assert deployer.ask(name, b"1") == "new:1"


def test_a_failed_update_keeps_the_old_fleet(deployer: Any) -> None:
    name = deployer.up(deployer.single("steady"))
    before = deployer.describe(name)["EndpointConfigName"]
    broken = deployer.config(
        deployer.variant("AllTraffic", deployer.single("broken", SERVER="/no/such/server.py"))
    )
    deployer.workplace.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=broken)
    answer = deployer.ready(name)
    assert answer["EndpointStatus"] == "InService"
    assert "did not pass the ping health check" in answer["FailureReason"]
    assert answer["EndpointConfigName"] == before
    assert deployer.ask(name, b"1") == "steady:1"


def test_an_endpoint_that_cannot_start_is_failed(deployer: Any, role: Any) -> None:
    broken = deployer.endpoint(
        deployer.config(
            deployer.variant("AllTraffic", deployer.single("broken", SERVER="/no/such/server.py"))
        )
    )
    answer = deployer.ready(broken)
    assert answer["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in answer["FailureReason"]
    assert "No such file" in answer["FailureReason"]
    config = deployer.describe(broken)["EndpointConfigName"]
    update = deployer.failure(
        lambda: deployer.workplace.sagemaker.update_endpoint(EndpointName=broken, EndpointConfigName=config)
    )
    assert "can only be deleted" in update["Error"]["Message"]
    missing = deployer.failure(lambda: deployer.invoke(broken, b"1"))
    assert missing["Error"]["Code"] == "ValidationError"
    no_pull = deployer.model(f"nopull-{uuid.uuid4().hex[:8]}", role=role("sagemaker.amazonaws.com", []))
    answer = deployer.ready(deployer.endpoint(deployer.config(deployer.variant("AllTraffic", no_pull))))
    assert answer["EndpointStatus"] == "Failed"
    assert "proper pull permissions" in answer["FailureReason"]


def test_weights_capacities_and_retained_properties(deployer: Any) -> None:
    one, two = deployer.single("one"), deployer.single("two")
    name = deployer.endpoint(
        deployer.config(deployer.variant("one", one), deployer.variant("two", two, weight=0.0))
    )
    assert deployer.ready(name)["EndpointStatus"] == "InService"
    assert {deployer.ask(name, b"1") for _ in range(10)} == {"one:1"}
    assert deployer.ask(name, b"1", TargetVariant="two") == "two:1"
    sagemaker = deployer.workplace.sagemaker
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "one", "DesiredWeight": 0.0},
            {"VariantName": "two", "DesiredWeight": 1.0, "DesiredInstanceCount": 2},
        ],
    )
    answer = deployer.ready(name)
    counts = {item["VariantName"]: item["CurrentInstanceCount"] for item in answer["ProductionVariants"]}
    assert counts == {"one": 1, "two": 2}
    assert {deployer.ask(name, b"1") for _ in range(10)} == {"two:1"}
    logs = deployer.workplace.cloud.client("logs", deployer.workplace.admin)

    def streams() -> int:
        group = f"/aws/sagemaker/Endpoints/{name}"
        return len(logs.describe_log_streams(logGroupName=group, logStreamNamePrefix="two/")["logStreams"])

    # With the first line of each, which comes later than its health.
    until(lambda: streams() >= 2)
    assert streams() == 2
    config = deployer.config(deployer.variant("one", two), deployer.variant("two", one))
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, RetainAllVariantProperties=True)
    answer = deployer.ready(name)
    kept = {
        item["VariantName"]: (item["CurrentInstanceCount"], item["CurrentWeight"])
        for item in answer["ProductionVariants"]
    }
    assert kept == {"one": (1, 0.0), "two": (2, 1.0)}
    assert deployer.ask(name, b"1") == "one:1"


def test_deleting_ends_the_processes_and_listens_on_loopback_only(deployer: Any) -> None:
    name = deployer.up(deployer.single("gone"))
    marks = [p for p in psutil.process_iter() if _endpoint_of(p) == name]
    assert marks
    addresses = {
        connection.laddr.ip
        for process in marks
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}
    deployer.workplace.sagemaker.delete_endpoint(EndpointName=name)
    until(lambda: not deployer.exists(name))
    assert [process for process in marks if _runs(process)] == []


def _runs(process: psutil.Process) -> bool:
    """Also of one that has ended and whose parent has not asked yet, `is_running` is true."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _endpoint_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("ENDPOINT_NAME")
    except psutil.Error:
        return None
