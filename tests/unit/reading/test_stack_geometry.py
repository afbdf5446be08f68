from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_plane import PatientAttributes, Plane, SequenceFacts
from med3d_pipeline.reading.stack_geometry import assemble_stack

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def plane_at(position, orientation=(1, 0, 0, 0, 1, 0), spacing=(1.0, 1.0), rows=20, columns=30):
    return Plane(
        path=Path("x"), uid="1", series_uid="1", series_number=1, frame=0, frames_in_file=1, rows=rows,
        columns=columns, pixel_spacing_mm=spacing, orientation=tuple(map(float, orientation)),
        position_mm=tuple(map(float, position)), rescale_slope=1.0, rescale_intercept=0.0, stack="", temporal=(),
        pixel_data="whole", facts=SequenceFacts(), patient=PatientAttributes(),
    )  # fmt: skip


def straight_stack(count=10, step=1.5):
    return [plane_at((0, 0, index * step)) for index in range(count)]


def code_of(planes):
    with pytest.raises(InputRefused) as refused:
        assemble_stack(planes)
    assert refused.value.reason.endswith(".")
    return refused.value.code


def test_a_straight_stack_gets_the_affine_of_the_dicom_standard():
    geometry = assemble_stack(straight_stack(count=6, step=1.5))
    assert geometry.shape == (30, 20, 6)
    np.testing.assert_allclose(geometry.affine, np.diag([-1.0, -1.0, 1.5, 1.0]))
    assert geometry.extent_mm == pytest.approx((30, 20, 9))


def test_pixel_spacing_names_the_row_distance_first():
    planes = [plane_at((0, 0, index), spacing=(0.5, 2.0)) for index in range(5)]
    assert assemble_stack(planes).spacing_mm == pytest.approx((2.0, 0.5, 1.0))


def rotation_from(quaternion):
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


rotations = (
    hnp.arrays(np.float64, 4, elements=st.floats(-1, 1))
    .filter(lambda values: np.linalg.norm(values) > 0.1)
    .map(rotation_from)
)


@given(
    axes=rotations,
    origin=hnp.arrays(np.float64, 3, elements=st.floats(-300, 300)),
    steps=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3), st.floats(0.3, 8)),
    count=st.integers(4, 40),
    order=st.randoms(use_true_random=False),
)
def test_any_orientation_and_any_order_of_planes_gives_back_the_true_affine(axes, origin, steps, count, order):
    columns_mm, rows_mm, slices_mm = steps
    planes = [
        plane_at(origin + index * slices_mm * axes[:, 2], (*axes[:, 0], *axes[:, 1]), (rows_mm, columns_mm))
        for index in range(count)
    ]
    shuffled = list(planes)
    order.shuffle(shuffled)
    geometry = assemble_stack(shuffled)
    truth = np.eye(4)
    truth[:3, :3] = LPS_TO_RAS @ axes * np.array(steps)
    truth[:3, 3] = LPS_TO_RAS @ origin
    np.testing.assert_allclose(geometry.affine, truth, atol=1e-8)
    assert [shuffled[index] for index in geometry.order] == planes


@given(axes=rotations, missing=st.integers(1, 18))
def test_one_missing_slice_is_found_wherever_it_was_and_however_the_stack_lies(axes, missing):
    planes = [plane_at(index * 0.9 * axes[:, 2], (*axes[:, 0], *axes[:, 1])) for index in range(20)]
    del planes[missing]
    assert code_of(planes) == "missing_slices"


def test_several_missing_slices_are_counted():
    planes = straight_stack(count=20)
    del planes[3], planes[7], planes[7]
    with pytest.raises(InputRefused, match=r"^missing_slices: 3 slices are missing"):
        assemble_stack(planes)


def test_one_missing_slice_is_told_as_one():
    planes = straight_stack(count=20)
    del planes[3]
    with pytest.raises(InputRefused, match=r"^missing_slices: 1 slice is missing"):
        assemble_stack(planes)


def test_a_slice_given_twice_is_a_duplicate():
    planes = straight_stack()
    assert code_of([*planes, planes[4]]) == "duplicate_slices"


def test_slices_all_at_one_place_are_duplicates_not_a_volume():
    assert code_of([plane_at((0, 0, 5))] * 4) == "duplicate_slices"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_than_four_slices_are_no_volume(count):
    assert code_of(straight_stack(count=count)) == "missing_slices"


@pytest.mark.parametrize("shift", [(0, 0, 0.6), (0, 0, -0.3), (2.0, 0, 0), (0, 0.5, 0)])
def test_one_slice_shifted_in_any_direction_is_uneven(shift):
    planes = straight_stack()
    planes[5] = plane_at(np.array([0, 0, 5 * 1.5]) + shift)
    assert code_of(planes) == "uneven_spacing"


def test_a_growing_distance_is_uneven():
    assert code_of([plane_at((0, 0, index**1.3)) for index in range(12)]) == "uneven_spacing"


@pytest.mark.parametrize("tilt_deg", [1.0, 5.0, 15.0, -20.0])
def test_a_leaning_stack_is_gantry_tilt(tilt_deg):
    lean = np.tan(np.radians(tilt_deg))
    assert code_of([plane_at((0, index * lean, index)) for index in range(10)]) == "gantry_tilt"


@pytest.mark.parametrize("lean", [0.0, 0.012], ids=["none", "a little"])
def test_slices_beside_one_another_contradict_their_orientation(lean):
    planes = [plane_at((0.0, float(index), lean * index)) for index in range(10)]
    assert code_of(planes) == "invalid_geometry"


def test_a_lean_below_half_a_degree_is_kept_in_the_affine():
    planes = [plane_at((0, index * 0.005, index)) for index in range(10)]
    assert assemble_stack(planes).affine[1, 2] == pytest.approx(-0.005)


@given(angle_deg=st.floats(0.5, 90), which=st.integers(0, 9))
def test_one_slice_that_faces_another_way_is_mixed_orientation(angle_deg, which):
    planes = straight_stack()
    angle = np.radians(angle_deg)
    turned = (1, 0, 0, 0, np.cos(angle), np.sin(angle))
    planes[which] = plane_at(planes[which].position_mm, turned)
    assert code_of(planes) == "mixed_orientation"


@pytest.mark.parametrize("change", [{"rows": 21}, {"columns": 29}, {"pixel_spacing_mm": (1.0, 1.1)}])
def test_one_slice_with_another_grid_is_mixed_size(change):
    planes = straight_stack()
    planes[2] = replace(planes[2], **change)
    assert code_of(planes) == "mixed_size"


@pytest.mark.parametrize(
    "change",
    [
        {"position_mm": None},
        {"orientation": None},
        {"pixel_spacing_mm": None},
        {"pixel_spacing_mm": (0.0, 1.0)},
        {"orientation": (1.0, 0.0, 0.0, 0.5, 0.8, 0.0)},
        {"orientation": (0.0,) * 6},
        {"rows": 0},
    ],
)
def test_absent_or_impossible_geometry_is_refused(change):
    planes = straight_stack()
    planes[-1] = replace(planes[-1], **change)
    assert code_of(planes) == "invalid_geometry"


@given(noise=hnp.arrays(np.float64, (30, 3), elements=st.floats(-0.004, 0.004)))
def test_rounding_of_positions_to_a_hundredth_is_borne(noise):
    planes = [plane_at(np.array([-90, -120, index * 1.0]) + noise[index]) for index in range(30)]
    np.testing.assert_allclose(assemble_stack(planes).spacing_mm, (1, 1, 1), atol=0.01)


@given(axes=rotations, step=st.sampled_from([0.9375, 0.8, 1.2, 1.05]), decimals=st.integers(1, 3))
def test_rounding_to_the_decimals_that_are_written_is_borne_however_the_stack_lies(axes, step, decimals):
    planes = [
        plane_at(
            np.round(np.array([-90.0, -120, 70]) + index * step * axes[:, 2], decimals), (*axes[:, 0], *axes[:, 1])
        )
        for index in range(120)
    ]
    assert assemble_stack(planes).spacing_mm[2] == pytest.approx(step, abs=0.002)


@pytest.mark.parametrize("step", [0.9375, 0.7, 1.3333])
@pytest.mark.parametrize("decimals", [1, 2])
@pytest.mark.parametrize("kept_as", [np.float64, np.float32])
def test_one_coordinate_rounded_alone_and_in_single_precision_is_borne(step, decimals, kept_as):
    places = np.round(-77.123456 + step * np.arange(120), decimals).astype(kept_as)
    planes = [plane_at((-119.53125, -131.2871, float(place))) for place in places]
    assert assemble_stack(planes).spacing_mm[2] == pytest.approx(step, abs=0.002)
    del planes[60]
    assert code_of(planes) == "missing_slices"


@given(axes=rotations, missing=st.integers(1, 118))
def test_a_missing_slice_does_not_hide_in_the_rounding(axes, missing):
    planes = [plane_at(np.round(index * 0.9375 * axes[:, 2], 1), (*axes[:, 0], *axes[:, 1])) for index in range(120)]
    del planes[missing]
    assert code_of(planes) in {"missing_slices", "uneven_spacing"}


@pytest.mark.parametrize("step", [0.7, 1.2, 1.3, 1.5])
def test_positions_in_whole_millimetres_could_hide_anything_and_this_is_said(step):
    planes = [plane_at((0, 0, round(index * step))) for index in range(40)]
    with pytest.raises(InputRefused, match=r"^uneven_spacing: .*in whole millimetres.*decimals"):
        assemble_stack(planes)


@pytest.mark.parametrize("step", [0.9, 1.0, 1.2])
@pytest.mark.parametrize("turn", [(1, 0.2, 0.1, 0), (1, 0.1, -0.3, 0.2), (1, 0.5, 0.5, 0.5), (3, 1, 1, 0)])
def test_an_oblique_stack_in_whole_millimetres_is_not_called_twice_there_or_cut_short(turn, step):
    axes = rotation_from(np.array(turn))
    turned = (*axes[:, 0], *axes[:, 1])
    with pytest.raises(InputRefused, match=r"^uneven_spacing: .*in whole millimetres"):
        assemble_stack([plane_at(np.round(index * step * axes[:, 2]), turned) for index in range(160)])


@pytest.mark.parametrize(
    ("places", "code"),
    [
        ([*range(20), *range(21, 40)], "missing_slices"),
        ([*range(10), *range(15, 40)], "missing_slices"),
        ([*range(40), 7], "duplicate_slices"),
        (sorted([*range(40)] * 2), "duplicate_slices"),
    ],
    ids=["one missing", "five missing", "one twice", "all twice"],
)
def test_whole_millimetres_excuse_no_slice_too_few_or_too_many(places, code):
    assert code_of([plane_at((0, 0, place)) for place in places]) == code


def test_where_several_faults_meet_the_documented_order_decides():
    planes = [plane_at((0, index * 0.3, index * 1.25), rows=20 + (index == 3)) for index in range(12)]
    del planes[6]
    assert code_of(planes) == "mixed_size"
    planes = [plane_at((0, index * 0.3, index * 1.25)) for index in range(12)]
    del planes[6]
    assert code_of([*planes, planes[0]]) == "duplicate_slices"
    assert code_of(planes) == "missing_slices"
