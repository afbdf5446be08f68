"""The three planes of a head with the brain's outline, side by side: one still picture."""

import base64
import io

from PIL import Image, ImageDraw

from med3d_contract.pictures import BrainPicture, BrainPictures

GAP_PX = 6
MARK = (235, 235, 235)
SIDES = ("axial", "coronal")
"""Planes that show both sides; in the radiological view the patient's right is on the left."""


def side_by_side(pictures: BrainPictures) -> Image.Image:
    """Put the planes of a head beside each other, on black, with the sides marked."""
    planes = [_marked(picture) for picture in pictures.pictures]
    width = sum(plane.width for plane in planes) + GAP_PX * (len(planes) - 1)
    together = Image.new("RGB", (width, max(plane.height for plane in planes)))
    left = 0
    for plane in planes:
        together.paste(plane, (left, (together.height - plane.height) // 2))
        left += plane.width + GAP_PX
    return together


def png(image: Image.Image) -> bytes:
    """Encode for the figure's file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def thumbnail(figure: bytes, width_px: int = 420) -> str:
    """Encode a figure small enough for a page of many, as the address of an ``img``."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(figure)) as image:
        small = image.convert("RGB")
        small.thumbnail((width_px, width_px))
        small.save(buffer, "JPEG", quality=78)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _marked(picture: BrainPicture) -> Image.Image:
    with Image.open(io.BytesIO(base64.b64decode(picture.png_base64))) as image:
        plane = image.convert("RGB")
    if picture.plane in SIDES:
        drawing = ImageDraw.Draw(plane)
        drawing.text((3, 2), "R", fill=MARK)
        drawing.text((plane.width - 9, 2), "L", fill=MARK)
    return plane
