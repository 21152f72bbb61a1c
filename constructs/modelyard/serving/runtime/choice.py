"""Which version serves and which one is its canary, by what the registry approves now.

The newest version that is approved in full, or whose canary was promoted, is to serve. The newest version
that is approved as a canary and newer than that is its canary; older wishes of that kind count for nothing.
Where no version is approved in full there is nothing to compare with: the newest canary serves in full.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta

from modelyard.runtime.log import log

from .canary import PROMOTED, judge
from .deploy import deploy
from .errors import DeployError, OutdatedError, UnreadableError
from .garbage import parsed
from .ports import Description, Package, Ports
from .record import Canary, Deployment, Failure, Record, Verdict
from .settings import Settings
from .wishes import percent_of, verdict_of

_MAX_MESSAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the next record is to say."""

    desired: int | None
    serving: Deployment | None
    canary: Canary | None
    verdict: Verdict | None
    error: Failure | None


class Chooser:
    """One look at one group. Asks the registry for each version at most once, so that the look is of a piece.

    Attributes:
        approved: ARNs of the approved versions, once `choose` has looked.
        tried: Artifacts that it made, also of versions that failed their checks there.
    """

    approved: frozenset[str]
    tried: set[str]

    def __init__(self, record: Record, ports: Ports, settings: Settings, now: str) -> None:
        self._record, self._ports, self._settings, self._now = record, ports, settings, now
        self.approved = frozenset()
        self.tried = set()
        self._descriptions: dict[str, Description] = {}
        self._present: frozenset[str] | None = None
        self._error: Failure | None = None
        self._verdict = record.verdict

    def choose(self) -> Choice:
        """Raises OutdatedError when the registry changed while it was looked at."""
        try:
            return self._look()
        except UnreadableError as error:
            self._error = None
            self._fail(0, error)
            return self._choice(self._record.desired, self._record.serving, self._record.canary)

    def _look(self) -> Choice:
        approved = self._ports.registry.approved(self._record.group)
        self.approved = frozenset(package.arn for package in approved)
        serving, wishes, full = self._in_full(approved)
        canary = None
        if serving is None:
            serving = self._only_canary(wishes, alone=full is None) or self._approved_still()
        else:
            canary = self._canary([wish for wish in wishes if wish.version > (full or 0)], serving)
        self._recall()
        return self._choice(full or (serving.version if serving else None), serving, canary)

    def present(self) -> frozenset[str]:
        """What lies where the endpoint loads from. Raises DeployError while that is unknown."""
        if self._present is None:
            self._present = self._ports.artifacts.present(self._record.group)
        return self._present

    def _in_full(self, approved: list[Package]) -> tuple[Deployment | None, list[Package], int | None]:
        """What serves in full, the versions that are to be canaries, and the newest approved in full."""
        current = self._record.serving
        kept = next((package for package in approved if current and package.arn == current.package_arn), None)
        kept = kept if kept and not self._is_wish(kept) else None
        wishes: list[Package] = []
        full: int | None = None
        failed = False
        for package in approved:
            if failed and kept and package is not kept:
                continue
            try:
                if self._percent(package) is not None:
                    wishes.append(package)
                    continue
                full = full or package.version
                return self._to_serve(package), wishes, full
            except DeployError as error:
                failed, full = True, full or package.version
                self._fail(package.version, error)
                if package is kept:
                    return current, wishes, full
        return None, wishes, full

    def _only_canary(self, wishes: list[Package], *, alone: bool) -> Deployment | None:
        """The newest canary that passes its checks, in full; `alone`: nothing is approved to compare with."""
        for package in wishes:
            try:
                deployment = self._to_serve(package)
            except DeployError as error:
                self._fail(package.version, error)
                continue
            if alone:
                try:
                    self._conclude(package, PROMOTED, "no other approved version to compare with")
                except DeployError as error:
                    self._fail(package.version, error)
            return deployment
        return None

    def _approved_still(self) -> Deployment | None:
        """What serves, though it is to be a canary: nothing else can, and nor can it prove itself anew."""
        current = self._record.serving
        return current if current and current.package_arn in self.approved else None

    def _canary(self, wishes: list[Package], serving: Deployment) -> Canary | None:
        if not wishes:
            return None
        package, running = wishes[0], self._record.canary
        if running and running.deployment.package_arn != package.arn:
            running = None
        try:
            percent = self._percent(package)
            assert percent is not None
            deployment = self._deployed(package)
            # Asked for anew, or beside another version than before: what it did until now says nothing.
            anew = running is None or parsed(self._describe(package).changed) > parsed(deployment.since)
            since = self._now if anew else max(deployment.since, serving.since, key=parsed)
        except DeployError as error:
            self._fail(package.version, error)
            return None
        canary = Canary(deployment=replace(deployment, since=since), percent=percent)
        try:
            self._judge(package, canary, serving)
        except DeployError as error:
            self._fail(package.version, error)
        return canary

    def _judge(self, package: Package, canary: Canary, serving: Deployment) -> None:
        """Raises OutdatedError once the registry has the conclusion: what follows from it is another look."""
        group, since = self._record.group, canary.deployment.since
        age = (parsed(self._now) - parsed(since)).total_seconds()
        rules = self._settings.canary
        counted = (parsed(since) + timedelta(seconds=rules.warm_up_seconds)).isoformat()
        if parsed(counted) >= parsed(self._now):
            return
        old = self._ports.metrics.figures(group, serving.version, since=counted, until=self._now)
        new = self._ports.metrics.figures(group, package.version, since=counted, until=self._now)
        conclusion = judge(old, new, age_seconds=age, rules=rules)
        if conclusion:
            self._conclude(package, conclusion.outcome, conclusion.reason)
            raise OutdatedError(f"canary {package.arn} is {conclusion.outcome}")

    def _conclude(self, package: Package, outcome: str, reason: str) -> None:
        # Others may have decided since this look began, and a person may have asked for the canary again.
        if self._ports.records.read(self._record.group).generation != self._record.generation:
            raise OutdatedError(f"{self._record.group} was written by another")
        verdict = Verdict(version=package.version, outcome=outcome, reason=reason, at=self._now)
        self._ports.registry.conclude(package, verdict, changed=self._describe(package).changed)
        self._verdict = verdict
        log(
            "canary concluded",
            group=self._record.group,
            version=package.version,
            outcome=outcome,
            reason=reason,
        )

    def _to_serve(self, package: Package) -> Deployment:
        deployment = self._deployed(package)
        return deployment if deployment is self._record.serving else replace(deployment, since=self._now)

    def _deployed(self, package: Package) -> Deployment:
        """The version on the endpoint: as it answers there already, or brought there and checked."""
        record = self._record
        for there in record.answering:
            if there.package_arn == package.arn and there.artifact in self.present():
                return there
        return deploy(
            record.group,
            package,
            self._describe(package).model_data_url,
            self._ports,
            max_unpacked=self._settings.max_unpacked_bytes,
            taken=record.deleting,
            tried=self.tried,
            generation=record.generation + 1,
            now=self._now,
        )

    def _recall(self) -> None:
        """Take a verdict from the registry that the reconcile which gave it did not live to write down."""
        running = self._record.canary
        versions = {d.package_arn: d.version for d in self._record.answering}
        found = dict(self._descriptions)
        if running and running.deployment.package_arn not in found:
            arn = running.deployment.package_arn
            with suppress(DeployError, OutdatedError, UnreadableError):
                found[arn] = self._ports.registry.describe(arn)
        for arn, description in found.items():
            verdict = verdict_of(versions.get(arn, 0), description.metadata)
            if arn in versions and verdict and (not self._verdict or self._verdict.at < verdict.at):
                self._verdict = verdict

    def _is_wish(self, package: Package) -> bool:
        try:
            return self._percent(package) is not None
        except DeployError:
            return False

    def _percent(self, package: Package) -> int | None:
        try:
            return percent_of(self._describe(package).metadata)
        except ValueError as error:
            raise DeployError(str(error)) from error

    def _describe(self, package: Package) -> Description:
        if package.arn not in self._descriptions:
            description = self._ports.registry.describe(package.arn)
            if not description.approved:
                raise OutdatedError(f"{package.arn} is approved no more")
            self._descriptions[package.arn] = description
        return self._descriptions[package.arn]

    def _fail(self, version: int, error: Exception) -> None:
        self._error = self._error or Failure(version=version, message=str(error)[:_MAX_MESSAGE], at=self._now)

    def _choice(self, desired: int | None, serving: Deployment | None, canary: Canary | None) -> Choice:
        return Choice(
            desired=desired, serving=serving, canary=canary, verdict=self._verdict, error=self._error
        )
