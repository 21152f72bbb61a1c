"""An endpoint outlives the sessions of its role."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from localcloud.aws import identity
from localcloud.context import Credentials
from localcloud.sagemaker.hosting.instance import Instance, VariantSpec


@pytest.mark.parametrize(("left", "sessions"), [(timedelta(hours=1), 1), (timedelta(minutes=10), 2)])
def test_a_session_is_renewed_before_it_ends(
    monkeypatch: pytest.MonkeyPatch, left: timedelta, sessions: int
) -> None:
    asked: list[str] = []

    def assume_role(role_arn: str, **options: Any) -> Credentials:
        asked.append(options["source_arn"])
        return Credentials(
            access_key_id=f"ASIA{len(asked)}", secret_access_key="s", expiration=datetime.now(UTC) + left
        )

    monkeypatch.setattr(identity, "assume_role", assume_role)
    cloud = SimpleNamespace(region="r", client=lambda service, credentials: credentials)
    spec = VariantSpec(
        endpoint="e",
        config="c",
        name="v",
        container={"Image": "i"},
        role_arn="arn:role",
        model_arn="arn:model",
        isolated=False,
        start_seconds=1,
    )
    instance = Instance(cast(Any, cloud), cast(Any, None), cast(Any, None), cast(Any, None), spec)
    instance._storage()
    instance._storage()
    assert asked == ["arn:model"] * sessions
