"""Where the inference function finds images."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.storage import IDataBucket
from modelyard.storage.props import check_folder


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageSource:
    """A folder of images in S3; callers name objects in it, the function reads them.

    Args:
        data: The bucket.
        prefix: The folder, for example `images/`. What lies in it can be shown to every model by everyone who
            may call the function.

    Raises:
        ValueError: The prefix is not a folder.
    """

    data: IDataBucket
    prefix: str = "images/"

    def __post_init__(self) -> None:
        check_folder(self.prefix)
