"""The records of a pipeline's versions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.pipelines import versions
from localcloud.sagemaker.pipelines.records import (
    DEFINITION,
    drop_definitions,
    load_definition,
    save_definition,
)
from localcloud.sagemaker.store import Store


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store(Path(":memory:"))
    yield store
    store.close()


def pipeline(store: Store, version: int, text: str) -> dict[str, Any]:
    return {
        "PipelineName": "P",
        "PipelineArn": "arn:p",
        "_Version": version,
        "_Definition": save_definition(store, text),
    }


def test_each_version_keeps_its_definition(store: Store) -> None:
    for number, text in enumerate(("one", "two"), 1):
        versions.add(store, pipeline(store, number, text))
    newest = pipeline(store, 2, "two")
    assert load_definition(store, versions.find(store, newest, None)["_Definition"]) == "two"
    assert load_definition(store, versions.find(store, newest, 1)["_Definition"]) == "one"
    with pytest.raises(ServiceError, match="has no version 3; its newest is 2"):
        versions.find(store, newest, 3)


def test_a_pipeline_from_before_versions_has_its_newest(store: Store) -> None:
    old = pipeline(store, 4, "text")
    assert versions.find(store, old, None)["PipelineVersionId"] == 4
    assert versions.find(store, old, 4)["_Definition"] == old["_Definition"]
    with pytest.raises(ServiceError, match="no version 3"):
        versions.find(store, old, 3)


def test_definitions_go_with_the_last_that_has_them(store: Store) -> None:
    one, other = pipeline(store, 1, "same"), {**pipeline(store, 1, "same"), "PipelineName": "Q"}
    versions.add(store, one)
    versions.add(store, other)
    drop_definitions(store, versions.forget(store, one))
    assert store.find(DEFINITION, one["_Definition"]) is not None
    drop_definitions(store, versions.forget(store, other))
    assert store.find(DEFINITION, one["_Definition"]) is None
