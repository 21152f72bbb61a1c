"""The administrator of the local account: an IAM user, since root may not even assume a role on AWS."""

from __future__ import annotations

import json
import secrets
import string
from datetime import UTC, datetime

from localcloud.context import Cloud, Credentials
from localcloud.folder import StateFolder, write_private

_NAME = "administrator"
_POLICY = "arn:aws:iam::aws:policy/AdministratorAccess"


def credentials(folder: StateFolder) -> Credentials:
    """The administrator's key: random, made once per state folder, in a file of mode 0600."""
    if not folder.credentials_json.exists():
        alphabet = string.ascii_uppercase + "234567"
        key = {
            "access_key_id": "AKIA" + "".join(secrets.choice(alphabet) for _ in range(16)),
            "secret_access_key": secrets.token_urlsafe(30),
        }
        write_private(folder.credentials_json, json.dumps(key))
    stored = json.loads(folder.credentials_json.read_text())
    return Credentials(access_key_id=stored["access_key_id"], secret_access_key=stored["secret_access_key"])


def install(cloud: Cloud, key: Credentials) -> None:
    """Make sure that the user exists, may do everything, and owns the key."""
    from ministack.core.responses import request_scope
    from ministack.services import iam

    with request_scope(cloud.account, cloud.region):
        if _NAME not in iam._users:
            iam._create_user({"UserName": [_NAME]})
            iam._attach_user_policy({"UserName": [_NAME], "PolicyArn": [_POLICY]})
        iam._access_keys[key.access_key_id] = {
            "UserName": _NAME,
            "AccessKeyId": key.access_key_id,
            "SecretAccessKey": key.secret_access_key,
            "Status": "Active",
            "CreateDate": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
