"""A CT is known by its values; a head of MRI is none, whatever was added to it."""

import numpy as np
import pytest

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.preprocessing.hounsfield import refuse_hounsfield_units
from med3d_pipeline.volume import Volume
from rig.science import heads


def computed_tomography(padding: float | None = None) -> Volume:
    """Skin, skull and brain as a CT shows them, on a table in air."""
    shape, random = heads.SHAPE_2MM, np.random.default_rng(4)
    distance = np.sqrt(sum(((np.indices(shape)[axis] - shape[axis] / 2) * 2.0) ** 2 for axis in range(3)))
    units = np.where(distance < 70, 35.0, np.where(distance < 77, 900.0, np.where(distance < 82, -60.0, -1000.0)))
    units += random.normal(0, 12, shape)
    if padding is not None:
        x, y = np.ogrid[: shape[0], : shape[1]]
        units[(x - shape[0] / 2) ** 2 + (y - shape[1] / 2) ** 2 > 46**2] = padding
    return Volume(np.round(units).astype(np.float32), heads.ISOTROPIC_2MM)


@pytest.mark.parametrize("padding", [None, -2000.0, -3024.0])
def test_a_ct_is_refused_by_name(padding: float | None) -> None:
    with pytest.raises(InputRefused) as refused:
        refuse_hounsfield_units(computed_tomography(padding))
    assert refused.value.code == "ct_values"


@pytest.mark.parametrize(("gain", "offset"), [(1, 0), (1, -1000), (1, -1024), (4, -1000), (8, -1024), (0.01, -1000)])
def test_a_head_of_mri_is_no_ct_whatever_was_added_to_it(gain: float, offset: float) -> None:
    head = heads.averaged_by_two(heads.average_head())
    voxels = (gain * 200 / np.percentile(head.voxels, 95) * head.voxels + offset).astype(np.float32)
    refuse_hounsfield_units(Volume(voxels, head.affine))


def test_noise_and_a_constant_image_are_no_ct() -> None:
    refuse_hounsfield_units(heads.noise())
    refuse_hounsfield_units(heads.constant())
