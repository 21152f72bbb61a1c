"""Carries deployments out: shifts an alias step by step, watches alarms, goes back.

https://docs.aws.amazon.com/codedeploy/latest/userguide/deployments-rollback-and-redeploy.html
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from localcloud.aws import events, identity
from localcloud.aws.errors import RoleNotAssumable
from localcloud.aws.sessions import RoleSession
from localcloud.codedeploy import shift
from localcloud.codedeploy.appspec import Target, revision
from localcloud.codedeploy.service import DEPLOYMENT, new_deployment_id
from localcloud.context import Cloud
from localcloud.sagemaker.store import Store, now

_PRINCIPAL = "codedeploy.amazonaws.com"
# Between two looks at the alarms: on AWS's clock, and at least in real seconds.
_LOOK, _SHORTEST_LOOK = 10.0, 0.1
_STATES = {"InProgress": "START", "Succeeded": "SUCCESS", "Failed": "FAILURE", "Stopped": "STOP"}
_log = logging.getLogger(__name__)


class _Ended(Exception):
    """The new version does not take over: status, AWS's code for the reason, and the event of roll-backs."""

    def __init__(self, status: str, code: str, message: str, event: str) -> None:
        super().__init__(message)
        self.status, self.event = status, event
        self.reason = {"code": code, "message": message}


def _failed(code: str, message: str) -> _Ended:
    return _Ended("Failed", code, message, "DEPLOYMENT_FAILURE")


class Mover:
    """One thread for each deployment."""

    def __init__(self, cloud: Cloud, store: Store) -> None:
        self._cloud, self._store = cloud, store
        self._closed = threading.Event()
        self._stopping: set[str] = set()

    def start(self, deployment_id: str, group: Mapping[str, Any]) -> None:
        """Begin; `group` is as it is now, whatever becomes of it."""
        run = partial(self._run, deployment_id, dict(group))
        threading.Thread(target=run, daemon=True, name=f"codedeploy-{deployment_id}").start()

    def stop(self, deployment_id: str) -> None:
        """Let a deployment end before its next step."""
        self._stopping.add(deployment_id)

    def close(self) -> None:
        """Take no further step."""
        self._closed.set()

    def _run(self, deployment_id: str, group: dict[str, Any]) -> None:
        try:
            record = self._say(deployment_id, status="InProgress", startTime=now())
            target = Target(**record["_target"])
            try:
                self._shift(record, group, target)
                self._say(deployment_id, status="Succeeded", completeTime=now())
            except _Ended as ended:
                self._go_back(record, group, target, ended)
            except Exception as error:
                if self._closed.is_set():
                    return
                _log.exception("deployment %s", deployment_id)
                self._go_back(record, group, target, _failed("INTERNAL_ERROR", str(error)))
        except Exception as error:
            if self._closed.is_set():
                return
            # A stack waits for the end of its deployment without a limit.
            _log.exception("end of deployment %s", deployment_id)
            reason = {"code": "INTERNAL_ERROR", "message": str(error)}
            self._say(deployment_id, status="Failed", errorInformation=reason, completeTime=now())
        finally:
            self._stopping.discard(deployment_id)

    def _shift(self, record: dict[str, Any], group: dict[str, Any], target: Target) -> None:
        session = self._session(group)
        alias = self._call(session, "lambda", "get_alias", **_named(target))
        if alias["FunctionVersion"] != target.current:
            raise _failed(
                "INVALID_LAMBDA_CONFIGURATION",
                "The Lambda function alias version does not match the current version in AppSpec file.",
            )
        self._provisioned(session, target)
        self._look(record, group, session)
        for step in shift.steps(record["deploymentConfigName"]):
            weights = {target.target: step.percent / 100}
            self._call(
                session,
                "lambda",
                "update_alias",
                **_named(target),
                RoutingConfig={"AdditionalVersionWeights": weights},
            )
            self._wait(step.minutes * 60, record, group, session)
        self._point(session, target)

    def _wait(
        self, seconds: float, record: dict[str, Any], group: dict[str, Any], session: RoleSession
    ) -> None:
        until = time.monotonic() + seconds / self._cloud.clock
        pause = max(_SHORTEST_LOOK, _LOOK / self._cloud.clock)
        while (left := until - time.monotonic()) > 0:
            if self._closed.wait(min(pause, left)):
                raise InterruptedError
            self._look(record, group, session)

    def _look(self, record: dict[str, Any], group: dict[str, Any], session: RoleSession) -> None:
        if record["deploymentId"] in self._stopping:
            message = "The deployment was stopped by a user."
            raise _Ended("Stopped", "MANUAL_STOP", message, "DEPLOYMENT_STOP_ON_REQUEST")
        watched = group.get("alarmConfiguration") or {}
        names = [alarm["name"] for alarm in watched.get("alarms") or ()]
        if not watched.get("enabled") or not names:
            return
        try:
            known = self._call(session, "cloudwatch", "describe_alarms", AlarmNames=names)
        except _Ended:
            if watched.get("ignorePollAlarmFailure"):
                return
            raise
        states = {
            alarm["AlarmName"]: alarm["StateValue"]
            for alarm in (*known["MetricAlarms"], *known.get("CompositeAlarms", ()))
        }
        missing = sorted(set(names) - states.keys())
        if missing and not watched.get("ignorePollAlarmFailure"):
            raise _failed("ALARM_ACTIVE", f"These alarms do not exist: {', '.join(missing)}.")
        active = sorted(name for name, state in states.items() if state == "ALARM")
        if active:
            message = f"One or more alarms have been activated according to the Amazon CloudWatch metrics \
you selected, and the affected deployments have been stopped. Activated alarms: <{', '.join(active)}>"
            raise _Ended("Stopped", "ALARM_ACTIVE", message, "DEPLOYMENT_STOP_ON_ALARM")

    def _go_back(self, record: dict[str, Any], group: dict[str, Any], target: Target, ended: _Ended) -> None:
        """Tell why it ended; where the group wants that, bring the alias back first, as a deployment too."""
        deployment_id, wanted = record["deploymentId"], group.get("autoRollbackConfiguration") or {}
        told: dict[str, Any] = {
            "status": ended.status, "errorInformation": ended.reason, "completeTime": now(),
        }  # fmt: skip
        if wanted.get("enabled") and ended.event in (wanted.get("events") or ()):
            back = new_deployment_id()
            rollback = {
                **{name: record[name] for name in record if name not in ("startTime", "status")},
                "deploymentId": back,
                "deploymentConfigName": f"{shift.PREFIX}LambdaAllAtOnce",
                "revision": revision(target.reversed()),
                "creator": "codeDeployRollback",
                "createTime": now(),
                "status": "InProgress",
                "rollbackInfo": {"rollbackTriggeringDeploymentId": deployment_id},
            }
            self._store.create(DEPLOYMENT, back, rollback)
            try:
                self._point(self._session(group), target.reversed())
                self._say(back, status="Succeeded", completeTime=now())
            except _Ended as error:
                self._say(back, status="Failed", errorInformation=error.reason, completeTime=now())
            told["rollbackInfo"] = {"rollbackDeploymentId": back, "rollbackMessage": ended.reason["message"]}
        # Last, since who waits for the end goes on then.
        self._say(deployment_id, **told)

    def _point(self, session: RoleSession, target: Target) -> None:
        self._call(
            session,
            "lambda",
            "update_alias",
            **_named(target),
            FunctionVersion=target.target,
            RoutingConfig={"AdditionalVersionWeights": {}},
        )

    def _provisioned(self, session: RoleSession, target: Target) -> None:
        """CodeDeploy looks whether there are provisioned environments to wait for; here they are at once."""
        client = self._client(session, "lambda")
        try:
            client.get_provisioned_concurrency_config(FunctionName=target.function, Qualifier=target.alias)
        except client.exceptions.ProvisionedConcurrencyConfigNotFoundException:
            return
        except ClientError as error:
            raise _meaning(error) from error

    def _session(self, group: dict[str, Any]) -> RoleSession:
        arn = f"arn:aws:codedeploy:{self._cloud.region}:{self._cloud.account}:deploymentgroup:"
        return RoleSession(
            partial(
                identity.assume_role,
                group["serviceRoleArn"],
                service=_PRINCIPAL,
                session="codedeploy",
                source_arn=f"{arn}{group['applicationName']}/{group['deploymentGroupName']}",
            )
        )

    def _client(self, session: RoleSession, service: str) -> Any:
        try:
            return self._cloud.client(service, session())
        except RoleNotAssumable as error:
            raise _failed("IAM_ROLE_MISSING", f"The service role cannot be assumed: {error}") from error

    def _call(self, session: RoleSession, service: str, operation: str, **members: Any) -> Any:
        try:
            return getattr(self._client(session, service), operation)(**members)
        except ClientError as error:
            raise _meaning(error) from error

    def _say(self, deployment_id: str, **changed: Any) -> dict[str, Any]:
        record = self._store.update(DEPLOYMENT, deployment_id, lambda record: record.update(changed))
        state = _STATES.get(record["status"])
        if state is not None:
            names = f"{record['applicationName']}/{record['deploymentGroupName']}"
            prefix = f"arn:aws:codedeploy:{self._cloud.region}:{self._cloud.account}"
            resources = [
                f"{prefix}:application:{record['applicationName']}",
                f"{prefix}:deploymentgroup:{names}",
            ]
            detail = {
                "region": self._cloud.region,
                "deploymentId": deployment_id,
                "instanceGroupId": deployment_id,
                "deploymentGroup": record["deploymentGroupName"],
                "state": state,
                "application": record["applicationName"],
            }
            kind = "CodeDeploy Deployment State-change Notification"
            events.emit(self._cloud, "aws.codedeploy", kind, detail, resources)
        return record


def _named(target: Target) -> dict[str, str]:
    return {"FunctionName": target.function, "Name": target.alias}


def _meaning(error: ClientError) -> _Ended:
    code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
    if code.startswith("AccessDenied"):
        return _failed("IAM_ROLE_PERMISSIONS", f"The service role lacks a permission: {message}")
    if code == "ResourceNotFoundException":
        return _failed("INVALID_LAMBDA_FUNCTION", message)
    return _failed("INVALID_LAMBDA_CONFIGURATION", f"{code}: {message}")
