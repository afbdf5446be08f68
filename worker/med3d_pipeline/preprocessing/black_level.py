"""The brightness that means "no signal" in an image, found from its voxels: every later step works above it.

Scanners store no signal as zero, but files arrive z-scored, scaled to [-1, 1], shifted by 1000 or -1024, with NaN or
-32768 where nothing was measured. Logarithms (bias field), centres of mass and signal over noise only mean something
above black; measured from there, no affine change of brightness changes anything.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from med3d_pipeline.counting import counted
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.resampling import coarsening_factors, voxels_to_hold
from med3d_pipeline.volume import Volume, Voxels, repeats_one_slice

SAMPLING_MM = 2.0
DARKEST_SHARE, BRIGHTEST_SHARE = 1e-3, 0.98
# A fill value: at least this share of the image, and a voxel beside one is one, too (noise of few grey levels is not).
LEAST_FILL_SHARE = 5e-4
LEAST_FILL_CONTIGUITY = 0.8
# Of the way from the darkest voxels that were measured to the median: a fill value nearer than this is their black.
# In units of the contrast, the way from the darkest to the brightest of the voxels that are no fill: what counts as
# dark, what as equally dark, and how far below a brain the value around it may lie.
DARK, SAME, FARTHEST_BELOW = 0.1, 0.05, 1.5
LEAST_BACKGROUND = 0.05  # of all voxels
LEAST_AIR = 0.1  # an image with this share of dark voxels shows air; in a brain, fluid is less
EDGE_MM = 3.0
MOST_BACKGROUND_IN_BRAIN = 0.01


@dataclass(frozen=True, eq=False)
class BlackLevel:
    """An image above its black, and what was found on the way.

    volume: 0 where there is no signal, no voxel below. black: the image's own value of that. not_measured: (X, Y, Z)
    bool, where a NaN or infinity stood; None where all voxels were numbers.
    """

    volume: Volume
    black: float
    not_measured: npt.NDArray[np.bool_] | None

    @property
    def not_measured_share(self) -> float:
        """Share of the voxels where no number stood."""
        return 0.0 if self.not_measured is None else float(self.not_measured.mean())


def raise_to_black(volume: Volume) -> BlackLevel:
    """Find the black of ``volume`` and return the image above it, fill values and what is no number set to 0.

    Raises InputRefused("not_finite") where no voxel is a number, InputRefused("constant_image") where all are equal,
    InputRefused("slice_repeated") where one slice stands in place of all.
    """
    sample = _sample(volume)
    ordered = np.sort(sample[np.isfinite(sample)])
    if not ordered.size:
        raise InputRefused(
            "not_finite",
            "No voxel of the image holds a number (all are NaN or infinite), as when a program divided by zero. Send "
            "the scanner's image as it was stored.",
        )
    if ordered[0] == ordered[-1] and np.ptp(volume.voxels[np.isfinite(volume.voxels)]) == 0:
        raise InputRefused(
            "constant_image",
            "All voxels of the image are equally bright: it shows nothing. Export the series again from the scanner or "
            "the PACS.",
        )
    if repeats_one_slice(volume.voxels):
        raise InputRefused(
            "slice_repeated",
            "All slices of the image are the same: one slice was written in place of each. Send the whole head as the "
            "scanner stored it; where it was converted, convert it again from all slices.",
        )
    fills = [value for value in sorted({float(ordered[0]), _most_frequent(ordered)}) if _fills(sample, value)]
    black = _black(ordered, fills)
    not_measured = None
    if not all(np.isfinite(slab).all() for slab in volume.voxels):
        not_measured = ~np.isfinite(volume.voxels)
    voxels = np.empty(volume.shape, dtype=np.float32)
    for above, slab in zip(voxels, volume.voxels, strict=True):
        np.subtract(slab, np.float32(black), out=above)
        for fill in fills:
            np.copyto(above, 0, where=slab == np.float32(fill))
    if not_measured is not None:
        voxels[not_measured] = 0
    np.maximum(voxels, 0, out=voxels)
    return BlackLevel(Volume(voxels=voxels, affine=volume.affine), black, not_measured)


def require_measured(brain_mask: npt.NDArray[np.uint8], black: BlackLevel) -> None:
    """Raise InputRefused("not_finite") where voxels inside the brain hold no number; outside they are background.

    The mask of a brain whose outside is NaN overlaps that outside a little: voxels near its edge do not count, nor
    does MOST_BACKGROUND_IN_BRAIN of the brain where the outside reaches into it, as after an extraction of its own.
    """
    if black.not_measured is None:
        return
    radius = [voxels_to_hold(EDGE_MM, spacing) for spacing in reversed(black.volume.spacing_mm)]  # ITK's axes: Z, Y, X
    core = sitk.GetArrayFromImage(sitk.BinaryErode(sitk.GetImageFromArray((brain_mask > 0).astype(np.uint8)), radius))
    enclosed = black.not_measured & (core > 0)
    inside = int(np.count_nonzero(enclosed))
    if inside <= MOST_BACKGROUND_IN_BRAIN * np.count_nonzero(core):
        enclosed &= ~_reached_from_border(black.not_measured)
        inside = int(np.count_nonzero(enclosed))
    if inside:
        which = counted(inside, "voxel inside the brain holds", "voxels inside the brain hold")
        raise InputRefused(
            "not_finite",
            f"{which} no number (NaN or infinite). Send the scanner's image as it was stored, or convert it again.",
            {"voxels": inside},
        )


def _reached_from_border(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return those of ``flags`` that a path of them, over corners, too, joins to the image's border."""
    padded = np.pad(flags, 1, constant_values=True).astype(np.uint8)
    corners = sitk.ConnectedThresholdImageFilter.FullConnectivity
    joined = sitk.ConnectedThreshold(sitk.GetImageFromArray(padded), [(0, 0, 0)], 1, 1, 1, corners)
    reached: npt.NDArray[np.bool_] = sitk.GetArrayFromImage(joined)[1:-1, 1:-1, 1:-1] > 0
    return reached


def _sample(volume: Volume) -> Voxels:
    """Take one voxel in about SAMPLING_MM along each axis: quantiles of the whole image without sorting it all."""
    x, y, z = coarsening_factors(volume, SAMPLING_MM)
    sample: Voxels = volume.voxels[::x, ::y, ::z]
    return sample


def _most_frequent(ordered: Voxels) -> float:
    """Return the value that most of the ``ordered`` voxels have exactly, the lowest of several."""
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    runs = np.diff(starts, append=ordered.size)
    return float(ordered[starts[runs.argmax()]])


def _fills(sample: Voxels, value: float) -> bool:
    """Tell whether ``value`` was written where nothing was measured: often, and in one piece."""
    same = sample == np.float32(value)
    if np.count_nonzero(same) < LEAST_FILL_SHARE * sample.size:
        return False
    return any(_in_one_piece(np.moveaxis(same, axis, 0)) for axis in range(3))


def _in_one_piece(same: npt.NDArray[np.bool_]) -> bool:
    held, pairs = np.count_nonzero(same[1:]), np.count_nonzero(same[1:] & same[:-1])
    return bool(held > 0 and pairs >= LEAST_FILL_CONTIGUITY * held)


def _black(ordered: Voxels, fills: list[float]) -> float:
    """Choose between the fill values and the darkest of the other voxels.

    Around a head there is air, whose darkest voxels saw nothing. Where all air was cut away, the fill value stands for
    it, unless it lies amid the brain's own brightness (a brain scaled to mean 0) or is far off (-32768).
    """
    others = ordered[~np.isin(ordered, np.array(fills, dtype=np.float32))]
    if not others.size:
        return fills[0]
    darkest, brightest = (float(others[int(share * (others.size - 1))]) for share in (DARKEST_SHARE, BRIGHTEST_SHARE))
    contrast = brightest - darkest
    dark = np.searchsorted(others, np.float32(darkest + DARK * contrast)) / others.size
    above, below = (SAME, SAME) if dark > LEAST_AIR else (DARK, FARTHEST_BELOW)
    # A padded slice or two beside air are no background, however near their value is to it.
    wide = [fill for fill in fills if np.count_nonzero(ordered == np.float32(fill)) >= LEAST_BACKGROUND * ordered.size]
    near = [fill for fill in wide if -below * contrast <= fill - darkest <= above * contrast]
    return min(near, key=lambda fill: abs(fill - darkest), default=darkest)
