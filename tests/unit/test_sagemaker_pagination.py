"""Pages: every item once, whatever comes and goes in between, and no forged tokens."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.errors import ServiceError
from localcloud.sagemaker.pagination import arrange, page


def walk(items: list[str], size: int) -> list[list[str]]:
    pages, request = [], {"MaxResults": size}
    while True:
        chosen, token = page(items, request, key=str)
        pages.append(chosen)
        if token is None:
            return pages
        request = {"MaxResults": size, "NextToken": token}


@given(count=st.integers(0, 60), size=st.integers(1, 20))
def test_pages_cover_everything_once(count: int, size: int) -> None:
    items = [f"item-{number}" for number in range(count)]
    pages = walk(items, size)
    assert [item for chosen in pages for item in chosen] == items
    assert all(len(chosen) == size for chosen in pages[:-1])
    assert len(pages) == max(1, -(-count // size))


@given(count=st.integers(2, 40), size=st.integers(1, 10), data=st.data())
def test_deleting_what_was_listed_and_adding_others_hides_nothing(
    count: int, size: int, data: st.DataObject
) -> None:
    items = [f"item-{number:03}" for number in range(count)]
    seen: list[str] = []
    request: dict[str, Any] = {"MaxResults": size}
    for turn in range(2 * count + 2):
        chosen, token = page(items, request, key=str)
        seen += chosen
        if token is None:
            break
        request = {"MaxResults": size, "NextToken": token}
        gone = data.draw(st.sets(st.sampled_from(seen)))
        items = [f"new-{turn}", *(item for item in items if item not in gone)]
    originals = [item for item in seen if item.startswith("item")]
    assert originals == [f"item-{number:03}" for number in range(count)]


@given(place=st.integers(0, 10_000), character=st.sampled_from(string.ascii_letters + string.digits + "-_=!"))
def test_changed_tokens_are_refused(place: int, character: str) -> None:
    items = [str(number) for number in range(40)]
    _, token = page(items, {}, key=str)
    assert token is not None
    place %= len(token)
    changed = token[:place] + character + token[place + 1 :]
    if changed != token:
        with pytest.raises(ServiceError, match="Invalid NextToken") as caught:
            page(items, {"NextToken": changed}, key=str)
        assert caught.value.code == "ValidationException"


@pytest.mark.parametrize("token", ["", "x", "é", "AAAA", "bm90IGEgdG9rZW4="])
def test_made_up_tokens_are_refused(token: str) -> None:
    with pytest.raises(ServiceError, match="Invalid NextToken"):
        page(["a"], {"NextToken": token}, key=str)


def test_a_token_belongs_to_its_filters() -> None:
    items = [str(number) for number in range(40)]
    _, token = page(items, {"NameContains": "a"}, key=str)
    with pytest.raises(ServiceError, match="same filters"):
        page(items, {"NameContains": "b", "NextToken": token}, key=str)
    assert page(items, {"NameContains": "a", "NextToken": token, "MaxResults": 3}, key=str)[0] == [
        "10",
        "11",
        "12",
    ]


RECORDS = [
    {"JobName": "beta", "CreationTime": 1.0, "LastModifiedTime": 9.0, "JobStatus": "Failed"},
    {"JobName": "Alpha", "CreationTime": 2.0, "LastModifiedTime": 8.0, "JobStatus": "Completed"},
    {"JobName": "alphabet", "CreationTime": 2.0, "LastModifiedTime": 7.0, "JobStatus": "Completed"},
]


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({}, ["alphabet", "Alpha", "beta"]),
        ({"SortOrder": "Ascending"}, ["beta", "Alpha", "alphabet"]),
        ({"SortBy": "Name", "SortOrder": "Ascending"}, ["Alpha", "alphabet", "beta"]),
        ({"SortBy": "LastModifiedTime"}, ["beta", "Alpha", "alphabet"]),
        ({"NameContains": "ALPHA"}, ["alphabet", "Alpha"]),
        ({"StatusEquals": "Failed"}, ["beta"]),
        ({"CreationTimeAfter": 1.5}, ["alphabet", "Alpha"]),
        ({"CreationTimeBefore": 1.0}, ["beta"]),
        ({"LastModifiedTimeAfter": 8.0, "LastModifiedTimeBefore": 8.0}, ["Alpha"]),
    ],
)
def test_filters_and_order(request_: dict[str, Any], names: list[str]) -> None:
    found = arrange(RECORDS, request_, name="JobName", status="JobStatus")
    assert [record["JobName"] for record in found] == names
