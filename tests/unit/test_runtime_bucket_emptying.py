"""Emptying a bucket of more versions than one page lists."""

import pytest
from storage_runtime.emptying import EmptyingError, empty

PAGE = 3


class FakeS3:
    """Versions, newest first. A page that is to begin after one which is gone holds no more of its key."""

    def __init__(self, versions, kept=()):
        self.versions = list(versions)
        self.kept = set(kept)

    def list_object_versions(self, Bucket, KeyMarker="", VersionIdMarker=""):
        listed = [item for item in self.versions if item[0] >= KeyMarker]
        if VersionIdMarker:
            marker = (KeyMarker, VersionIdMarker)
            own = [item for item in listed if item[0] == KeyMarker]
            left = own[own.index(marker) + 1 :] if marker in own else []
            listed = left + [item for item in listed if item[0] > KeyMarker]
        page = [{"Key": key, "VersionId": version} for key, version in listed[:PAGE]]
        # Every other one is a delete marker.
        return {"Versions": page[::2], "DeleteMarkers": page[1::2], "IsTruncated": len(listed) > PAGE}

    def get_paginator(self, _operation):
        return self

    def paginate(self, Bucket):
        marker = {}
        while True:
            page = self.list_object_versions(Bucket, **marker)
            last = max(
                [*page["Versions"], *page["DeleteMarkers"]], key=lambda item: item["Key"], default=None
            )
            yield page
            if not page["IsTruncated"]:
                return
            marker = {"KeyMarker": last["Key"], "VersionIdMarker": last["VersionId"]}

    def delete_objects(self, Bucket, Delete):
        errors = []
        for item in Delete["Objects"]:
            if item["Key"] in self.kept:
                errors.append({"Key": item["Key"], "Message": "kept"})
            else:
                self.versions.remove((item["Key"], item["VersionId"]))
        return {"Errors": errors} if errors else {}


def test_every_version_goes_although_markers_go_with_them():
    s3 = FakeS3([("a", str(number)) for number in range(7)] + [("b", "0"), ("b", "1")])
    assert empty(s3, "bucket") == 9
    assert s3.versions == []


def test_an_empty_bucket_is_left_alone():
    assert empty(FakeS3([]), "bucket") == 0


def test_what_may_not_go_ends_it():
    with pytest.raises(EmptyingError, match="1 objects of bucket could not be deleted; b: kept"):
        empty(FakeS3([("a", "0"), ("b", "0")], kept={"b"}), "bucket")
