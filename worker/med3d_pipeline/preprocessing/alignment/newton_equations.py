"""The normal equations of an affine Gauss-Newton step, summed over a regular grid that lies along RAS.

Every sum is one of brightness (a product of gradients, or of a gradient and the residual) times a product of at most
two coordinates. Coordinates depend on one index each, so the grid is added up along its axes first, and only those
sums are multiplied by coordinates. A slab stays in the processor's cache. All sums keep their order: no BLAS, which
adds in an order that depends on the number of threads.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# The symmetric 3 x 3 products of gradients, by the place that each has among six; three more are for the residual.
PRODUCTS = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
FIELDS, SLOPES = 9, slice(6, 9)


@dataclass(frozen=True, eq=False)
class FixedImage:
    """The image that another one is aligned to, and what a step asks of it again and again.

    values: (X, Y, Z). gradient: (X, 3, Y, Z), per unit, slab by slab. coordinates: of the grid's points along each
    axis, in units; step: between two points, in units.
    """

    values: Array
    gradient: Array
    coordinates: tuple[Array, Array, Array]
    step: float
    mean: float
    centred: Array
    squares: float

    @classmethod
    def of(cls, values: Array, coordinates: tuple[Array, Array, Array], step: float) -> Self:
        """Work out what is needed of ``values`` (X, Y, Z)."""
        gradient = np.empty((values.shape[0], 3, *values.shape[1:]))
        for x in range(len(values)):
            _differentiate(values, x, step, gradient[x])
        mean = float(values.mean())
        centred = values - mean
        return cls(values, gradient, coordinates, step, mean, centred, float((centred * centred).sum()))


@dataclass(frozen=True, eq=False)
class Likeness:
    """A moving image on the fixed one's grid: values (X, Y, Z), correlation, and the gain and offset that fit best."""

    values: Array
    correlation: float
    gain: float
    offset: float


def compare(values: Array, fixed: FixedImage) -> Likeness:
    """Hold ``values`` (X, Y, Z) against the fixed image; an image without contrast is like nothing."""
    mean = float(values.mean())
    centred = values - mean
    squares, products = float((centred * centred).sum()), float((centred * fixed.centred).sum())
    size = float(np.sqrt(squares * fixed.squares))
    gain = products / squares if squares > 0 else 0.0
    return Likeness(values, products / size if size > 0 else 0.0, gain, fixed.mean - gain * mean)


def newton_equations(moving: Likeness, fixed: FixedImage) -> tuple[Array, Array]:
    """Return the (12, 12) matrix and (12,) right side for a change of an affine's first three rows, row by row.

    The gradient is the mean of both images': efficient second-order minimisation.
    """
    slabs, rows, columns = moving.values.shape
    over_x = np.zeros((FIELDS, rows, columns))
    over_y, over_z = np.empty((slabs, FIELDS, columns)), np.empty((slabs, FIELDS, rows))
    gradient, fields = np.empty((3, rows, columns)), np.empty((FIELDS, rows, columns))
    for x in range(slabs):
        _differentiate(moving.values, x, fixed.step, gradient)
        gradient *= moving.gain
        gradient += fixed.gradient[x]
        gradient *= 0.5
        np.multiply(gradient[0], gradient, out=fields[0:3])
        np.multiply(gradient[1], gradient[1:], out=fields[3:5])
        np.multiply(gradient[2], gradient[2], out=fields[5])
        np.multiply(gradient, moving.gain * moving.values[x] + moving.offset - fixed.values[x], out=fields[SLOPES])
        over_x += fields
        fields.sum(axis=1, out=over_y[x])
        fields.sum(axis=2, out=over_z[x])
    moments = _moments(over_x, over_y, over_z, fixed.coordinates)
    return moments[PRODUCTS].transpose(0, 2, 1, 3).reshape(12, 12), moments[SLOPES, :, 3].ravel()


def _differentiate(values: Array, x: int, step: float, out: Array) -> None:
    """Put central differences of slab ``x`` along the three axes into ``out`` (3, Y, Z).

    One-sided at the grid's ends.
    """
    before, after = max(x - 1, 0), min(x + 1, len(values) - 1)
    np.subtract(values[after], values[before], out=out[0])
    out[0] /= max(after - before, 1) * step
    slab = values[x]
    for along, found in ((slab, out[1]), (slab.T, out[2].T)):
        if len(along) < 2:
            found[:] = 0
            continue
        np.subtract(along[2:], along[:-2], out=found[1:-1])
        found[1:-1] /= 2 * step
        found[0], found[-1] = (along[1] - along[0]) / step, (along[-1] - along[-2]) / step


def _moments(over_x: Array, over_y: Array, over_z: Array, coordinates: tuple[Array, Array, Array]) -> Array:
    """Return the sums of each field times each product of two of (x, y, z, 1), as (FIELDS, 4, 4).

    over_x: (FIELDS, Y, Z), over_y: (X, FIELDS, Z), over_z: (X, FIELDS, Y): the fields, added up along one axis.
    """
    x, y, z = (np.stack([np.ones_like(along), along, along * along]) for along in coordinates)
    xy = np.einsum("ax,xfb->fab", x, np.einsum("xfy,by->xfb", over_z, y))
    xz = np.einsum("ax,xfc->fac", x, np.einsum("xfz,cz->xfc", over_y, z))
    yz = np.einsum("fyc,by->fbc", np.einsum("fyz,cz->fyc", over_x, z), y)
    found = (
        (xy[:, 2, 0], xy[:, 1, 1], xz[:, 1, 1], xy[:, 1, 0]),
        (xy[:, 1, 1], xy[:, 0, 2], yz[:, 1, 1], xy[:, 0, 1]),
        (xz[:, 1, 1], yz[:, 1, 1], xz[:, 0, 2], xz[:, 0, 1]),
        (xy[:, 1, 0], xy[:, 0, 1], xz[:, 0, 1], xy[:, 0, 0]),
    )
    return np.stack([np.stack(row, axis=1) for row in found], axis=1)
