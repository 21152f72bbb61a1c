"""Pure parts of jobs and hosting: splitting, keys, metrics, reasons, plans."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.hosting import plan
from localcloud.sagemaker.jobs.failure import MAX_REASON, JobFailure, container_failed
from localcloud.sagemaker.jobs.layout import host_addresses, input_data_config, resource_config
from localcloud.sagemaker.jobs.metrics import MetricReader, pattern_problem
from localcloud.sagemaker.jobs.splitting import RecordTooLargeError, assemble, lines, payloads
from localcloud.sagemaker.jobs.storage import Item, relative_key, shard, split_uri

RECORDS = st.lists(
    st.binary(min_size=1, max_size=20).filter(lambda b: not set(b) & set(b"\r\n")), max_size=30
)
STRATEGIES = st.sampled_from(["SingleRecord", "MultiRecord"])


@given(RECORDS, STRATEGIES, st.integers(20, 60))
def test_payloads_hold_every_record_once_in_order(records: list[bytes], strategy: str, bound: int) -> None:
    bodies = list(payloads(records, strategy, bound))
    assert [record for body in bodies for record in body.split(b"\n")] == records
    assert all(len(body) <= bound for body in bodies)
    if strategy == "SingleRecord":
        assert bodies == records
    else:
        # No two neighbours would have fit into one request.
        assert all(len(first) + 1 + len(second.split(b"\n")[0]) > bound for first, second in pairwise(bodies))


@given(RECORDS)
def test_no_bound_means_one_request(records: list[bytes]) -> None:
    assert len(list(payloads(records, "MultiRecord", 0))) == bool(records)


def test_a_record_that_does_not_fit() -> None:
    with pytest.raises(RecordTooLargeError, match="record 2 has 5 bytes"):
        list(payloads([b"1", b"12345"], "MultiRecord", 4))


@given(RECORDS)
def test_lines_read_what_was_written(records: list[bytes]) -> None:
    for end in (b"\n", b"\r\n"):
        assert list(lines(io.BytesIO(b"".join(record + end for record in records)))) == records
    assert list(lines(io.BytesIO(b"\n".join(records)))) == records


def test_assembling() -> None:
    assert b"".join(assemble([b"a", b"b\n"], with_line=True)) == b"a\nb\n"
    assert b"".join(assemble([b"a", b"b"], with_line=False)) == b"ab"


@pytest.mark.parametrize(
    ("prefix", "key", "relative"),
    [
        ("in/", "in/a/b", "a/b"),
        ("in", "in/a/b", "a/b"),
        ("in/a.csv", "in/a.csv", "a.csv"),
        ("in/part", "in/part-1", "part-1"),
        ("in/part", "in/part-1/x", "part-1/x"),
        ("", "a/b", "a/b"),
        ("top", "top", "top"),
    ],
)
def test_where_an_object_goes(prefix: str, key: str, relative: str) -> None:
    assert relative_key(prefix, key) == relative


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("s3://b/k/model.tar.gz", ("b", "k/model.tar.gz")),
        ("s3://b", ("b", "")),
        ("https://b.s3.amazonaws.com/k/model.tar.gz", ("b", "k/model.tar.gz")),
        ("https://a.b.s3.eu-west-1.amazonaws.com/k%20k", ("a.b", "k k")),
        ("https://b-1.s3-us-east-1.amazonaws.com/k", ("b-1", "k")),
        ("https://s3.us-east-1.amazonaws.com/b/k/l", ("b", "k/l")),
        ("https://s3.cn-north-1.amazonaws.com.cn/b/k", ("b", "k")),
    ],
)
def test_where_an_object_lies(uri: str, found: tuple[str, str]) -> None:
    assert split_uri(uri) == found


@pytest.mark.parametrize("uri", ["b/k", "s3:///k", "https://example.com/b/k", "https://s3.evil.com/b/k"])
def test_what_is_no_place_in_s3(uri: str) -> None:
    with pytest.raises(JobFailure, match="not an S3 URI"):
        split_uri(uri)


@given(st.sets(st.text(min_size=1, max_size=5), max_size=20), st.integers(1, 5))
def test_shards_cover_every_key_once(keys: set[str], count: int) -> None:
    items = [Item("b", key, key, 1) for key in keys]
    shares = [shard(items, index, count, "ShardedByS3Key") for index in range(count)]
    assert sorted(item.key for share in shares for item in share) == sorted(keys)
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert shard(items, 1, count, "FullyReplicated") == items


def test_metrics_keep_the_last_number() -> None:
    reader = MetricReader(
        [
            {"Name": "loss", "Regex": r"loss=(\S+)"},
            {"Name": "none", "Regex": "never=([0-9]+)"},
            {"Name": "groupless", "Regex": "loss"},
        ]
    )
    reader.read(["loss=3", "loss=abc", "epoch 2 loss=1e-3", "other"])
    assert [(item["MetricName"], item["Value"]) for item in reader.final()] == [("loss", 0.001)]
    assert "metric x" in str(pattern_problem([{"Name": "x", "Regex": "("}]))
    assert pattern_problem([{"Name": "x", "Regex": "a"}]) is None


@pytest.mark.parametrize(
    ("message", "code", "reason"),
    [
        ("bad rows", 1, "AlgorithmError: bad rows, exit code: 1"),
        ("", 1, "AlgorithmError: , exit code: 1"),
        ("", 139, "AlgorithmError: the container was killed by signal 11, exit code: 139"),
    ],
)
def test_reasons(message: str, code: int, reason: str) -> None:
    assert container_failed(message, code).reason == reason


def test_a_long_message_keeps_the_exit_code() -> None:
    reason = container_failed("x" * 5000, 1).reason
    assert len(reason) <= MAX_REASON
    assert reason.endswith(", exit code: 1")


def test_hosts() -> None:
    config = resource_config(1, 3, "ml.m5.large")
    assert config["current_host"] == "algo-2"
    assert config["hosts"] == ["algo-1", "algo-2", "algo-3"]
    assert len(set(host_addresses(3).values())) == 3
    record: dict[str, Any] = {
        "AlgorithmSpecification": {"TrainingInputMode": "FastFile"},
        "InputDataConfig": [{"ChannelName": "a", "DataSource": {"S3DataSource": {"S3Uri": "s3://b/c"}}}],
    }
    assert input_data_config(record)["a"]["TrainingInputMode"] == "FastFile"


def test_retained_properties() -> None:
    config = {
        "ProductionVariants": [
            {"VariantName": "v", "ModelName": "m", "InitialVariantWeight": 1.0, "InitialInstanceCount": 1},
            {"VariantName": "new", "ModelName": "m", "InitialVariantWeight": 0.5, "InitialInstanceCount": 2},
        ]
    }
    fresh = plan.summaries(config, {"m": "image:1"}, 0.0)
    assert fresh[0]["DeployedImages"][0]["SpecifiedImage"] == "image:1"
    old = [{"VariantName": "v", "DesiredWeight": 0.25, "DesiredInstanceCount": 4}]
    kept = plan.retain(fresh, old, [])
    assert [(v["CurrentInstanceCount"], v["DesiredWeight"]) for v in kept] == [(4, 0.25), (2, 0.5)]
    partly = plan.retain(fresh, old, ["DesiredWeight"])
    assert [(v["DesiredInstanceCount"], v["CurrentWeight"]) for v in partly] == [(4, 1.0), (2, 0.5)]
