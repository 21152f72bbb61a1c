"""What keys and tokens look like, wherever they stand."""

from __future__ import annotations

import re

SECRET = re.compile(
    r"(AKIA|ASIA)[A-Z0-9]{16}|-----BEGIN [A-Z ]*PRIVATE KEY|(ghp|xoxb|sk)[-_][A-Za-z0-9]{20,}"
)
