"""Pipeline parameters, durations and retry delays: what their text or numbers mean."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localcloud.sagemaker.pipelines import durations
from localcloud.sagemaker.pipelines.parameters import Parameter, ParameterError, bind
from localcloud.sagemaker.pipelines.retries import (
    CAPACITY_ERROR,
    RESOURCE_LIMIT,
    SERVICE_FAULT,
    THROTTLING,
    RetryPolicy,
    retry_delay,
)

DECLARED = {
    p.name: p
    for p in (
        Parameter(name="Data", type="String"),
        Parameter(name="Count", type="Integer", default=1),
        Parameter(name="Threshold", type="Float", default=6.0),
        Parameter(name="Strict", type="Boolean", default=True),
        Parameter(name="Status", type="String", default="Pending", allowed=("Pending", "Approved")),
    )
}


def given_values(**values: str) -> list[dict[str, str]]:
    return [{"Name": name, "Value": value} for name, value in values.items()]


def test_values_have_their_types_and_the_rest_their_defaults() -> None:
    values = bind(DECLARED, given_values(Data="s3://b", Count="3", Threshold="1e-3", Strict="False"))
    assert values == {"Data": "s3://b", "Count": 3, "Threshold": 0.001, "Strict": False, "Status": "Pending"}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"Daat": "x"}, ["[Daat]", "Data"]),
        ({}, ["[Data]", "required"]),
        ({"Data": "x", "Count": "three"}, ["[Count]", "[three]", "Integer"]),
        ({"Data": "x", "Count": "3.0"}, ["Integer"]),
        ({"Data": "x", "Threshold": "nan"}, ["Float"]),
        ({"Data": "x", "Strict": "yes"}, ["Boolean"]),
        ({"Data": "x", "Status": "approved"}, ["[approved]", "Pending, Approved"]),
    ],
)
def test_wrong_values_are_refused(values: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ParameterError) as error:
        bind(DECLARED, given_values(**values))
    for word in words:
        assert word in str(error.value)


def test_a_parameter_is_given_once() -> None:
    with pytest.raises(ParameterError, match="more than once"):
        bind(DECLARED, given_values(Data="a") + given_values(Data="a"))


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans()))
def test_what_a_default_can_be_can_be_sent_as_text(value: float) -> None:
    kind = "Boolean" if isinstance(value, bool) else "Integer" if isinstance(value, int) else "Float"
    assert Parameter(name="P", type=kind).accepts(value)
    assert bind({"P": Parameter(name="P", type=kind)}, given_values(P=str(value))) == {"P": value}


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("P30D", 30 * 86400),
        ("30d", 30 * 86400),
        ("5y", 5 * 365 * 86400),
        ("PT1H", 3600),
        ("T16m", 960),
        ("30dT5h", 30 * 86400 + 5 * 3600),
        ("P1M", 30 * 86400),
        ("P2W", 14 * 86400),
        ("PT0S", 0),
    ],
)
def test_durations(text: str, length: float) -> None:
    assert durations.seconds(text) == length


@pytest.mark.parametrize("text", ["", "P", "30", "PT", "30dT", "-P1D", "P1H", "30 d", "P1DT1D"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        durations.seconds(text)


def test_retries_back_off_until_the_attempts_are_used_up() -> None:
    policy = RetryPolicy(exception_types=frozenset({CAPACITY_ERROR}), interval_seconds=2, max_attempts=3)
    delays = [retry_delay([policy], CAPACITY_ERROR, attempt=n, elapsed=0) for n in (1, 2, 3, 4)]
    assert delays == [2, 4, 8, None]


def test_retries_end_when_their_time_is_up() -> None:
    policy = RetryPolicy(
        exception_types=frozenset({RESOURCE_LIMIT}),
        interval_seconds=10,
        backoff_rate=1,
        expire_after_minutes=1,
    )
    assert retry_delay([policy], RESOURCE_LIMIT, attempt=3, elapsed=45) == 10
    assert retry_delay([policy], RESOURCE_LIMIT, attempt=3, elapsed=51) is None


def test_throttling_and_faults_are_retried_unasked_and_nothing_else() -> None:
    assert retry_delay([], THROTTLING, attempt=1, elapsed=0) == 1
    assert retry_delay([], SERVICE_FAULT, attempt=5, elapsed=0) == 16
    assert retry_delay([], SERVICE_FAULT, attempt=6, elapsed=0) is None
    assert retry_delay([], CAPACITY_ERROR, attempt=1, elapsed=0) is None
    assert retry_delay([], None, attempt=1, elapsed=0) is None


def test_a_policy_of_the_definition_stands_before_the_default() -> None:
    own = RetryPolicy(exception_types=frozenset({THROTTLING}), interval_seconds=7, max_attempts=1)
    assert retry_delay([own], THROTTLING, attempt=1, elapsed=0) == 7
    assert retry_delay([own], THROTTLING, attempt=2, elapsed=0) is None


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("Integer", "1_000"),
        ("Integer", " 1"),
        ("Integer", "\u0661"),
        ("Float", "NaN"),
        ("Float", "1_0.5"),
        ("Float", "inf"),
        ("Float", "1 "),
    ],
)
def test_what_only_python_reads_as_a_number_is_refused(kind: str, text: str) -> None:
    with pytest.raises(ParameterError, match="not of its type"):
        Parameter(name="p", type=kind).parse(text)
