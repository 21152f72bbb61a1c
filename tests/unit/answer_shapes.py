"""Answers of the local SageMaker against botocore's model: required members, types, enums, nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "boolean": (bool,),
    "timestamp": (float,),
}
# The model calls the name required; AWS leaves it out for versions, which have group and number instead.
# It also calls a training job's artifacts required, which there are none of before the job has ended.
LEFT_OUT = {
    ("DescribeModelPackageOutput", "ModelPackageName"),
    ("DescribeTrainingJobResponse", "ModelArtifacts"),
}


def faults(value: Any, shape: Any, path: str) -> Iterator[str]:
    """Where an answer differs from its shape."""
    if shape is None:
        if value:
            yield f"{path}: {value!r} where the answer is empty"
    elif shape.type_name == "structure":
        needed = {name for name in shape.required_members if (shape.name, name) not in LEFT_OUT}
        yield from (f"{path}: {name} is missing" for name in sorted(needed - value.keys()))
        for name, item in value.items():
            if name in shape.members:
                yield from faults(item, shape.members[name], f"{path}.{name}")
            else:
                yield f"{path}: {name} is unknown"
    elif shape.type_name == "list":
        for item in value:
            yield from faults(item, shape.member, f"{path}[]")
    elif shape.type_name == "map":
        for item in value.values():
            yield from faults(item, shape.value, f"{path}{{}}")
    else:
        yield from _scalar_faults(value, shape, path)


def _scalar_faults(value: Any, shape: Any, path: str) -> Iterator[str]:
    if not isinstance(value, TYPES[shape.type_name]):
        yield f"{path}: {value!r} is no {shape.type_name}"
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path}: {value!r} is none of {shape.enum}"
