"""How the registry says that a version is to be a canary, and how it ended: a package's customer metadata.

`modelyard approve GROUP VERSION --canary 10` sets `canary-percent` together with the approval. When the
canary ends, the deployer adds the rest, so that the registry alone tells what is to serve. An approval
without `--canary` takes all of it away.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateModelPackage.html
"""

import re
from collections.abc import Mapping

from .canary import PROMOTED
from .record import Verdict

PERCENT, OUTCOME, REASON, AT = "canary-percent", "canary-verdict", "canary-reason", "canary-verdict-at"
_LONGEST = 256
# What SageMaker takes in a value of customer metadata.
_REFUSED = re.compile(r"[^\w .:/=+@-]")


def percent_of(metadata: Mapping[str, str]) -> int | None:
    """The share that the version is to answer; None for all, which is also what a promoted one gets.

    Raises ValueError for what is no share."""
    value = metadata.get(PERCENT)
    if value is None or metadata.get(OUTCOME) == PROMOTED:
        return None
    if not re.fullmatch(r"[1-9][0-9]?", value):
        raise ValueError(f"its {PERCENT} is {value[:20]!r}; approve it again with 1 to 99, or without")
    return int(value)


def verdict_of(version: int, metadata: Mapping[str, str]) -> Verdict | None:
    """How the version's last canary ended, if it did."""
    if PERCENT not in metadata or OUTCOME not in metadata:
        return None
    reason, at = metadata.get(REASON, ""), metadata.get(AT, "")
    return Verdict(version=version, outcome=metadata[OUTCOME], reason=reason, at=at)


def metadata_of(verdict: Verdict) -> dict[str, str]:
    """Reverse of `verdict_of`, less the share."""
    reason = _REFUSED.sub(" ", verdict.reason)[:_LONGEST].strip() or "-"
    return {OUTCOME: verdict.outcome, REASON: reason, AT: verdict.at}
