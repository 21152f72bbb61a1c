"""Conditions of a template compare values, whichever functions make them.

MiniStack compares the text of `Fn::Join`, `Fn::FindInMap` and of pseudo parameters, so that a condition such
as "the list is not empty" always holds.
https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-conditions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def apply() -> None:
    """Wrap the evaluation, wherever it was imported to."""
    from ministack.services.cloudformation import changesets, engine, handlers, stacks

    evaluate = engine._evaluate_conditions

    def evaluate_conditions(template: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        mappings = template.get("Mappings") or {}

        def plain(node: Any) -> Any:
            if isinstance(node, list):
                return [plain(item) for item in node]
            if not isinstance(node, dict):
                return node
            if set(node) == {"Fn::Equals"}:
                values = [
                    engine._resolve_refs(value, {}, parameters, {}, mappings, "", "")
                    for value in node["Fn::Equals"]
                ]
                return {"Fn::Equals": values}
            return {key: plain(value) for key, value in node.items()}

        return evaluate({**template, "Conditions": plain(template.get("Conditions") or {})}, parameters)

    for module in (engine, changesets, handlers, stacks):
        module._evaluate_conditions = evaluate_conditions
