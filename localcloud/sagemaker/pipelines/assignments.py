"""Whether what a `Get` refers to is of the type that the argument wants.

CreatePipeline refuses another type, a number where a text is wanted included: https://github.com/aws/
sagemaker-python-sdk/issues/4867. `Std:Join`, the SDK's `to_string()`, makes texts of numbers and booleans.
"""

from __future__ import annotations

from typing import Any

from localcloud.sagemaker.pipelines.expressions import Reference
from localcloud.sagemaker.pipelines.model import Definition
from localcloud.sagemaker.pipelines.paths import PathError, parse_path
from localcloud.sagemaker.pipelines.references import property_shape
from localcloud.sagemaker.pipelines.step_types import TARGETS

# Declared type of a parameter or an output -> types of arguments that take it.
TAKEN_BY = {
    "String": frozenset({"string", "timestamp", "blob"}),
    "Integer": frozenset({"integer", "long", "float", "double"}),
    "Float": frozenset({"float", "double"}),
    "Boolean": frozenset({"boolean"}),
}
NUMBERS = frozenset({"integer", "long", "float", "double"})
AS_TEXT = "make a text of it with Std:Join, the SDK's to_string()"
_NAMES = {"string": "String", "integer": "Integer", "long": "Integer", "float": "Float", "double": "Float"}


def fits(found: str, wanted: str) -> bool:
    """Whether a property of a botocore type may stand where another is wanted.

    Example: `fits("integer", "double")` is true, `fits("integer", "string")` is not.
    """
    if wanted == "string":
        # What the service writes for a time is not documented; it is taken.
        return found in ("string", "timestamp", "blob")
    return found == wanted or {found, wanted} <= NUMBERS


def misfit(reference: Reference, shape: Any, definition: Definition) -> str | None:
    """What is wrong with a reference where a value of this shape is wanted, None where it fits."""
    wanted = shape.type_name
    if reference.root == "Parameters":
        declared = definition.parameters.get(reference.name)
        fitting = declared is None or wanted in TAKEN_BY[declared.type]
    elif reference.root == "Steps" and reference.property_file is None:
        fitting = _property_fits(reference, wanted, definition)
    else:
        fitting = reference.root != "Execution" or wanted in TAKEN_BY["String"]
    if fitting:
        return None
    path = f"{reference.name}.{reference.path}" if reference.path else reference.name
    remedy = f"; {AS_TEXT}" if wanted == "string" else ""
    kind = _NAMES.get(wanted, wanted.capitalize())
    return f"Cannot assign property reference [{reference.root}.{path}] to argument of type [{kind}]{remedy}"


def _property_fits(reference: Reference, wanted: str, definition: Definition) -> bool:
    step = definition.steps.get(reference.name)
    if step is None:
        return True
    try:
        parts = parse_path(reference.path)
        found = property_shape(step, parts)
    except PathError:
        return True
    if step.type in TARGETS:
        return len(parts) != 2 or wanted in TAKEN_BY[step.outputs.get(str(parts[1]), "String")]
    return found is None or fits(found.type_name, wanted)
