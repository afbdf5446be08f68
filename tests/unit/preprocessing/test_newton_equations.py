"""The equations of a step, held against their sums written out voxel by voxel."""

import numpy as np

from med3d_pipeline.preprocessing.alignment.newton_equations import FixedImage, compare, newton_equations

SHAPE, STEP = (7, 9, 8), 0.03


def images() -> tuple[np.ndarray, FixedImage]:
    random = np.random.default_rng(3)
    moving, fixed = random.random(SHAPE), random.random(SHAPE)
    x, y, z = (STEP * np.arange(n) - start for n, start in zip(SHAPE, (0.1, 0.2, 0.05), strict=True))
    return moving, FixedImage.of(fixed, (x, y, z), STEP)


def test_the_equations_are_sums_over_all_voxels() -> None:
    moving, fixed = images()
    likeness = compare(moving, fixed)
    gradient = np.stack(
        [
            (likeness.gain * ours + theirs) / 2
            for ours, theirs in zip(np.gradient(moving, STEP), np.gradient(fixed.values, STEP), strict=True)
        ]
    )
    places = np.stack([*np.meshgrid(*fixed.coordinates, indexing="ij"), np.ones(SHAPE)])
    derivatives = np.stack([g * p for g in gradient for p in places]).reshape(12, -1)
    residual = (likeness.gain * moving + likeness.offset - fixed.values).ravel()
    matrix, right = newton_equations(likeness, fixed)
    assert np.allclose(matrix, derivatives @ derivatives.T, rtol=1e-12, atol=1e-12 * np.abs(matrix).max())
    assert np.allclose(right, derivatives @ residual, rtol=1e-10, atol=1e-12)


def test_gain_and_offset_are_those_of_least_squares() -> None:
    moving, fixed = images()
    likeness = compare(moving, fixed)
    gain, offset = np.polyfit(moving.ravel(), fixed.values.ravel(), 1)
    assert np.allclose((likeness.gain, likeness.offset), (gain, offset))
    assert np.isclose(likeness.correlation, np.corrcoef(moving.ravel(), fixed.values.ravel())[0, 1])


def test_an_image_without_contrast_is_like_nothing() -> None:
    _, fixed = images()
    flat = compare(np.full(SHAPE, 3.0), fixed)
    assert (flat.correlation, flat.gain) == (0.0, 0.0)
