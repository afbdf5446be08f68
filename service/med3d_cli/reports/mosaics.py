"""Still pictures of a head for its page: slices with the brain's outline, and the head beside the template."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from med3d_contract.pictures import BrainPicture, BrainPictures
from med3d_pipeline.preprocessing.alignment.template import Template
from med3d_pipeline.preprocessing.outline_pictures import outline_of, radiological
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.preprocessing.resampling import resample

SLICES = 7
"""In each plane."""
GAP_PX = 4
MARK = (235, 235, 235)
OUTLINE_RGB = (80, 200, 255)
SIDES = ("axial", "coronal")
"""Planes that show both sides; in the radiological view the patient's right is on the left."""
PIXELS_PER_VOXEL = 2
CUTS = ((2, (0.3, 0.45, 0.6)), (1, (0.45, 0.6)), (0, (0.4, 0.55)))
"""Axis and places, as shares of the grid, where head and template are cut."""


@dataclass(frozen=True)
class Mosaic:
    """A picture of a page. address: for an ``img``, the whole of it."""

    address: str
    caption: str


def outline_mosaic(pictures: BrainPictures) -> Image.Image:
    """Lay the slices of each plane in a row, with the sides marked."""
    rows = [_in_row([_marked(one) for one in pictures.pictures if one.plane == plane]) for plane in _planes(pictures)]
    return _stacked(rows)


def middle_of_each_plane(pictures: BrainPictures) -> list[BrainPicture]:
    """Return the middle slice of each plane: enough to know the head by."""
    planes = ([one for one in pictures.pictures if one.plane == plane] for plane in _planes(pictures))
    return [slices[len(slices) // 2] for slices in planes]


def side_by_side(pictures: BrainPictures) -> Image.Image:
    """Put the middle slices of a head beside each other, on black."""
    return _in_row([_marked(picture) for picture in middle_of_each_plane(pictures)])


def template_mosaic(head: Preprocessed, template: Template) -> Image.Image:
    """Put the head as the model sees it above the template, cut at the same places, the template's outline on both."""
    grid = (head.tensor.shape, head.tensor_affine, np.eye(4))
    brain = _scaled(resample(template.brain, *grid))
    inside = np.asarray(resample(template.mask, *grid) > 0.5)
    rows: tuple[list[Image.Image], list[Image.Image]] = ([], [])
    for axis, places in CUTS:
        for place in places:
            at = round(place * (head.tensor.shape[axis] - 1))
            outline = radiological(inside.astype(np.float32), axis, at) > 0.5
            for row, voxels in zip(rows, (_scaled(head.tensor), brain), strict=True):
                row.append(_outlined(radiological(voxels, axis, at), outline))
    return _stacked([_in_row(row) for row in rows])


def png(image: Image.Image) -> bytes:
    """Encode for a figure's file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def as_address(image: Image.Image) -> str:
    """Encode a picture as the address of an ``img``."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def thumbnail(figure: bytes, width_px: int = 420) -> str:
    """Encode a figure small enough for a page of many, as the address of an ``img``."""
    with Image.open(io.BytesIO(figure)) as image:
        small = image.convert("RGB")
        small.thumbnail((width_px, width_px))
        return as_address(small)


def _planes(pictures: BrainPictures) -> list[str]:
    return list(dict.fromkeys(one.plane for one in pictures.pictures))


def _in_row(images: Sequence[Image.Image]) -> Image.Image:
    row = Image.new("RGB", (sum(one.width for one in images) + GAP_PX * (len(images) - 1), _highest(images)))
    left = 0
    for one in images:
        row.paste(one, (left, (row.height - one.height) // 2))
        left += one.width + GAP_PX
    return row


def _stacked(rows: Sequence[Image.Image]) -> Image.Image:
    together = Image.new(
        "RGB", (max(row.width for row in rows), sum(row.height for row in rows) + GAP_PX * (len(rows) - 1))
    )
    top = 0
    for row in rows:
        together.paste(row, ((together.width - row.width) // 2, top))
        top += row.height + GAP_PX
    return together


def _highest(images: Sequence[Image.Image]) -> int:
    return max(one.height for one in images)


def _marked(picture: BrainPicture) -> Image.Image:
    with Image.open(io.BytesIO(base64.b64decode(picture.png_base64))) as image:
        plane = image.convert("RGB")
    if picture.plane in SIDES:
        drawing = ImageDraw.Draw(plane)
        drawing.text((3, 2), "R", fill=MARK)
        drawing.text((plane.width - 9, 2), "L", fill=MARK)
    return plane


def _scaled(voxels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    highest = float(np.percentile(voxels[voxels > 0], 99.0)) if (voxels > 0).any() else 1.0
    return np.asarray(np.clip(voxels / max(highest, 1e-6), 0, 1), dtype=np.float32)


def _outlined(cut: npt.NDArray[np.float32], inside: npt.NDArray[np.bool_]) -> Image.Image:
    larger = np.ones((PIXELS_PER_VOXEL, PIXELS_PER_VOXEL), dtype=np.float32)
    grey = np.kron(np.round(255 * cut), larger).astype(np.uint8)
    image = np.repeat(grey[:, :, None], 3, axis=2)
    image[outline_of(np.kron(inside, larger) > 0.5)] = OUTLINE_RGB
    return Image.fromarray(image)
