"""Whether a canary is promoted, rolled back, or watched on. Pure: figures in, a conclusion out.

Errors: Fisher's exact test, one-sided, of the canary's share of failed requests against that of the version
beside it, over all requests since the canary began. It is exact for any number of requests, so that a model
that fails at once is rolled back after a few. It is asked once a minute; at 0.001 a time a canary that is as
good as the old version is rolled back by chance less than three times in a hundred over 30 minutes (a bound;
tests/unit/test_runtime_serving_canary.py measures). A difference below `margin` never counts, however
certain: with enough requests any difference is.

Latency: the canary's p90 against the other's, over the same time, once both have `least_requests`.

Promotion: after `bake_seconds`, with `least_requests` on each side, when neither speaks against it. A canary
that has too few requests for that goes on, at most for `longest_seconds`; then it is rolled back, since
nobody knows what it does, and the person who approved it can approve it in full.
"""

import math
from dataclasses import dataclass

PROMOTED, ROLLED_BACK = "promoted", "rolled-back"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How a canary is judged.

    `warm_up_seconds`: how long requests do not count, since each instance loads the model at its first one.
    `bake_seconds`: shortest time until promotion.
    `longest_seconds`: when a canary without enough requests is given up.
    `least_requests`: of each of the two versions, for promotion and for a comparison of latency.
    `significance`: largest probability, per look, that a difference in errors is chance.
    `margin`: smallest difference in the share of errors that counts, 0 to 1.
    `latency_factor`, `latency_slack_ms`: the p90 may be this many times the other's, plus this.
    """

    warm_up_seconds: int = 60
    bake_seconds: int = 1800
    longest_seconds: int = 7 * 86_400
    least_requests: int = 100
    significance: float = 0.001
    margin: float = 0.005
    latency_factor: float = 1.5
    latency_slack_ms: float = 5.0

    def __post_init__(self) -> None:
        if (
            not 0 <= self.warm_up_seconds <= self.bake_seconds <= self.longest_seconds
            or not self.bake_seconds
        ):
            raise ValueError("a canary's bake_seconds must be positive, from warm_up_ to longest_seconds")
        if self.least_requests < 1:
            raise ValueError(f"a canary's least_requests is {self.least_requests}; give at least 1")
        if not 0 < self.significance < 0.5 or not 0 <= self.margin < 1:
            raise ValueError("a canary's significance must be in (0, 0.5), its margin in [0, 1)")
        if self.latency_factor < 1 or self.latency_slack_ms < 0:
            raise ValueError("a canary's latency_factor must be at least 1, its latency_slack_ms at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a version did: requests, failed ones, and the p90 of its latency in ms if it is known."""

    requests: int
    errors: int
    p90_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """How the canary ends; `reason` names the figures."""

    outcome: str
    reason: str


def judge(old: Figures, new: Figures, *, age_seconds: float, rules: Rules) -> Conclusion | None:
    """Compares the canary (`new`) with the version beside it (`old`), both since the canary began.

    None means that it goes on.
    """
    errors = f"{new.errors} of {new.requests} requests failed - before {old.errors} of {old.requests}"
    if _share(new) - _share(old) > rules.margin:
        chance = chance_of_errors(old, new)
        if chance < rules.significance:
            return Conclusion(outcome=ROLLED_BACK, reason=f"errors: {errors} - by chance p={chance:.1e}")
    enough = min(old.requests, new.requests) >= rules.least_requests
    latency = "latency not known"
    if old.p90_ms is not None and new.p90_ms is not None:
        latency = f"p90 {new.p90_ms:.1f} ms - before {old.p90_ms:.1f} ms"
        bound = old.p90_ms * rules.latency_factor + rules.latency_slack_ms
        if enough and new.p90_ms > bound:
            reason = f"latency: {latency} - bound {bound:.1f} ms - {new.requests} requests"
            return Conclusion(outcome=ROLLED_BACK, reason=reason)
    if enough and age_seconds >= rules.bake_seconds:
        return Conclusion(outcome=PROMOTED, reason=f"{errors} - {latency}")
    if age_seconds >= rules.longest_seconds:
        days = f"{rules.longest_seconds / 86_400:.1f} days"
        reason = f"too few requests in {days} for a comparison: {new.requests} - before {old.requests}"
        return Conclusion(outcome=ROLLED_BACK, reason=reason)
    return None


def chance_of_errors(old: Figures, new: Figures) -> float:
    """Probability of at least so many errors on the side of `new`, were both versions equally good.

    Fisher's exact test: all errors of both are dealt out to all requests at random (hypergeometric).
    """
    errors, everything = old.errors + new.errors, old.requests + new.requests
    if not new.errors or not old.requests:
        return 1.0

    def term(count: int) -> float:
        return math.exp(
            _choose(new.requests, count) + _choose(old.requests, errors - count) - _choose(everything, errors)
        )

    total = 0.0
    for count in range(new.errors, min(errors, new.requests) + 1):
        part = term(count)
        total += part
        # Beyond the mode terms only fall, and ever faster.
        if part < total * 1e-12 and count * everything > errors * new.requests:
            break
    return min(1.0, total)


def _share(figures: Figures) -> float:
    return figures.errors / figures.requests if figures.requests else 0.0


def _choose(items: int, taken: int) -> float:
    """Logarithm of the binomial coefficient; minus infinity for what is impossible."""
    if not 0 <= taken <= items:
        return -math.inf
    return math.lgamma(items + 1) - math.lgamma(taken + 1) - math.lgamma(items - taken + 1)
