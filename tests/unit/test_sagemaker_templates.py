"""CloudFormation's SageMaker types, without CloudFormation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from localcloud.cloudformation import sagemaker as types
from localcloud.cloudformation.properties import PropertyError, refuse_unknown, typed
from localcloud.sagemaker import shapes
from localcloud.sagemaker.errors import ServiceError, validation
from localcloud.sagemaker.store import Store

ARN = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/"
Made = dict[str, types.SageMakerType]


class Endpoints:
    """Endpoints that get where `outcome` says at once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.outcome: dict[str, Any] = {"EndpointStatus": "InService"}

    def call(self, name: str, request: dict[str, Any], caller: object) -> dict[str, Any]:
        assert caller is None
        self.calls.append((name, request))
        endpoint = request.get("EndpointName", "")
        if name == "CreateEndpoint":
            if self.store.find("endpoint", endpoint):
                raise validation(f'Cannot create already existing endpoint "{ARN}{endpoint}".')
            record = {"EndpointArn": ARN + endpoint.lower(), **request, **self.outcome}
            self.store.create("endpoint", endpoint, record)
        elif name == "UpdateEndpoint":
            new = {"EndpointConfigName": request["EndpointConfigName"], **self.outcome}
            self.store.update("endpoint", endpoint, lambda record: record.update(new))
        elif name == "DeleteEndpoint":
            self.store.delete("endpoint", endpoint)
        elif name == "DescribeEndpoint":
            return self.store.get("endpoint", endpoint)
        return {}


@pytest.fixture
def endpoints(tmp_path: Path) -> Iterator[Endpoints]:
    store = Store(tmp_path / "s.db")
    yield Endpoints(store)
    store.close()


@pytest.fixture
def made(endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> Made:
    registered: Made = {}

    def register(name: str, handler: types.SageMakerType, *, name_property: str) -> None:
        assert name_property == name.rsplit("::", 1)[-1] + "Name"
        registered[name] = handler

    monkeypatch.setattr(types, "register_type", register)
    monkeypatch.setattr(types, "physical_name", lambda stack, logical, _longest: f"{stack}-{logical}-ABC")
    types.install(cast(Any, endpoints))
    return registered


def names(endpoints: Endpoints) -> list[str]:
    return [name for name, _ in endpoints.calls]


def test_the_four_types(made: Made) -> None:
    assert sorted(made) == [
        f"AWS::SageMaker::{noun}" for noun in ("Endpoint", "EndpointConfig", "Model", "ModelPackageGroup")
    ]
    assert made["AWS::SageMaker::Endpoint"].replace_on == {"EndpointName"}
    assert "ExecutionRoleArn" in made["AWS::SageMaker::Model"].replace_on


def test_replacing_properties_are_properties_of_the_api(made: Made) -> None:
    for handler in made.values():
        assert handler.replace_on <= set(shapes.input_shape(f"Create{handler.noun}").members)


def test_an_endpoint_is_created_and_named(made: Made, endpoints: Endpoints) -> None:
    created = made["AWS::SageMaker::Endpoint"].create("Serve", {"EndpointConfigName": "c"}, "Stack")
    assert created == (f"{ARN}stack-serve-abc", {"EndpointName": "Stack-Serve-ABC"})
    assert endpoints.calls[0] == (
        "CreateEndpoint",
        {"EndpointConfigName": "c", "EndpointName": "Stack-Serve-ABC"},
    )


def test_an_endpoint_that_fails_is_taken_away_and_says_why(made: Made, endpoints: Endpoints) -> None:
    endpoints.outcome = {"EndpointStatus": "Failed", "FailureReason": "The container did not answer /ping."}
    with pytest.raises(types.EndpointError, match=r"did not get into service with c: The container did not"):
        made["AWS::SageMaker::Endpoint"].create("E", {"EndpointConfigName": "c"}, "S")
    assert names(endpoints) == ["CreateEndpoint", "DeleteEndpoint"]


def test_a_name_that_is_taken_leaves_the_other_alone(made: Made, endpoints: Endpoints) -> None:
    endpoints.store.create("endpoint", "mine", {"EndpointStatus": "InService"})
    with pytest.raises(ServiceError, match="already existing"):
        made["AWS::SageMaker::Endpoint"].create("E", {"EndpointConfigName": "c", "EndpointName": "mine"}, "S")
    assert names(endpoints) == ["CreateEndpoint"]


@pytest.fixture
def update(made: Made) -> Callable[..., Any]:
    handler = made["AWS::SageMaker::Endpoint"]
    physical, _ = handler.create("E", {"EndpointConfigName": "c", "EndpointName": "e"}, "S")
    return lambda new, old=None: handler.update(physical, old or {"EndpointConfigName": "c"}, new, "S")


def test_an_update_keeps_what_it_is_told_to_keep(update: Callable[..., Any], endpoints: Endpoints) -> None:
    update({"EndpointConfigName": "d", "RetainAllVariantProperties": "true"})
    wanted = {"EndpointConfigName": "d", "RetainAllVariantProperties": True, "EndpointName": "e"}
    assert ("UpdateEndpoint", wanted) in endpoints.calls


def test_an_update_that_falls_back_fails(update: Callable[..., Any], endpoints: Endpoints) -> None:
    endpoints.outcome = {
        "EndpointConfigName": "c",
        "EndpointStatus": "InService",
        "FailureReason": "no memory",
    }
    with pytest.raises(types.EndpointError, match="with d: no memory"):
        update({"EndpointConfigName": "d"})


def test_the_roll_back_of_an_update_that_fell_back_does_nothing(
    update: Callable[..., Any], endpoints: Endpoints
) -> None:
    update({"EndpointConfigName": "c"}, {"EndpointConfigName": "d"})
    assert "UpdateEndpoint" not in names(endpoints)


def test_tags_change_in_place(update: Callable[..., Any], endpoints: Endpoints) -> None:
    old = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    new = [{"Key": "b", "Value": "3"}, {"Key": "c", "Value": "4"}]
    update({"EndpointConfigName": "c", "Tags": new}, {"EndpointConfigName": "c", "Tags": old})
    changes = [call for call in endpoints.calls if call[0].endswith("Tags")]
    assert changes == [
        ("DeleteTags", {"ResourceArn": f"{ARN}e", "TagKeys": ["a"]}),
        ("AddTags", {"ResourceArn": f"{ARN}e", "Tags": new}),
    ]


def test_deleting_what_is_gone_is_no_error(made: Made, endpoints: Endpoints) -> None:
    made["AWS::SageMaker::Endpoint"].delete(f"{ARN}none", {})
    assert endpoints.calls == []


def test_updating_what_is_gone_is_an_error(made: Made) -> None:
    with pytest.raises(ServiceError, match="does not exist any more"):
        made["AWS::SageMaker::Endpoint"].update(f"{ARN}none", {}, {}, "S")


@pytest.mark.parametrize(
    ("type_", "properties", "message"),
    [
        ("Model", {"Colour": "red"}, r"extraneous key \[Colour\] is not permitted"),
        (
            "ModelPackageGroup",
            {"ModelPackageGroupName": "g", "ModelPackageGroupPolicy": {}},
            "the local cloud does not support the property ModelPackageGroupPolicy",
        ),
        (
            "EndpointConfig",
            {"ProductionVariants": [{"InitialInstanceCount": "many"}]},
            "'many' is no integer",
        ),
        ("Endpoint", {"EndpointConfigName": "c", "Tags": "x"}, "'x' is no structure"),
    ],
)
def test_bad_properties(made: Made, type_: str, properties: dict[str, Any], message: str) -> None:
    with pytest.raises(PropertyError, match=message):
        made[f"AWS::SageMaker::{type_}"].create("L", properties, "S")


def test_properties_take_the_types_of_the_api() -> None:
    shape = shapes.input_shape("CreateEndpointConfig")
    variant = {
        "InitialInstanceCount": "2",
        "InitialVariantWeight": 1,
        "EnableSSMAccess": "false",
        "ModelName": 7,
    }
    properties = {"ProductionVariants": [variant], "KmsKeyId": None, "Unknown": 1}
    assert typed(properties, shape) == {
        "ProductionVariants": [
            {
                "ModelName": "7",
                "InitialInstanceCount": 2,
                "InitialVariantWeight": 1.0,
                "EnableSSMAccess": False,
            }
        ]
    }
    environment = {"PrimaryContainer": {"Environment": {"WORKERS": 2, "DEBUG": True}}}
    assert typed(environment, shapes.input_shape("CreateModel")) == {
        "PrimaryContainer": {"Environment": {"WORKERS": "2", "DEBUG": "true"}}
    }


def test_known_properties_pass() -> None:
    refuse_unknown("L", {"A": 1}, frozenset({"A"}), frozenset())
