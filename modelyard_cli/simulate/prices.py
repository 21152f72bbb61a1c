"""What instances cost, from a table that the user can replace."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

from modelyard_cli.errors import CliError

TABLE = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True, slots=True)
class Price:
    """Of one instance-hour, and where the figure is from."""

    per_hour: float
    currency: str
    source: str


def price_of(instance_type: str, table: Path = TABLE) -> Price:
    """Look up an instance type.

    Raises:
        CliError: the file is no price table, or lacks the type; the message lists what it has.
    """
    try:
        document = tomllib.loads(table.read_text(encoding="utf-8"))
    except OSError as error:
        raise CliError(f"{table}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CliError(f"{table}: not TOML ({error})") from error
    known = document.get("per_hour")
    if not isinstance(known, dict):
        raise CliError(f"{table}: there is no table [per_hour] of prices by instance type")
    if instance_type not in known:
        raise CliError(
            f"{table}: no price for {instance_type}; it has {', '.join(sorted(known))}. Add it to a copy and "
            "pass that with --prices"
        )
    value = known[instance_type]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise CliError(f"{table}: the price of {instance_type} is {value!r}, not a number of 0 or more")
    parts = (document.get("source", "unknown source"), document.get("region"), document.get("date"))
    source = ", ".join(str(part) for part in parts if part)
    return Price(float(value), str(document.get("currency", "USD")), source)
