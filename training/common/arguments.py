"""Arguments of steps."""

from __future__ import annotations

import argparse
from typing import NoReturn

from training.common.failure import UserError


class Parser(argparse.ArgumentParser):
    """Refuses arguments with one line, and abbreviations of them."""

    def __init__(self, step: str) -> None:
        super().__init__(prog=step, add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")
