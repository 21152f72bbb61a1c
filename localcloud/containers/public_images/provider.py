"""Makes images of AWS's public ones from the code in `runtime`, and offers them where images are pulled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from localcloud.containers import registry
from localcloud.containers.image import Image, ImageError, ImageStore
from localcloud.containers.public_images import catalog

_RUNTIME = Path(__file__).parent / "runtime"


def install() -> None:
    """Serve AWS's public images from now on."""
    if not registry.provided(_EXAMPLE):
        registry.provide(catalog.PATTERN, image_of)


_EXAMPLE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


def image_of(uri: str, store: ImageStore) -> Image:
    """The image that stands for a public one; ImageError if none does."""
    try:
        public = catalog.read(uri)
    except catalog.NotPublicError as error:
        raise ImageError(str(error)) from error
    image = store.build(
        _RUNTIME,
        build_args={
            "FRAMEWORK": public.framework.name,
            "MODEL_FORMAT": "pickle" if public.pickles else "ubj",
            "PANDAS": str(public.pandas),
        },
    )
    return replace(image, notes=public.notes())
