"""Collecting everything that is wrong with a definition, so that its author sees it all at once."""

import re
from collections.abc import Iterable, Mapping
from typing import Any


class DefinitionError(ValueError):
    """A definition that AWS would not take, or whose parts do not fit together.

    Attributes:
        problems: one line each, naming the step or parameter.
    """

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("Unable to parse pipeline definition. " + "\n".join(self.problems))


class Problems:
    """A list of problems, with the checks that add to it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, where: str, what: str) -> None:
        """Note one problem, for example `add("Step 'Train'", "has no Arguments")`."""
        self.lines.append(f"{where}: {what}.")

    def raise_if_any(self) -> None:
        """Raise DefinitionError when there are problems."""
        if self.lines:
            raise DefinitionError(self.lines)

    def members(self, where: str, value: Mapping[str, Any], known: Iterable[str]) -> None:
        """Refuse members that AWS does not know, as it does itself."""
        for name in sorted(set(value) - set(known)):
            self.add(where, f"cannot parse object, unknown property {name!r}")

    def text(
        self, where: str, value: Mapping[str, Any], member: str, *, pattern: str = r"(?s).+"
    ) -> str | None:
        """A required text member, or None (and a problem) when it is missing or malformed."""
        found = value.get(member)
        if isinstance(found, str) and re.fullmatch(pattern, found):
            return found
        if member not in value:
            self.add(where, f"has no {member}")
        else:
            self.add(where, f"{member} is {found!r}, which does not match {pattern}")
        return None

    def objects(self, where: str, value: Mapping[str, Any], member: str) -> list[dict[str, Any]]:
        """The objects in an optional list member; what is no list of objects is a problem."""
        found = value.get(member)
        if found is None:
            return []
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            self.add(where, f"{member} must be a list of objects")
            return []
        return found
