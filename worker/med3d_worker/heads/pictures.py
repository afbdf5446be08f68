"""The brain's outline and the reference cohort as objects in the store, in the contract's words."""

import base64
import hashlib
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import ValidationError

from med3d_contract.pictures import BrainMask, BrainPicture, BrainPictures, ReferenceCohort, reference_cohort_key
from med3d_contract.work import PreprocessedObject
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.preprocessing.orientation import as_read
from med3d_pipeline.preprocessing.outline_pictures import OUTLINE, OutlinePicture
from med3d_pipeline.study.study import SeriesInstances
from med3d_pipeline.volume import Volume
from med3d_store.object_store import StoreError
from med3d_worker.heads.tensors import Store

OUTLINE_RGB = (255, 170, 0)
TEST_RETEST: dict[Literal["brain_age", "sdmt"], str] = {
    "brain_age": "brain_age_within_subject_sd",
    "sdmt": "sdmt_within_subject_sd",
}
"""Metrics of a manifest, in years and points."""


def as_png(picture: OutlinePicture) -> BrainPicture:
    """Return eight bits a pixel: grey values, and one colour for the outline."""
    palette = [level for grey in range(OUTLINE) for level in (grey, grey, grey)]
    image = Image.fromarray(picture.pixels).convert("P")
    image.putpalette([*palette, *OUTLINE_RGB])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    height, width = picture.pixels.shape
    return BrainPicture(
        plane=picture.plane,
        width=width,
        height=height,
        pixel_mm=picture.pixel_mm,
        png_base64=base64.b64encode(buffer.getvalue()).decode(),
    )


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn of a head, and where its brain lies in the images. defaced: its face was taken away before."""

    pictures: tuple[OutlinePicture, ...]
    mask: BrainMask | None
    defaced: bool = False

    def as_stored(self) -> BrainPictures:
        """Return it in the contract's words."""
        pictures = tuple(as_png(picture) for picture in self.pictures)
        return BrainPictures(pictures=pictures, mask=self.mask, defaced=self.defaced)


def mask_on_images(head: Volume, brain_mask: npt.NDArray[np.uint8], read: SeriesInstances | None) -> BrainMask | None:
    """Lay a mask (axes closest to RAS) on the images as they were read; None for those that were no DICOM."""
    if read is None:
        return None
    mask = np.asarray(as_read(brain_mask, head.affine) > 0)
    packed = zlib.compress(np.packbits(mask.transpose(2, 1, 0)).tobytes(), 6)
    return BrainMask(
        shape=head.shape,
        affine=tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in head.affine),
        packed_base64=base64.b64encode(packed).decode(),
        slice_uids=read.slice_uids,
        slice_frames=read.slice_frames,
        frame_of_reference_uid=read.frame_of_reference_uid,
    )


class KeepsPictures(Protocol):
    """Where the pictures of a head go."""

    @property
    def deface(self) -> bool:
        """Whether it takes pictures of heads without their face alone."""
        ...

    def find(self, tensor_key: str) -> PreprocessedObject | None:
        """Return the pictures that were made with the tensor; None where they must be made."""
        ...

    def keep(self, tensor_key: str, drawn: Drawn) -> PreprocessedObject:
        """Keep the pictures of a head."""
        ...


class PicturesInHand:
    """Holds the pictures of the head that was looked at last, for who has no store."""

    deface = False

    def __init__(self) -> None:
        self.latest: BrainPictures | None = None

    def find(self, tensor_key: str) -> PreprocessedObject | None:  # noqa: ARG002 - the place of a store
        """Return None: each head's are made."""
        return None

    def keep(self, tensor_key: str, drawn: Drawn) -> PreprocessedObject:
        """Hold them in place of those before."""
        self.latest = drawn.as_stored()
        digest = hashlib.sha256(self.latest.model_dump_json().encode()).hexdigest()
        return PreprocessedObject(key=_key(tensor_key), sha256=digest)


class PictureStore:
    """Pictures lie beside the tensor that they belong to, under the same digest."""

    def __init__(self, store: Store, *, deface: bool = False) -> None:
        self._store, self.deface = store, deface

    def find(self, tensor_key: str) -> PreprocessedObject | None:
        """Return the pictures that were made with the tensor.

        None where they must be made again, without the face, too.
        """
        key = _key(tensor_key)
        if self._store.head(key) is None:
            return None
        try:
            data = self._store.get(key)
            found = BrainPictures.model_validate_json(data)
        except (StoreError, ValidationError):
            return None
        if self.deface and not found.defaced:
            return None
        return PreprocessedObject(key=key, sha256=hashlib.sha256(data).hexdigest())

    def keep(self, tensor_key: str, drawn: Drawn) -> PreprocessedObject:
        """Store the pictures of a head."""
        stored = self._store.put(_key(tensor_key), drawn.as_stored().model_dump_json().encode())
        return PreprocessedObject(key=stored.key, sha256=stored.sha256)


def _key(tensor_key: str) -> str:
    return "pictures/" + tensor_key.removeprefix("tensors/").removesuffix(".npz") + ".json"


def publish_cohort(store: Store, bundle_digest: str, cohort: ReferenceCohort) -> None:
    """Leave the cohort that reports compare a person with; the bundle's digest names it, so once is enough."""
    key = reference_cohort_key(bundle_digest)
    if store.head(key) is None:
        store.put(key, cohort.model_dump_json().encode())


def reference_cohort(name: str, space: LatentSpace, metrics: Mapping[str, float] | None = None) -> ReferenceCohort:
    """Return ages, held-out estimates and coordinates of the calibration subjects, rounded to what a chart can show.

    ``metrics``: the manifest's, of which the test-retest error is taken where it is stated.
    """
    stated = metrics or {}
    return ReferenceCohort(
        name=name,
        ages=tuple(round(float(age), 2) for age in space.ages),
        brain_ages=tuple(round(float(age + gap), 2) for age, gap in zip(space.ages, space.residuals, strict=True)),
        pls_age=tuple((round(float(x), 4), round(float(y), 4)) for x, y in space.cohort_pls_age),
        within_subject_sd={head: stated[name] for head, name in TEST_RETEST.items() if stated.get(name, 0.0) > 0},
    )
