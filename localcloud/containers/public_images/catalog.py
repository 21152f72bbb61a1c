"""Which of AWS's public images run here, read from their URIs. No I/O but the look for a library.

https://docs.aws.amazon.com/sagemaker/latest/dg-ecr-paths/sagemaker-algo-docker-registry-paths.html
https://docs.aws.amazon.com/sagemaker/latest/dg/pre-built-containers-frameworks-deep-learning.html
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass

from localcloud.containers.public_images.registries import ALGORITHMS, DEEP_LEARNING, EVERY

_DOMAIN = r"\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|[a-z0-9.]+\.gov)"
_URI = re.compile(rf"(?P<account>\d{{12}}){_DOMAIN}/(?P<repository>[a-z0-9._/-]+):(?P<tag>[\w.-]+)")
# Any image of AWS's accounts, so that one which does not run here gets an answer of its own.
PATTERN = rf"(?:{'|'.join(sorted(EVERY))}){_DOMAIN}/.+"
SUPPORTED = (
    "sagemaker-xgboost (0.90-1 and later), xgboost:1, sagemaker-scikit-learn, pytorch-training and "
    "pytorch-inference"
)
_VERSION = re.compile(r"(?P<library>\d+\.\d+(?:\.\d+)?)(?:-(?P<image>\d+))?(?:-.*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A library that images are made for: the module it is imported as, and how it is installed.

    `pandas_2_since` is the first version whose images hold pandas 2.
    """

    name: str
    module: str
    distributions: tuple[str, ...]
    install: str
    pandas_2_since: tuple[int, int]


XGBOOST = Framework(
    name="xgboost",
    module="xgboost",
    distributions=("xgboost", "xgboost-cpu"),
    install="xgboost-cpu",
    pandas_2_since=(2, 0),
)
SKLEARN = Framework(
    name="sklearn",
    module="sklearn",
    distributions=("scikit-learn",),
    install="scikit-learn",
    pandas_2_since=(1, 4),
)
PYTORCH = Framework(
    name="pytorch", module="torch", distributions=("torch",), install="torch", pandas_2_since=(2, 1)
)
_REPOSITORIES: Mapping[str, tuple[Framework, frozenset[str]]] = {
    "xgboost": (XGBOOST, ALGORITHMS),
    "sagemaker-xgboost": (XGBOOST, ALGORITHMS),
    "sagemaker-scikit-learn": (SKLEARN, ALGORITHMS),
    **{
        f"pytorch-{kind}{variant}": (PYTORCH, DEEP_LEARNING)
        for kind in ("training", "inference")
        for variant in ("", "-graviton", "-arm64")
    },
}
_BESIDE = ("numpy", "pandas", "scikit-learn")


class NotPublicError(ValueError):
    """The URI is of no public image that runs here; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicImage:
    """A public image.

    Args:
        uri: as given.
        region: of the registry.
        framework: that it holds.
        version: of the framework, as the tag says: `1.7`; `0.72` for `xgboost:1`.
    """

    uri: str
    region: str
    framework: Framework
    version: str

    @property
    def pickles(self) -> bool:
        """Whether the XGBoost algorithm of this image pickles its model instead of saving it.

        https://docs.aws.amazon.com/sagemaker/latest/dg/xgboost.html
        """
        major, minor = (int(part) for part in self.version.split(".")[:2])
        return (major, minor) < (1, 3)

    @property
    def pandas(self) -> int:
        """Major version of the image's pandas, whose ways of before 2 scripts may rely on."""
        major, minor = (int(part) for part in self.version.split(".")[:2])
        return 2 if (major, minor) >= self.framework.pandas_2_since else 1

    def notes(self) -> tuple[str, ...]:
        """What differs from the real image, for the log of whatever runs it."""
        here = {name: found for name in _BESIDE if (found := _installed(name))}
        own = next(((n, v) for n in self.framework.distributions if (v := _installed(n))), ("", ""))
        versions = ", ".join(f"{name} {version}" for name, version in dict([own], **here).items())
        return (
            f"[local cloud] {self.uri.partition('/')[2]} is made for {self.framework.module} {self.version}; "
            f"it runs here with {versions}, Python {platform.python_version()}, without GPU",
        )


def read(uri: str) -> PublicImage:
    """The public image of a URI.

    Example:
        >>> image = read("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1")
        >>> image.framework.name, image.version
        ('xgboost', '1.7')

    Raises:
        NotPublicError: another image, or a library that is not installed.
    """
    found = _URI.fullmatch(uri)
    known = _REPOSITORIES.get(found["repository"]) if found else None
    if found is None or known is None or found["account"] not in known[1]:
        raise NotPublicError(
            f"the public image {uri} does not run on the local cloud, which runs {SUPPORTED}; use one of "
            "these, or build an image of your own with modelyard-docker and push it to the local ECR"
        )
    framework = known[0]
    version = _VERSION.fullmatch(found["tag"])
    if found["repository"] == "xgboost" and found["tag"] in {"1", "latest"}:
        library = "0.72"
    elif version is None or found["repository"] == "xgboost":
        raise NotPublicError(
            f"the public image {uri} has a tag that names no version of {framework.module}; get the URI from "
            f'sagemaker.image_uris.retrieve("{framework.name}", region, version=...)'
        )
    else:
        library = version["library"]
    if importlib.util.find_spec(framework.module) is None:
        raise NotPublicError(
            f"the public image {uri} needs {framework.module}, which is not installed beside the local "
            f"cloud; install it into that environment: pip install -c constraints.txt {framework.install}"
        )
    return PublicImage(uri=uri, region=found["region"], framework=framework, version=library)


def is_xgboost(uri: str) -> bool:
    """Whether the URI is of a public image with the XGBoost algorithm."""
    try:
        return read(uri).framework is XGBOOST
    except NotPublicError:
        return False


def problem(uri: str) -> str | None:
    """Why a URI that matches `PATTERN` cannot be run, None if it can."""
    try:
        read(uri)
    except NotPublicError as error:
        return str(error)
    return None


def _installed(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""
