"""A three-dimensional image and where its voxels lie in the patient."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Voxels = npt.NDArray[np.float32]
Affine = npt.NDArray[np.float64]
ROWS_IN_CACHE = 8


def in_order(view: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return ``view`` (X, Y, Z), axes turned or flipped, as a C-ordered array.

    A few rows at a time, to stay in the cache.
    """
    ordered = np.empty(view.shape, dtype=view.dtype)
    for row in range(0, view.shape[1], ROWS_IN_CACHE):
        ordered[:, row : row + ROWS_IN_CACHE] = view[:, row : row + ROWS_IN_CACHE]
    return ordered


def repeats_one_slice(voxels: Voxels) -> bool:
    """Tell whether all slices across one of the axes of ``voxels`` (X, Y, Z) are the same, voxel for voxel."""
    for axis, count in enumerate(voxels.shape):
        slices = np.moveaxis(voxels, axis, 0)
        middle = slices[count // 2]  # a head's first slices are empty, and alike
        if count > 1 and all(np.array_equal(one, middle, equal_nan=True) for one in slices):
            return True
    return False


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels with their place in space.

    voxels: (X, Y, Z) float32, C order; NaN or infinite where a NIfTI file says so, until ``raise_to_black``.
    affine: (4, 4) float64; maps voxel indices (i, j, k, 1) to RAS+ millimetres (x to the patient's right, y to the
    front, z to the top), as in NIfTI and nibabel.

    Raises ValueError when the shapes do not fit, voxels are complex or the affine is none.
    """

    voxels: Voxels
    affine: Affine

    def __post_init__(self) -> None:
        if np.iscomplexobj(self.voxels):
            raise ValueError("voxels are real numbers: of complex ones take the magnitude")
        voxels = np.ascontiguousarray(self.voxels, dtype=np.float32)
        affine = np.array(self.affine, dtype=np.float64)
        if voxels.ndim != 3:
            raise ValueError(f"a volume has three axes, not {voxels.ndim}")
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
            raise ValueError("an affine is a finite, invertible 4 x 4 matrix")
        if not np.allclose(affine[3], (0, 0, 0, 1), rtol=0, atol=1e-9):
            raise ValueError("the last row of an affine is 0, 0, 0, 1; a matrix for rows of points is to be transposed")
        voxels = voxels.view()
        voxels.flags.writeable = False  # the view only: the caller keeps what is theirs
        affine.flags.writeable = False
        object.__setattr__(self, "voxels", voxels)
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along each axis (X, Y, Z)."""
        x, y, z = self.voxels.shape
        return (x, y, z)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along each voxel axis, in millimetres."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return (float(x), float(y), float(z))

    @property
    def face_areas_cm2(self) -> tuple[float, float, float]:
        """Area of a voxel's face across each voxel axis, in square centimetres."""
        columns = self.affine[:3, :3].T
        x, y, z = (float(np.linalg.norm(np.cross(columns[axis - 2], columns[axis - 1]))) / 100 for axis in range(3))
        return (x, y, z)
