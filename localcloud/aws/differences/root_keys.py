"""Nobody is root by knowing a key's name.

MiniStack takes the key `test`, any 12-digit key and no key at all for the account's root, and does
not check root's signature. On AWS every key has a secret, and every request is signed with it.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
"""

from __future__ import annotations


def apply() -> None:
    """Leave no key that is root; MiniStack's own calls between services do not come this way."""
    from ministack.core import iam_evaluator

    def is_root_access_key(_access_key_id: str) -> bool:
        return False

    iam_evaluator.is_root_access_key = is_root_access_key
