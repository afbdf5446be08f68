"""NIfTI and its neighbours as users reported them: the sample study's MPRAGE (1 mm), changed in one way each."""

import subprocess
import sys
from pathlib import Path

from field.case import Case, Right, Room, refused, same_as
from field.scripts import scripted

FILE = "make_nifti_cases.py"
BASE = "sample:trio_as_nifti"
SAME = (same_as(BASE),)
NEAR = (same_as(BASE, 0.5),)
BY_SENTENCE = refused()
NO_ORIENTATION = refused("nifti_no_affine")
CUT = refused("brain_cut_off")
# A picture that says of itself what is not so: no number at all, or the one that the true picture has.
NEVER_A_WRONG_NUMBER = (same_as(BASE, 2.0), refused())
NOT_A_HEAD = refused("not_a_head", "registration_failed", "brain_volume_implausible", "brain_cut_off")

STATED: dict[str, tuple[tuple[Right, ...], str]] = {
    "qform_only": (SAME, "one form is enough"),
    "sform_code_2_qform_0": (SAME, "one form is enough"),
    "crop_moves_sform_only": ((same_as(BASE, 1.0), CUT), "sform wins where both differ by a rigid motion"),
    "mni_sform_scanner_qform": ((same_as(BASE, 1.5),), "sform wins where both differ by a rigid motion"),
    "no_form": ((NO_ORIENTATION,), "nothing says which side is left"),
    "float64_scaled": (SAME, "a factor changes nothing"),
    "scl_slope": (SAME, "slope and intercept change nothing"),
    "scl_slope_nan": (SAME, "a slope that is no number means no scaling"),
    "negative_background": (SAME, "an offset changes nothing"),
    "unit_interval": (SAME, "a factor changes nothing"),
    "huge_values": (SAME, "a factor changes nothing"),
    "int64": (SAME, "so are they stored"),
    "uint16_big_endian": (SAME, "so are they stored"),
    "nifti2": (SAME, "the second version"),
    "nan_corner": ((same_as(BASE, 0.5), refused("not_finite")), "no number is no brightness"),
    "nan_background": ((same_as(BASE, 2.0), refused("not_finite")), "no number is no brightness"),
    "rgb": ((refused("unsupported_colour"),), "colour is no contrast"),
    "trailing_axes": (SAME, "axes of one entry are none"),
    "two_volumes": ((refused("nifti_not_one_volume"),), "one of two is not chosen in silence"),
    "units_microns_values_mm": ((same_as(BASE), BY_SENTENCE), "either the unit is wrong, or the numbers"),
    "units_unknown": (SAME, "no unit means millimetres"),
    "left_handed": (SAME, "the affine says which side is left"),
    "sheared": (NEVER_A_WRONG_NUMBER, "a shear of 3 degrees"),
    "affine_to_mni_in_sform": (NEVER_A_WRONG_NUMBER, "a head scaled to the template is larger than it was"),
    "analyze_pair": ((BY_SENTENCE,), "Analyze does not say which side is left"),
    "nifti_pair": ((same_as(BASE), BY_SENTENCE), "header and image in two files"),
    "mgz": ((same_as(BASE), BY_SENTENCE), "FreeSurfer's own"),
    "nrrd": ((same_as(BASE), BY_SENTENCE), "Slicer's own"),
    "gz_named_nii": (SAME, "content says what a file is"),
    "nii_named_gz": (SAME, "content says what a file is"),
    "truncated_gz": ((refused("nifti_truncated"),), "half a file"),
    "empty_file": ((BY_SENTENCE,), "a file of no bytes, as data sets have before they are fetched"),
    "annex_pointer": ((BY_SENTENCE,), "a pointer in place of the file"),
    "two_gzip_members": (SAME, "gzip allows it"),
    "trailing_bytes": (SAME, "what follows the voxels is no matter"),
    "lost_affine_ras": ((same_as(BASE, 1.5), refused()), "the axes happen to be right, the centre is not"),
    "lost_affine_left_right": ((same_as(BASE, 3.0), refused()), "left and right cannot be told from a head"),
    "lost_affine_front_back": ((refused(),), "a head mirrored front to back is none"),
    "lost_affine_prone": (NEVER_A_WRONG_NUMBER, "entered as prone"),
    "lost_affine_upside_down": ((refused(),), "a head mirrored top to bottom is none"),
    "lost_affine_feet_first": (NEVER_A_WRONG_NUMBER, "entered as feet first"),
    "lost_affine_sagittal_as_axial": (NEVER_A_WRONG_NUMBER, "slices in file order"),
    "lost_affine_coronal_as_axial": (NEVER_A_WRONG_NUMBER, "slices in file order"),
    "lost_affine_decubitus": (NEVER_A_WRONG_NUMBER, "lying on the side, entered as supine"),
    "identity_raw_dicom_order": (NEVER_A_WRONG_NUMBER, "an array without its affine"),
    "voxels_twice_too_big": ((NOT_A_HEAD,), "a head of 40 cm"),
    "voxels_half_too_small": ((NOT_A_HEAD, refused("insufficient_coverage")), "a head of 12 cm"),
    "one_axis_wrong": ((NOT_A_HEAD,), "half as long again along one axis"),
    "origin_one_metre_off": ((same_as(BASE, 0.3),), "where the scanner's centre was is no matter"),
    "mp2rage_like_background": ((same_as(BASE, 5.0), refused()), "noise around the head"),
    "t2_like": ((refused(),), "dark white matter is not T1"),
    "one_hemisphere_blank": ((refused(),), "half a brain"),
    "block_of_slices_blank": ((refused(),), "3 cm of the brain are empty"),
    "face_removed": ((same_as(BASE, 2.0),), "a face is no part of the brain"),
    "padded_512": (NEAR, "empty space around"),
    "half_millimetre": ((same_as(BASE, 1.0),), "a finer grid"),
    "three_millimetre": ((same_as(BASE, 3.0), refused("in_plane_too_coarse")), "a coarser grid"),
    "one_by_one_by_three": ((same_as(BASE, 3.0),), "thick slices, without gap"),
    "ghosted": (NEVER_A_WRONG_NUMBER, "a ghost of a third of the signal"),
    "wrap_around": (NEVER_A_WRONG_NUMBER, "the nose is behind the head"),
    "two_patients": ((refused("several_patients", "several_images"),), "never one of two people in silence"),
    "head_and_its_mask": ((same_as(BASE), refused()), "a mask is no head"),
    "zscored": (SAME, "an offset and a factor change nothing"),
    "zscored_in_brain": (SAME, "an offset and a factor change nothing"),
    "minus_one_to_one": (NEAR, "clipped at the brightest thousandth"),
    "mp2rage_uni_half": ((same_as(BASE, 5.0), refused()), "noise around the head, grey at 0"),
    "plus_1000": (SAME, "an offset changes nothing"),
    "minus_50": (SAME, "an offset changes nothing"),
    "fov_in_plane": (NEAR, "empty space around"),
    "minus_32768_corners": (NEAR, "padding is no part of the picture"),
    "hot_voxels": (NEAR, "200 spikes"),
}

# Cases of several files, each an input of its own.
OF_FILES: dict[str, tuple[tuple[str, ...], tuple[Right, ...], str]] = {
    "all_orientations": (
        tuple(f"{code}.nii.gz" for code in ("RAS", "LPS", "PIR", "LIA", "ASL", "SPL")),
        SAME,
        "the order of the axes changes nothing",
    ),
    "pitched": (
        tuple(f"pitch{degrees:+d}.nii.gz" for degrees in (-20, -10, 10, 20, 30)),
        ((same_as(BASE, 3.0), refused())),
        "a nod changes little",
    ),
    "axes_jitter_1e6": (tuple(f"j{number}.nii.gz" for number in range(8)), SAME, "a millionth changes nothing"),
    "shifted_grid": (tuple(f"pad{number}.nii.gz" for number in (1, 2, 3)), SAME, "where the array starts is no matter"),
    "fov": (tuple(f"fov{side}.nii.gz" for side in (280, 300, 320, 340, 360)), NEAR, "empty space around"),
}


def write_cut(room: Room, folder: Path) -> Path:
    """The script that cuts the top of the head off, or fills it with zeros."""
    assert room.scripts is not None
    command = [sys.executable, room.scripts / "make_cut_cases.py", room.head, folder]
    subprocess.run(command, check=True, capture_output=True)
    return folder


def reported_nifti() -> list[Case]:
    """All of them."""
    cut = tuple(f"top{mm}mm_{how}.nii.gz" for mm in (20, 30, 40) for how in ("zero", "not_there"))
    return [
        *(scripted(FILE, name, right, why) for name, (right, why) in STATED.items()),
        *(scripted(FILE, name, right, why, files) for name, (files, right, why) in OF_FILES.items()),
        Case("nifti:cut", write_cut, (CUT,), "zeros in place of the brain are no brain, as if it were not there", cut),
    ]
