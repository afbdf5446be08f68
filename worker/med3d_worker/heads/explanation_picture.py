"""The picture of an explanation: three planes of the head younger, as it is and older, and what changes."""

import base64
import io

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from med3d_contract.explanations import ExplanationPicture
from med3d_pipeline.explanation.explainer import STEP_YEARS, HeadExplanation
from med3d_pipeline.inference.encoder import Float32
from med3d_pipeline.preprocessing.outline_pictures import radiological

ENLARGED = 4
"""Pixels a voxel, so that the model's coarse grid is seen as what it is, but not as blocks."""
BRIGHTEST = 1.1
"""Of the tensor's unit: what is shown white."""
LIMIT = 0.1
"""Change of brightness, of the brain's range, with the strongest colour: the same for all heads, to compare them."""
DARKER_RGB, BRIGHTER_RGB = (70.0, 150.0, 255.0), (255.0, 110.0, 40.0)
INK, FAINT = (235, 235, 235), (170, 170, 170)
GAP, TITLE, BAR, FOOTER = 10, 26, 92, 24
_PLANES = (("axial", 2, "RL"), ("coronal", 1, "RL"), ("sagittal", 0, "AP"))
Pixels = npt.NDArray[np.uint8]


def explanation_picture(found: HeadExplanation) -> ExplanationPicture:
    """Draw it as PNG."""
    image = draw_explanation(found)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return ExplanationPicture(
        width=image.width, height=image.height, png_base64=base64.b64encode(buffer.getvalue()).decode()
    )


def draw_explanation(found: HeadExplanation) -> Image.Image:
    """Lay out one row for each plane, cut where the brain has its middle."""
    box = _around(found.head > 0)
    rows = [_row(found, box, axis) for _, axis, _ in _PLANES]
    width = max(sum(cell.width for cell in row) for row in rows) + 5 * GAP + BAR
    height = TITLE + sum(row[0].height + GAP for row in rows) + FOOTER
    picture = Image.new("RGB", (width, height), (0, 0, 0))
    draw, font, small = ImageDraw.Draw(picture), ImageFont.load_default(15), ImageFont.load_default(12)
    columns = [max(row[column].width for row in rows) for column in range(4)]
    lefts = [GAP + sum(columns[:column]) + GAP * column for column in range(4)]
    titles = (f"{STEP_YEARS:.0f} years younger", "this head", f"{STEP_YEARS:.0f} years older", "older minus this head")
    for left, title, column in zip(lefts, titles, columns, strict=True):
        draw.text((left + column // 2, TITLE // 2), title, INK, font, "mm")
    top = TITLE
    for row, (_, _, sides) in zip(rows, _PLANES, strict=True):
        for left, cell in zip(lefts, row, strict=True):
            picture.paste(cell, (left, top))
            draw.text((left + 3, top + cell.height // 2), sides[0], FAINT, small, "lm")
            draw.text((left + cell.width - 3, top + cell.height // 2), sides[1], FAINT, small, "rm")
        top += row[0].height + GAP
    _draw_bar(draw, small, (width - BAR, TITLE + 24, 16, top - TITLE - 60))
    said = "As the model's decoder believes, on its own grid; research use only. R, L, A, P: the patient's sides."
    draw.text((GAP, height - FOOTER // 2), said, FAINT, small, "lm")
    return picture


def _row(found: HeadExplanation, box: tuple[slice, slice, slice], axis: int) -> list[Image.Image]:
    inside = found.head[box] > 0
    at = round(float(np.average(np.arange(inside.shape[axis]), weights=_profile(inside, axis))))
    greys = [_enlarged(radiological(one[box], axis, at)) for one in (found.younger, found.head, found.older)]
    shown = [np.repeat(_grey(one)[:, :, None], 3, axis=2) for one in greys]
    change = _enlarged(radiological(found.difference[box], axis, at))
    return [Image.fromarray(one) for one in (*shown, _coloured(greys[1], change))]


def _coloured(grey: Float32, change: Float32) -> Pixels:
    """Colour where brightness changes, over the faint head."""
    strength = np.clip(np.abs(change) / LIMIT, 0, 1)[:, :, None]
    colour = np.where((change < 0)[:, :, None], DARKER_RGB, BRIGHTER_RGB)
    faint = 0.35 * _grey(grey).astype(np.float64)[:, :, None]
    return np.asarray(np.round((1 - strength) * faint + strength * colour), dtype=np.uint8)


def _draw_bar(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    frame: tuple[int, int, int, int],
) -> None:
    """Return the colours from brighter, above, to darker, with what they mean of the brain's range of brightness."""
    left, top, width, height = frame
    change = np.linspace(LIMIT, -LIMIT, height, dtype=np.float32)[:, None]
    for row, colour in enumerate(_coloured(np.zeros_like(change), change)[:, 0]):
        draw.line((left, top + row, left + width, top + row), tuple(int(level) for level in colour))
    for share, words in ((0.0, f"+{100 * LIMIT:.0f} %"), (0.5, "0"), (1.0, f"-{100 * LIMIT:.0f} %")):
        draw.text((left + width + 6, top + round(share * (height - 1))), words, INK, font, "lm")
    draw.text((left, top - 12), "brighter", FAINT, font, "lm")
    draw.text((left, top + height + 12), "darker", FAINT, font, "lm")


def _enlarged(cut: npt.NDArray[np.float32]) -> Float32:
    size = (cut.shape[1] * ENLARGED, cut.shape[0] * ENLARGED)
    image = Image.fromarray(np.ascontiguousarray(cut, dtype=np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC), dtype=np.float32)


def _grey(cut: Float32) -> Pixels:
    return np.asarray(np.round(np.clip(cut / BRIGHTEST, 0, 1) * 255), dtype=np.uint8)


def _around(inside: npt.NDArray[np.bool_]) -> tuple[slice, slice, slice]:
    sides = []
    for axis in range(3):
        held = np.flatnonzero(_profile(inside, axis))
        first, last = (int(held[0]), int(held[-1]) + 1) if len(held) else (0, inside.shape[axis])
        sides.append(slice(max(0, first - 1), min(inside.shape[axis], last + 1)))
    return (sides[0], sides[1], sides[2])


def _profile(inside: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.float64]:
    others = tuple(other for other in range(3) if other != axis)
    return np.asarray(inside.sum(axis=others), dtype=np.float64)
