"""A parsed pipeline definition."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localcloud.sagemaker.pipelines.parameters import Parameter
from localcloud.sagemaker.pipelines.retries import RetryPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Where a nested step stands: in the if (`outcome` True) or else part of a Condition step."""

    condition: str
    outcome: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertyFile:
    """A JSON file that a step leaves in one of its outputs."""

    name: str
    output: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. A Condition step's `arguments` hold its conditions; its nested steps are steps of their own.

    Args:
        cached: whether earlier results may stand in for a run.
        cache_seconds: how old such a result may be; None for any age.
        target: what a Lambda step calls (a function's ARN) or a Callback step writes to (a queue's URL); may
            be an expression.
        outputs: the declared output parameters of such a step, name to type.
    """

    name: str
    type: str
    arguments: Mapping[str, Any]
    depends_on: tuple[str, ...] = ()
    display_name: str | None = None
    description: str | None = None
    cached: bool = False
    cache_seconds: float | None = None
    retries: tuple[RetryPolicy, ...] = ()
    property_files: Mapping[str, PropertyFile] = field(default_factory=dict)
    branch: Branch | None = None
    target: Any = None
    outputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def values(self) -> tuple[Any, ...]:
        """All that may hold expressions."""
        return (dict(self.arguments), self.target)


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition whose every reference is known to resolve.

    Args:
        steps: all steps by name, nested ones included, in the order of the definition.
        experiment: the unresolved `PipelineExperimentConfig`; empty when there is none.
    """

    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]
    experiment: Mapping[str, Any] = field(default_factory=dict)
