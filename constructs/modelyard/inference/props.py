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
