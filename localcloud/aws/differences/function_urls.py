"""A function URL leads here, not to AWS.

MiniStack answers with AWS's own host (`ID.lambda-url.REGION.on.aws`), which would send a signed request
with its body out into the world. Here it is `https://localhost:PORT/_aws/lambda-url/ID/`, which every
client resolves, and which MiniStack serves like the other.
"""

from __future__ import annotations

import json
from typing import Any

from localcloud.context import Cloud

_PATH = "/_aws/lambda-url/"


def apply(cloud: Cloud) -> None:
    """Rewrite the URL of every function, also of those that an earlier run on another port made."""
    from ministack.services import lambda_svc

    create, identify = lambda_svc._create_function_url_config, lambda_svc._function_url_id

    def local(url: str) -> str:
        return f"{cloud.endpoint_url}{_PATH}{url_id(url)}/"

    def url_id(url: str) -> Any:
        return url.partition(_PATH)[2].strip("/") if _PATH in url else identify(url)

    def create_function_url_config(func_name: str, data: dict[str, Any], qualifier: str | None) -> Any:
        status, headers, body = create(func_name, data, qualifier)
        if status != 201:
            return status, headers, body
        config = lambda_svc._function_urls[lambda_svc._url_config_key(func_name, qualifier)]
        config["FunctionUrl"] = local(config["FunctionUrl"])
        return status, headers, json.dumps(config).encode()

    lambda_svc._create_function_url_config = create_function_url_config
    lambda_svc._function_url_id = url_id
    for _scope, config in lambda_svc._function_urls.all_items():
        config["FunctionUrl"] = local(config["FunctionUrl"])
