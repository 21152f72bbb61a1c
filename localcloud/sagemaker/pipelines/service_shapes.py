"""Whether a property path exists in what a Describe operation answers, by botocore's service model."""

from functools import cache
from typing import Any

import botocore.session

from localcloud.sagemaker.pipelines.paths import PathError


@cache
def _service_model() -> Any:
    return botocore.session.get_session().get_service_model("sagemaker")


def check_path(response: str, parts: tuple[str | int, ...]) -> None:
    """Follow a path through the members of a response.

    Args:
        response: the shape's name, for example `DescribeTrainingJobResponse`.
        parts: the path, as `parse_path` splits it.

    Raises:
        PathError: the path leaves the shape; the message says where.
    """
    shape = _service_model().shape_for(response)
    for part in parts:
        if shape.type_name == "structure" and part in shape.members:
            shape = shape.members[part]
        elif shape.type_name == "map" and isinstance(part, str):
            shape = shape.value
        elif shape.type_name == "list":
            shape = shape.member
        else:
            raise PathError(f"{shape.name} has no {part!r}")
