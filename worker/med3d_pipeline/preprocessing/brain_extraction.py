"""Brain extraction with the two networks of deepbet.

L. Fisch et al., "deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks", Computers in
Biology and Medicine 179 (2024) 108845. The first network looks at the whole image and finds the box around the brain,
the second looks at that box and finds the brain.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.connected_parts import Mask, fill_cavities, largest_part
from med3d_pipeline.preprocessing.even_sampling import Box, Shape, Slab, even_slabs, sample_evenly, where_above
from med3d_pipeline.preprocessing.resampling import block_means
from med3d_pipeline.runtime.onnx_sessions import OnnxSession
from med3d_pipeline.volume import Volume, Voxels

# The grids, percentiles and input statistics that the networks were trained with.
BOX_GRID: Shape = (128, 128, 128)
MASK_GRID: Shape = (256, 256, 256)
INTENSITY_PERCENTILES = (0.5, 99.5)
INPUT_MEAN, INPUT_STD = 0.449, 0.226
BOX_MARGIN = 0.1
# A slice belongs to the box when more than this share of it is brain: stray voxels do not stretch the box.
LEAST_BRAIN_IN_SLICE = 0.02
# Of an image scaled to 0 to 1: less than this is a flat image and rounding.
FLAT_VARIANCE = 1e-10


@dataclass(frozen=True)
class BrainNetworks:
    """The two networks: brain_box.onnx and brain_mask.onnx of a bundle."""

    box_session: OnnxSession
    mask_session: OnnxSession


def axis_sizes(grid: Shape) -> dict[str, int]:
    """Return the sizes of a brain network's image by the names of its axes, for a session that sees no other grid."""
    return dict(zip(("x", "y", "z"), grid, strict=True))


@dataclass(frozen=True, eq=False)
class BrainMask:
    """Where the brain is in a head: whole voxels of half the head's spacing, in a box of the head's voxels.

    box: slices of the head's voxels. fine: (2X, 2Y, 2Z) uint8 over that box, 1 for brain.
    """

    head: Volume
    box: Box
    fine: Mask

    def share(self) -> Volume:
        """Tell how much of each of the head's voxels is brain, 0 to 1."""
        shares = np.zeros(self.head.shape, dtype=np.float32)
        shares[self.box] = block_means(self.fine, (2, 2, 2))
        return Volume(voxels=shares, affine=self.head.affine)

    def on(self, native: Volume) -> Mask:
        """Return the mask at the nearest voxels of ``native``, whose axes are the head's, (X, Y, Z) uint8."""
        halves = np.diag([0.5, 0.5, 0.5, 1.0])
        halves[:3, 3] = np.array([side.start for side in self.box]) - 0.25
        to_fine = np.linalg.inv(self.head.affine @ halves) @ native.affine
        scale, offset = np.diag(to_fine)[:3], to_fine[:3, 3]
        mask = np.zeros(native.shape, dtype=np.uint8)
        inside, nearest_brain = [], self.fine
        for axis in range(3):
            # A voxel's centre often lies on the border of two halves; rounding noise must not decide between them.
            nearest = np.floor(np.round(scale[axis] * np.arange(mask.shape[axis]) + offset[axis], 6) + 0.5)
            held = np.flatnonzero((nearest >= 0) & (nearest < self.fine.shape[axis]))
            inside.append(slice(int(held[0]), int(held[-1]) + 1) if held.size else slice(0))
            nearest_brain = nearest_brain.take(nearest[held].astype(np.intp), axis=axis)
        mask[tuple(inside)] = nearest_brain
        return mask


def enclosing_box(mask: Mask) -> Box:
    """Return the smallest box that holds all of ``mask``. Raises InputRefused("not_a_head") when the mask is empty."""
    sides = []
    for axis in range(3):
        held = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if held.size == 0:
            raise no_brain()
        sides.append(slice(int(held[0]), int(held[-1]) + 1))
    return (sides[0], sides[1], sides[2])


def whole_brain(mask: Mask) -> Mask:
    """Return the largest part of ``mask`` with its cavities filled, looked for no farther out than the mask reaches."""
    box = enclosing_box(mask)
    whole = np.zeros_like(mask)
    whole[box] = fill_cavities(largest_part(mask[box]))
    return whole


def extract_brain(head: Volume, networks: BrainNetworks) -> BrainMask:
    """Find the brain in a head whose axes run closest to RAS.

    deepbet picks the nearest voxels on the way into its networks and back; here both ways are linear, which gives
    smoother masks of the same quality and lets coarse heads through. Raises InputRefused("not_a_head") where the
    networks find no brain at all.
    """
    small = sample_evenly(head.voxels, BOX_GRID)
    low, high = np.percentile(small, INTENSITY_PERCENTILES)
    if not high > low:
        raise no_brain()
    rough = _probability(networks.box_session, _prepare(small, BOX_GRID, low, high)) > 0.5
    box = brain_box(largest_component(rough.view(np.uint8)), head.shape)
    inside = head.voxels[box]
    image = _prepare(even_slabs(inside, MASK_GRID), MASK_GRID, low, high)
    brain = _probability(networks.mask_session, image)
    x, y, z = inside.shape
    fine = where_above(brain, (2 * x, 2 * y, 2 * z), 0.5).view(np.uint8)
    return BrainMask(head=head, box=box, fine=whole_brain(fine))


def no_brain() -> InputRefused:
    """Return what is said when there is nothing like a brain in the image."""
    return InputRefused(
        "not_a_head",
        "No brain was found in the image. Send a T1-weighted MRI of a whole head.",
    )


def brain_box(rough: Mask, shape: Shape) -> Box:
    """Return the box, in voxels of an image of ``shape``, around the brain in ``rough``, with a margin on each side.

    Raises InputRefused("not_a_head") where no slice holds enough brain, or all of it is thinner than a voxel.
    """
    sides = []
    for axis, size in enumerate(shape):
        others = tuple(a for a in range(3) if a != axis)
        held = np.flatnonzero(rough.mean(axis=others) > LEAST_BRAIN_IN_SLICE)
        if held.size == 0:
            raise no_brain()
        first, end = int(held[0]), int(held[-1]) + 1
        scale = size / rough.shape[axis]
        centre = round(scale * (first + end) / 2)
        width = round(scale * (end - first) * (1 + 2 * BOX_MARGIN))
        side = slice(max(0, int(centre - width / 2)), min(size, int(centre + width / 2)))
        if not side.start < side.stop:  # thinner than a voxel
            raise no_brain()
        sides.append(side)
    return (sides[0], sides[1], sides[2])


def largest_component(mask: Mask) -> Mask:
    """Return the largest 26-connected part of ``mask``. Raises InputRefused("not_a_head") when the mask is empty."""
    box = enclosing_box(mask)
    largest = np.zeros_like(mask)
    largest[box] = largest_part(mask[box])
    return largest


def _prepare(slabs: Iterable[Slab], grid: Shape, low: float, high: float) -> Voxels:
    """Return an image of ``grid``, given slab by slab, cut to ``low`` and ``high`` and standardised.

    Raises InputRefused("not_a_head") for a flat image.
    """
    image = np.empty(grid, dtype=np.float32)
    total, squares = 0.0, 0.0
    for scaled, slab in zip(image, slabs, strict=True):
        np.subtract(slab, np.float32(low), out=scaled)
        np.divide(scaled, np.float32(high - low), out=scaled)
        np.clip(scaled, 0, 1, out=scaled)
        # In float32 17 million voxels would not add up exactly enough to be the same everywhere.
        total += float(scaled.sum(dtype=np.float64))
        squares += float(np.square(scaled).sum(dtype=np.float64))
    mean = total / image.size
    variance = (squares - total * mean) / (image.size - 1)
    if variance < FLAT_VARIANCE:
        raise no_brain()
    scale = np.float32(INPUT_STD / np.sqrt(variance))
    shift = np.float32(INPUT_MEAN - mean * float(scale))
    for scaled in image:
        np.multiply(scaled, scale, out=scaled)
        np.add(scaled, shift, out=scaled)
    return image


def _probability(session: OnnxSession, image: Voxels) -> Voxels:
    brain: Voxels = session.run({"image": image[None, None]})["brain"][0, 0]
    return brain
