"""DICOM as users reported it: the sample study's MPRAGE (sagittal, 1 mm), changed in one way each."""

from pathlib import Path

from field.case import Case, Right, Room, refused, same_as
from field.scripts import script, scripted

FILE = "make_dicom_cases.py"
BASE = "sample:siemens_trio_study"
SAME = (same_as(BASE),)
CLOSE = (same_as(BASE, 1.0),)
ONE_PLACE_TWICE = refused("duplicate_slices", "uneven_spacing", "several_acquisitions")


def known(years: float) -> tuple[Right, ...]:
    """The base's number, and this age in the headers."""
    return (same_as(BASE, known_age_years=years),)


STATED: dict[str, tuple[tuple[Right, ...], str]] = {
    "age_42_no_unit": (known(42), "PatientAge of digits alone means years"),
    "age_45Y_unpadded": (known(45), "three digits are the standard, two are meant the same"),
    "born_1900_age_045Y": (known(45), "the default birth date of a de-identifier is no birth date"),
    "born_after_study": (known(45), "nobody is scanned before birth"),
    "jitter_1e3": (CLOSE, "positions are written with few decimals"),
    "positions_to_tenth_mm": (
        (same_as(BASE, 6.0),),
        "rounded positions are no uneven spacing; the head is 6 % thinner",
    ),
    "position_rounded_to_whole_mm_1p2": (
        (refused(), same_as(BASE, 6.0)),
        "1.2 mm steps are even, but sagittal images are called axial",
    ),
    "two_slabs_half_voxel_apart": (
        (same_as(BASE, 1.0, series="series 19: 3D T1w 1.00 x 1.00 x 1.00 mm, 176"), ONE_PLACE_TWICE),
        "two acquisitions never become one volume of half the spacing",
    ),
    "tilt_0p4_deg": (CLOSE, "below what is called a gantry tilt"),
    "every_file_twice": (SAME, "copies are one file"),
    "one_file_twice": (SAME, "a copy is one file"),
    "repeated_acquisition": ((same_as(BASE, 0.1), ONE_PLACE_TWICE), "the same pixels twice under new instance UIDs"),
    "repeated_acquisition_numbered": (SAME, "the acquisition number parts them"),
    "four_echoes_one_series": (SAME, "the echo number parts them"),
    "four_echoes_no_echo_number": (SAME, "the echo time parts them"),
    "magnitude_and_phase": (SAME, "the image type parts them"),
    "magnitude_and_phase_untold": ((ONE_PLACE_TWICE,), "nothing parts head from noise: never a mixture"),
    "three_localizer_slices_in_series": (CLOSE, "slices of another orientation are not of the volume"),
    "one_reference_slice_other_matrix": (CLOSE, "a slice of another matrix is not of the volume"),
    "slices_shuffled_instance_numbers": (SAME, "positions order slices, numbers do not"),
    "series_uid_per_slice": (CLOSE, "slices that are one volume are one, whatever their UIDs"),
    "no_series_uid_whole_study": (CLOSE, "without a UID the number and the geometry part series"),
    "no_instance_uid": ((same_as(BASE), refused()), "an instance without its UID is damaged, or read all the same"),
    "two_patients_in_one_folder": ((refused("several_patients"),), "never one of two people in silence"),
    "one_slice_rle": (SAME, "each instance has its own transfer syntax"),
    "bits_stored_differ": (SAME, "each instance has its own depth"),
    "monochrome1": ((same_as(BASE, 1.0),), "MONOCHROME1 is shown inverted: the stored values are turned round"),
    "padding_minus_2000": (CLOSE, "padding is no part of the picture"),
    "padding_minus_32768": (CLOSE, "padding is no part of the picture"),
    "memprage_rms_no_ti": (SAME, "inversion without a stated time is still an MPRAGE"),
    "missing_last_slices": (
        (refused("brain_cut_off", "missing_slices"), same_as(BASE, 2.0, reviews=("unusual_measure",))),
        "26 of 176 sagittal slices are missing at one side, and a little brain with them",
    ),
    "second_series_when_first_lacks_middle_slices": (
        (same_as(BASE, review_wanted=True, series="series 19"),),
        "the whole one of two is taken, and that the other is not whole is told",
    ),
    "scout_only_beside_2d": ((refused(),), "a scout is never analysed"),
    "rescale_minus_1024": (SAME, "an offset changes nothing"),
    "parameters_removed": ((same_as(BASE, 0.1, review_wanted=True),), "voxels decide where headers are silent"),
    "derived_secondary": (
        (same_as(BASE, 0.1, review_wanted=True), refused("derived_only")),
        "defaced and written back",
    ),
    "derived_primary_full_physics": ((same_as(BASE, 0.1, review_wanted=True),), "derived, with all of its physics"),
    "described_as_t2": (SAME, "physics before words"),
    "scout_3d_named": ((refused(),), "a scout's header is a scout, whatever the picture"),
    "contrast_plus_c": ((same_as(BASE),), "agent by description only"),
    "names_beyond_ascii": (SAME, "names of people and folders are no matter"),
    "gzipped_slices": (SAME, "gzip is a wrapping"),
    "zip_of_study": (SAME, "an archive in the folder is opened, as POST /studies does"),
    "field_map_parameters_removed": ((refused(),), "a field map of thick slices is no head scan"),
    "first_of_two_series_undecodable": (
        (same_as(BASE, review_wanted=True, series="series 19"),),
        "the next series is taken, with both verdicts",
    ),
    "first_of_two_series_is_noise": (
        (same_as(BASE, review_wanted=True, series="series 19"),),
        "the next series is taken, with both verdicts",
    ),
}


def write_legacy(room: Room, folder: Path) -> Path:
    """A Legacy Converted Enhanced MR object of the MPRAGE, as archives make them."""
    from highdicom.legacy import LegacyConvertedEnhancedMRImage
    from pydicom.uid import generate_uid

    assert room.scripts is not None
    slices = script(room.scripts / FILE).mprage()
    made = LegacyConvertedEnhancedMRImage(
        slices,
        series_instance_uid=generate_uid(),
        series_number=190,
        sop_instance_uid=generate_uid(),
        instance_number=1,
    )
    folder.mkdir(exist_ok=True)
    made.save_as(folder / "legacy.dcm")
    return folder


def reported_dicom() -> list[Case]:
    """All of them."""
    legacy = Case(
        "dicom:legacy_converted", write_legacy, CLOSE, "what archives make of classic series is read like them"
    )
    return [*(scripted(FILE, name, right, why) for name, (right, why) in STATED.items()), legacy]
