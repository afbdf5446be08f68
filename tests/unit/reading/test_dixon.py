"""Water and in-phase images of a Dixon acquisition are anatomy; fat and out-of-phase images are refused by name."""

import pytest

from med3d_pipeline.reading.description_hints import hints_of
from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.dixon import DixonPart, dixon_part
from med3d_pipeline.reading.mr_contrast import Weighting, judge_contrast
from med3d_pipeline.reading.series_identity import sequence_identity
from med3d_service.studies.working_copy.vocabulary import known_description


def facts(*image_type, description="", tr_ms=5.6, te_ms=1.4):
    return SequenceFacts(
        modality="MR",
        acquisition_type="3D",
        scanning_sequence=("GR",),
        sequence_variant=("SP",),
        field_strength_t=3.0,
        image_type=image_type,
        description_hints=hints_of(description),
        tr_ms=tr_ms,
        te_ms=te_ms,
        flip_deg=10,
    )


def finding(stated):
    return sequence_identity(stated) or judge_contrast(stated)


@pytest.mark.parametrize("te_ms", [0, 1.4, 2.3])  # water is computed: TE 0, or that of one of its echoes
@pytest.mark.parametrize("part", ["W", "WATER", "IP", "IN_PHASE"])
def test_water_and_in_phase_images_are_anatomy_however_fast_their_echoes_follow(part, te_ms):
    assert finding(facts("DERIVED", "PRIMARY", part, te_ms=te_ms)).weighting is Weighting.T1


@pytest.mark.parametrize("part", ["F", "FAT", "OP", "OPP_PHASE", "OUT_PHASE"])
def test_fat_and_out_of_phase_images_are_named(part):
    found = finding(facts("DERIVED", "PRIMARY", "DIXON", part, te_ms=2.3))
    assert found.weighting is Weighting.OTHER
    assert "Dixon" in found.reason


def test_the_same_timing_without_a_dixon_acquisition_is_a_scouts():
    assert finding(facts("ORIGINAL", "PRIMARY", "M")).weighting is Weighting.OTHER


@pytest.mark.parametrize(
    ("description", "part"),
    [
        ("t1_vibe_dixon_tra_F", DixonPart.FAT),
        ("FAT: Ax LAVA-Flex T1", DixonPart.FAT),
        ("t1_vibe_dixon_tra_opp", DixonPart.OUT_OF_PHASE),
        ("OutPhase: Ax LAVA-Flex", DixonPart.OUT_OF_PHASE),
        ("t1_vibe_dixon_tra_W", None),
        ("WATER: Ax LAVA-Flex", None),
        ("T1 dixon fat sat", None),
        ("t1_vibe_fs_fat", None),
        ("t1_vibe_dixon_f_smith", None),
    ],
)
def test_a_description_names_the_part_last_or_before_a_colon_in_a_working_copy_too(description, part):
    for text in (description, known_description(description)):
        assert dixon_part(facts("ORIGINAL", "PRIMARY", "M", description=text)) is part


def test_maps_of_attenuation_repeat_faster_than_anatomy_does():
    for te_ms in (1.23, 2.46):
        stated = facts("DERIVED", "PRIMARY", "DIXON", "IN_PHASE", tr_ms=3.6, te_ms=te_ms)
        assert finding(stated).weighting is Weighting.OTHER
