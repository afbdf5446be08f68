"""Brain extraction with the two networks of deepbet.

L. Fisch et al., "deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks", Computers in
Biology and Medicine 179 (2024) 108845. The first network looks at the whole image and finds the box around the brain,
the second looks at that box and finds the brain.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.even_sampling import Shape, even_slabs, sample_evenly
from med3d_pipeline.preprocessing.resampling import block_means
from med3d_pipeline.runtime.onnx_sessions import OnnxSession
from med3d_pipeline.volume import Volume, Voxels

Mask = npt.NDArray[np.uint8]
Box = tuple[slice, slice, slice]

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
    """The sizes of a brain network's image by the names of its axes, for a session that sees no other grid."""
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
        """How much of each of the head's voxels is brain, 0 to 1."""
        shares = np.zeros(self.head.shape, dtype=np.float32)
        shares[self.box] = block_means(self.fine, (2, 2, 2))
        return Volume(voxels=shares, affine=self.head.affine)

    def on(self, native: Volume) -> Mask:
        """The mask at the nearest voxels of ``native``, whose axes are the head's, (X, Y, Z) uint8."""
        halves = np.diag([0.5, 0.5, 0.5, 1.0])
        halves[:3, 3] = np.array([side.start for side in self.box]) - 0.25
        to_fine = np.linalg.inv(self.head.affine @ halves) @ native.affine
        scale, offset = np.diag(to_fine)[:3], to_fine[:3, 3]
        mask = np.zeros(native.shape, dtype=np.uint8)
        inside, picked = [], []
        for axis in range(3):
            # A voxel's centre often lies on the border of two halves; rounding noise must not decide between them.
            nearest = np.floor(np.round(scale[axis] * np.arange(mask.shape[axis]) + offset[axis], 6) + 0.5)
            held = (nearest >= 0) & (nearest < self.fine.shape[axis])
            inside.append(np.flatnonzero(held))
            picked.append(nearest[held].astype(np.intp))
        mask[np.ix_(*inside)] = self.fine[np.ix_(*picked)]
        return mask


def enclosing_box(mask: Mask) -> Box:
    """The smallest box that holds all of ``mask``. Raises InputRefused("not_a_head") when the mask is empty."""
    sides = []
    for axis in range(3):
        held = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        if held.size == 0:
            raise no_brain()
        sides.append(slice(int(held[0]), int(held[-1]) + 1))
    return (sides[0], sides[1], sides[2])


def whole_brain(mask: Mask) -> Mask:
    """The largest part of ``mask`` with its cavities filled, looked for no farther out than the mask reaches."""
    box = enclosing_box(mask)
    whole = np.zeros_like(mask)
    whole[box] = fill_holes(largest_component(mask[box]))
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
    rough = _probability(networks.box_session, small, low, high) > 0.5
    box = brain_box(largest_component(rough.astype(np.uint8)), head.shape)
    inside = head.voxels[box]
    brain = _probability(networks.mask_session, sample_evenly(inside, MASK_GRID), low, high)
    x, y, z = inside.shape
    fine = np.empty((2 * x, 2 * y, 2 * z), dtype=np.uint8)
    for index, slab in enumerate(even_slabs(brain, fine.shape)):
        np.greater(slab, 0.5, out=fine[index], casting="unsafe")
    return BrainMask(head=head, box=box, fine=whole_brain(fine))


def no_brain() -> InputRefused:
    """What is said when there is nothing like a brain in the image."""
    return InputRefused(
        "not_a_head",
        "No brain was found in the image. Send a T1-weighted MRI of a whole head.",
    )


def brain_box(rough: Mask, shape: Shape) -> Box:
    """The box, in voxels of an image of ``shape``, around the brain in ``rough``, with a margin on each side.

    Raises InputRefused("not_a_head") where no slice holds enough brain.
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
        sides.append(slice(max(0, int(centre - width / 2)), min(size, int(centre + width / 2))))
    return (sides[0], sides[1], sides[2])


def largest_component(mask: Mask) -> Mask:
    """The largest 26-connected part of ``mask``. Raises InputRefused("not_a_head") when the mask is empty."""
    if not mask.any():
        raise no_brain()
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(mask), True)
    largest = sitk.RelabelComponent(parts, sortByObjectSize=True) == 1
    kept: Mask = sitk.GetArrayFromImage(largest)
    return kept


def fill_holes(mask: Mask) -> Mask:
    """``mask`` with the cavities filled that no face-connected path joins to the outside."""
    filled: Mask = sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(mask), False, 1))
    return filled


def _probability(session: OnnxSession, image: Voxels, low: float, high: float) -> Voxels:
    """What ``session`` finds in ``image``, which is scaled in place as in the networks' training, slab by slab."""
    total, squares = 0.0, 0.0
    for slab in image:
        np.subtract(slab, np.float32(low), out=slab)
        np.divide(slab, np.float32(high - low), out=slab)
        np.clip(slab, 0, 1, out=slab)
        # In float32 17 million voxels would not add up exactly enough to be the same everywhere.
        total += float(slab.sum(dtype=np.float64))
        squares += float(np.square(slab).sum(dtype=np.float64))
    mean = total / image.size
    variance = (squares - total * mean) / (image.size - 1)
    if variance < FLAT_VARIANCE:
        raise no_brain()
    scale = np.float32(INPUT_STD / np.sqrt(variance))
    shift = np.float32(INPUT_MEAN - mean * float(scale))
    for slab in image:
        np.multiply(slab, scale, out=slab)
        np.add(slab, shift, out=slab)
    brain: Voxels = session.run({"image": image[None, None]})["brain"][0, 0]
    return brain
