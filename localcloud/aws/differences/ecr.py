"""ECR says when an image is missing, and IAM is asked about the repositories that a request names.

MiniStack answers DescribeImages for a missing image with an empty list, where AWS raises
ImageNotFoundException: the CDK CLI then takes the image for published and never builds it. And it checks
DescribeRepositories against `*` whatever repositories it names, which CDK's publishing role may not do.
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_DescribeImages.html
https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerregistry.html
"""

from __future__ import annotations

import json
from typing import Any


def apply() -> None:
    """Wrap the operation, and the look-up of a request's resource."""
    from ministack.core import iam_actions
    from ministack.core.responses import error_response_json
    from ministack.services import ecr

    describe, resource = ecr._describe_images, iam_actions.extract_resource_arn

    def describe_images(data: dict[str, Any]) -> Any:
        name = data.get("repositoryName", "")
        for image in data.get("imageIds") or []:
            if name in ecr._repositories and ecr._find_image(name, image) is None:
                wanted = ", ".join(f"{key}:'{value}'" for key, value in image.items())
                return error_response_json(
                    "ImageNotFoundException",
                    f"The image with imageId {{{wanted}}} does not exist within the repository with name "
                    f"'{name}' in the registry with id '{ecr._registry_id()}'",
                    400,
                )
        return describe(data)

    def extract_resource_arn(service: str, *arguments: Any, **named: Any) -> Any:
        found = resource(service, *arguments, **named)
        if service == "ecr" and found == "*":
            method_path_headers_body = dict(
                zip(("method", "path", "headers", "body"), arguments, strict=False)
            )
            names = _repositories(named.get("body", method_path_headers_body.get("body", b"")))
            if len(names) == 1:
                # One policy decision covers one resource; CDK and SageMaker ask for one repository at a time.
                return f"arn:aws:ecr:{ecr.get_region()}:{ecr.get_account_id()}:repository/{names[0]}"
        return found

    ecr._describe_images = describe_images
    iam_actions.extract_resource_arn = extract_resource_arn


def _repositories(body: bytes | str) -> list[str]:
    try:
        names = json.loads(body or b"{}").get("repositoryNames") or []
    except (ValueError, AttributeError):
        return []
    return [name for name in names if isinstance(name, str)]
