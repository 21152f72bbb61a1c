"""Where an image may lie: objects of one bucket below one prefix, in the ways in which people write that.

What is accepted becomes a key, and only that is used further on: an address is never opened.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
"""

from dataclasses import dataclass
from urllib.parse import unquote

from .errors import ApiError

_LONGEST_KEY = 1024
# Four bytes a character, each written as %XX.
_LONGEST_ADDRESS = 12 * _LONGEST_KEY


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlace:
    """Folder `prefix` (it ends in "/") of a bucket in a region."""

    bucket: str
    prefix: str
    region: str

    def key(self, address: str, what: str) -> str:
        """The key of the object that `address` names. Raises ApiError, whose message calls it `what`.

        >>> place = ImagePlace(bucket="data", prefix="images/", region="eu-west-1")
        >>> place.key("https://data.s3.eu-west-1.amazonaws.com/images/a%20b.png", "images[0]")
        'images/a b.png'
        """
        if len(address) > _LONGEST_ADDRESS:
            raise _refused(f"{what} has {len(address)} characters; no key of S3 is so long")
        if not address.isprintable() or any(mark in address for mark in "\\?#"):
            # Not even the key's own: they would mean something else in the address's other form.
            raise _refused(f"{what} holds a control character or one of \\ ? #; name the object alone")
        key = self._key(address)
        if key is None:
            raise _refused(f"{what} does not lie where images may: write s3://{self.bucket}/{self.prefix}...")
        if not key.isprintable() or any(mark in key for mark in "\\?#%"):
            raise _refused(f"{what} holds an encoded control character or one of \\ ? # %")
        if any(part in ("", ".", "..") for part in key.split("/")):
            raise _refused(f"{what} holds an empty folder or file name, or one of only dots")
        if not key.startswith(self.prefix):
            raise _refused(f"{what} does not lie below s3://{self.bucket}/{self.prefix}")
        if len(key.encode()) > _LONGEST_KEY:
            raise _refused(f"{what} is longer than the {_LONGEST_KEY} bytes of a key of S3")
        return key

    def _key(self, address: str) -> str | None:
        scheme, found, rest = address.partition("://")
        host, _, path = rest.partition("/")
        if not found:
            return None
        if scheme == "s3":
            return path if host == self.bucket else None
        if scheme != "https":
            return None
        # The whole host is compared: a user, a port or a longer name makes it another one.
        if host.lower() in {f"{self.bucket}.{service}" for service in self._services()}:
            return _decoded(path)
        if host.lower() in self._services():
            bucket, _, path = path.partition("/")
            return _decoded(path) if bucket == self.bucket else None
        return None

    def _services(self) -> set[str]:
        suffix = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        return {f"s3.{self.region}.{suffix}", f"s3.{suffix}"}


def _decoded(path: str) -> str | None:
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        return None


def _refused(message: str) -> ApiError:
    return ApiError(422, "image_not_allowed", message)
