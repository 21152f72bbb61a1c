"""ARNs lead to resources of their own kind alone, so that a policy about that kind holds."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from localcloud.sagemaker.arns import name_of, parse
from localcloud.sagemaker.errors import ServiceError

CLOUD = cast(Any, SimpleNamespace(region="us-east-1", account="000000000000"))
ARN = "arn:aws:sagemaker:us-east-1:000000000000:"


def test_a_name_or_an_arn_of_the_kind() -> None:
    assert name_of(CLOUD, "pipeline", "secret") == "secret"
    assert name_of(CLOUD, "pipeline", ARN + "pipeline/secret") == "secret"
    assert parse(CLOUD, ARN + "model/m").kind == "model"


@pytest.mark.parametrize("kind", ["model-package-group", "model-package"])
def test_an_arn_of_another_kind_is_refused(kind: str) -> None:
    with pytest.raises(ServiceError, match="is the ARN of a pipeline"):
        name_of(CLOUD, kind, ARN + "pipeline/secret")
