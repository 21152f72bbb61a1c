"""One JSON object per line, which CloudWatch Logs Insights reads without a parser."""

import json
import sys


def log(event: str, **fields: object) -> None:
    """Writes what happened. Callers pass names, counts and identifiers, never values from requests."""
    sys.stdout.write(json.dumps({"event": event, **fields}, default=str) + "\n")
