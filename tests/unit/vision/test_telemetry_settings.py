"""What the environment may say, and what is refused."""

from __future__ import annotations

import pytest

from training.common.failure import UserError
from training.vision.telemetry.settings import Settings, read_settings


def test_nothing_needs_to_be_said() -> None:
    assert read_settings({}) == Settings()


def test_metrics_which_are_billed_are_told_where_somebody_watches() -> None:
    assert read_settings({"JOB_NAME": "dogs"}).target == "off"
    assert read_settings({"TRAINING_CLUSTER": "gpu"}).target == "stdout"
    assert read_settings({"TELEMETRY": "stdout"}).target == "stdout"
    assert read_settings({"TRAINING_CLUSTER": "gpu", "TELEMETRY": "off"}).target == "off"


def test_everything_can_be_said() -> None:
    said = {
        "TRAINING_CLUSTER": "gpu",
        "JOB_NAME": "dogs",
        "TRAINING_JOB_NAME": "of-sagemaker",
        "ATTEMPT": "3",
        "ATTEMPT_STARTED": "1800000000.5",
        "PAID_NODE_SECONDS": "7200",
        "PRICE_PER_HOST_HOUR": "1.212",
        "TELEMETRY": "/tmp/telemetry",
        "TELEMETRY_SECONDS": "2.5",
        "WANDB_PROJECT": "dogs",
    }
    assert read_settings(said) == Settings(
        cluster="gpu",
        job="dogs",
        attempt=3,
        began=1800000000.5,
        before=7200.0,
        price=1.212,
        target="/tmp/telemetry",
        seconds=2.5,
        project="dogs",
    )
    assert read_settings({"TRAINING_JOB_NAME": "of-sagemaker"}).job == "of-sagemaker"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PRICE_PER_HOST_HOUR", "3 dollars", "PRICE_PER_HOST_HOUR must be a number, got '3 dollars'"),
        ("PRICE_PER_HOST_HOUR", "nan", "PRICE_PER_HOST_HOUR must be a number"),
        ("PRICE_PER_HOST_HOUR", "-1", "PRICE_PER_HOST_HOUR must not be negative"),
        ("PAID_NODE_SECONDS", "-1", "PAID_NODE_SECONDS must not be negative"),
        ("TELEMETRY_SECONDS", "0", "TELEMETRY_SECONDS must be above 0"),
        ("TELEMETRY_SECONDS", "inf", "TELEMETRY_SECONDS must be a number"),
        ("ATTEMPT", "0", "ATTEMPT must be at least 1"),
        ("JOB_NAME", "Hündin", "JOB_NAME must be 1 to 255 printable ASCII"),
        ("JOB_NAME", "x" * 256, "JOB_NAME must be 1 to 255 printable ASCII"),
        ("TRAINING_CLUSTER", "a\nb", "TRAINING_CLUSTER must be 1 to 255 printable ASCII"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(name: str, value: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as refusal:
        read_settings({name: value})
    assert "\n" not in str(refusal.value)
