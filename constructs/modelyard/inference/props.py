"""What the inference function can be told."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Concurrency:
    """How many requests are answered at once.

    Args:
        provisioned: Environments kept warm, paid by the hour; None for none.
        reserved: Concurrency set aside for the function, and its limit; None for the account's pool. New
            accounts have too little to reserve any: the deployment then fails.

    Raises:
        ValueError: A number below 1, or more provisioned than reserved, which Lambda refuses at deployment.
    """

    provisioned: int | None = None
    reserved: int | None = None

    def __post_init__(self) -> None:
        for name in ("provisioned", "reserved"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"Concurrency.{name} is {value}; give at least 1, or None")
        if self.provisioned and self.reserved and self.provisioned > self.reserved:
            raise ValueError(
                f"Concurrency.provisioned is {self.provisioned}, above reserved {self.reserved}, "
                "which Lambda refuses; raise reserved or lower provisioned"
            )


STRATEGIES = (
    "LambdaAllAtOnce",
    *(f"LambdaCanary10Percent{minutes}Minutes" for minutes in (5, 10, 15, 30)),
    "LambdaLinear10PercentEvery1Minute",
    *(f"LambdaLinear10PercentEvery{minutes}Minutes" for minutes in (2, 3, 10)),
)
"""CodeDeploy's own: https://docs.aws.amazon.com/codedeploy/latest/userguide/deployment-configurations.html"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """How a new version of the function takes over from the one before.

    A deployment that changes the function cannot change the number of provisioned environments, too: Lambda
    does not take another one while an alias is shifted. Deploy one after the other.

    Args:
        strategy: One of `STRATEGIES`.
        errors_per_minute: More than so many of the new version end it. An error is a request without an
            answer of the function's own; a refusal is none.
        faults_per_minute: More answers of 5xx than so many end it, too. Some are to be expected, as while a
            model loads.
        p99_milliseconds: A p99 above that, two minutes on end, ends it, too.

    Raises:
        ValueError: An unknown strategy, or a number that no version could keep.
    """

    strategy: str = "LambdaCanary10Percent5Minutes"
    errors_per_minute: int = 0
    faults_per_minute: int = 5
    p99_milliseconds: int = 10_000

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            known = ", ".join(STRATEGIES)
            raise ValueError(f"Release.strategy is {self.strategy!r}; known: {known}")
        for name in ("errors_per_minute", "faults_per_minute"):
            if getattr(self, name) < 0:
                raise ValueError(f"Release.{name} is {getattr(self, name)}; give 0 or more")
        if self.p99_milliseconds < 1:
            raise ValueError(f"Release.p99_milliseconds is {self.p99_milliseconds}; give at least 1")
