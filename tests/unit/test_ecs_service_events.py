"""What a stack tells of a service that does not become stable."""

from __future__ import annotations

from localcloud.ecs.resources import why_unstable
from localcloud.ecs.service_records import deploy, note, primary


def test_the_failure_is_told_whatever_came_after_it() -> None:
    """The roll-back has gone on by the time that somebody looks."""
    record = {"serviceName": "store", "deployments": [], "events": [], "taskDefinition": "store:2"}
    deploy(record)
    broken = primary(record)["id"]
    note(record, "(task 1) stopped: CannotPullContainerError: none.")
    note(record, f"(deployment {broken}) deployment failed: tasks failed to start. CannotPullContainerError")
    deploy(record)
    note(record, f"rolling back to deployment {primary(record)['id']}.")
    note(record, "has started 2 tasks: (task 2) (task 3).")
    note(record, f"(deployment {primary(record)['id']}) deployment completed.")
    note(record, "has reached a steady state.")
    told = why_unstable(record, broken)
    assert told.startswith(f"(service store) (deployment {broken}) deployment failed")
    assert "CannotPullContainerError" in told
    assert "has reached a steady state" in told


def test_without_a_failure_the_newest_events_are_told() -> None:
    record = {"serviceName": "store", "deployments": [], "events": [], "taskDefinition": "store:1"}
    deploy(record)
    for number in range(5):
        note(record, f"was unable to place a task, {number}.")
    told = why_unstable(record, primary(record)["id"])
    assert [f"task, {number}." in told for number in range(5)] == [False, False, True, True, True]
