"""What a check reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One fault.

    Args:
        place: `Stack/LogicalId/Properties.A.B[0]`, or `pipeline/Step/Arguments.A.B[0]`.
        rule: id in the table of rules, or an id of cfn-lint.
        message: what is wrong there.
        remedy: what to do about it.
        file: where the document lies.
        advice: whether it hardens what works, rather than being a fault.
        construct: path of the CDK construct that made the resource; empty where there is none.
    """

    place: str
    rule: str
    message: str
    remedy: str
    file: str = ""
    construct: str = ""
    advice: bool = False
