"""Permissions of functions: actions that exist, and those that a function URL needs.

https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
"""

from __future__ import annotations

from modelyard_cli.check import iam_reference
from modelyard_cli.check.registry import Hits, template_rule
from modelyard_cli.check.templates.functions import ALIAS, function_of
from modelyard_cli.check.templates.model import Template, known

_PERMISSION, _URL = "AWS::Lambda::Permission", "AWS::Lambda::Url"


@template_rule(
    "MYT615",
    "A permission that does not fit its function's URL",
    "lambda:InvokeFunctionUrl with the FunctionUrlAuthType that the URL has as AuthType.",
)
def _fits(template: Template) -> Hits:
    urls = list(template.assembly.of(_URL))
    for permission in template.of(_PERMISSION):
        p = permission.properties
        action, kind = p.get("Action"), p.get("FunctionUrlAuthType")
        if isinstance(action, str) and known(action) and action != "*" and not iam_reference.actions(action):
            yield permission.at("Action"), f"there is no action {action}"
        elif kind and action == "lambda:InvokeFunction":
            yield permission.at("FunctionUrlAuthType"), "belongs to lambda:InvokeFunctionUrl only"
        if not kind or not isinstance(kind, str) or not known(kind):
            continue
        function = function_of(template, p.get("FunctionName"))
        kinds = {
            url.properties.get("AuthType")
            for url in urls
            if function is not None
            and function_of(template, url.properties.get("TargetFunctionArn")) is function
        }
        if kinds and kind not in kinds:
            yield permission.at("FunctionUrlAuthType"), f"is {kind}, but the URL's AuthType is {kinds.pop()}"


@template_rule(
    "MYT617",
    "A public function URL that answers nobody",
    "Permit lambda:InvokeFunctionUrl to Principal * with FunctionUrlAuthType NONE, or use AWS_IAM.",
)
def _closed(template: Template) -> Hits:
    for url in template.of(_URL):
        function = function_of(template, url.properties.get("TargetFunctionArn"))
        if url.properties.get("AuthType") != "NONE" or function is None:
            continue
        allowed = any(
            p.properties.get("Action") in ("lambda:InvokeFunctionUrl", "lambda:*", "*")
            and function_of(template, p.properties.get("FunctionName")) is function
            for p in template.assembly.of(_PERMISSION)
        )
        if not allowed:
            yield url.at("AuthType"), "is NONE, but no permission lets anybody in: every request is refused"


@template_rule(
    "MYT619",
    "A function URL for an alias that the function does not have",
    "Qualifier is the Name of an alias of this function; versions and $LATEST take no URL of their own.",
)
def _qualifiers(template: Template) -> Hits:
    for url in template.of(_URL):
        qualifier = url.properties.get("Qualifier")
        function = function_of(template, url.properties.get("TargetFunctionArn"))
        if not isinstance(qualifier, str) or not known(qualifier) or function is None:
            continue
        names = [
            str(alias.properties.get("Name"))
            for alias in template.assembly.of(ALIAS)
            if function_of(template, alias.properties.get("FunctionName")) is function
        ]
        if qualifier not in names and all(map(known, names)):
            have = ", ".join(names) or "none"
            yield url.at("Qualifier"), f"is {qualifier!r}; the aliases of {function.id} are: {have}"
