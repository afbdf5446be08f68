"""The same head asked about again: figures of published examples, changes by what they keep, a trial with a fake chain."""

import json
import math
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from med3d_export.main import KNOWN_FAULTS, app
from med3d_export.repeatability.agreement import agreement_icc, within_subject_sd, within_subject_sd_interval
from med3d_export.repeatability.answers import Answer, RepeatedHead, WholeChain
from med3d_export.repeatability.changes import CHANGES, DICOM_AGAINST_NIFTI, STORED_OTHERWISE
from med3d_export.repeatability.rescans import coarser_slices, coarser_voxels, noisier, turned
from med3d_export.repeatability.rewritings import cut_closer, moved_header, stored_in_other_order
from med3d_export.repeatability.scores import MeasuredHead, RepeatabilityError
from med3d_export.repeatability.trial import changes_of, chosen_heads, repeat_head, scored, write_nifti
from med3d_export.report.repeatability_report import write_repeatability
from med3d_export.subjects.cohort import Cohort, CohortError, CohortSubject
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import InferenceError
from med3d_pipeline.preprocessing.alignment.registration import centre_of_mass
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.resampling import resample
from med3d_pipeline.volume import Volume
from rig.science.heads import phantom

# Shrout and Fleiss (1979), table 2: six targets rated by four judges.
SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
REWRITINGS = tuple(change for change in CHANGES if change.group == "rewriting")
RANDOM = np.random.default_rng(20)


def test_icc_and_its_interval_are_those_published_for_six_targets_and_four_judges():
    found = agreement_icc(SHROUT_FLEISS)
    assert found.value == pytest.approx(0.29, abs=0.005)  # their table 4
    # By McGraw and Wong's formulas, as R's psych::ICC prints them for this table.
    assert (found.lower, found.upper) == (pytest.approx(0.019, abs=0.0005), pytest.approx(0.761, abs=0.0005))


def test_within_subject_sd_is_the_root_of_the_mean_variance_and_counts_a_common_shift():
    assert within_subject_sd(SHROUT_FLEISS) == pytest.approx(math.sqrt(SHROUT_FLEISS.var(axis=1, ddof=1).mean()))
    shifted = np.array([[20.0, 21.0], [50.0, 51.0], [80.0, 81.0]])
    assert within_subject_sd(shifted) == pytest.approx(1.0 / math.sqrt(2.0))
    interval = within_subject_sd_interval(shifted, seed=1)
    assert interval.lower == interval.value == interval.upper
    assert agreement_icc(np.repeat(shifted[:, :1], 3, axis=1)).value == 1.0
    assert 0.99 < agreement_icc(shifted).value < 1.0  # of 30 years between heads, 1 year is little
    assert agreement_icc(np.full((3, 2), 40.0)) is None


def test_a_rewriting_changes_no_value_and_keeps_each_where_the_rigid_motion_takes_it():
    head = phantom(6.0)
    stored = stored_in_other_order((1, 2, 0), (True, False, True))(head, RANDOM)
    assert stored.shape == tuple(head.shape[axis] for axis in (1, 2, 0))
    back = to_closest_ras(stored)
    np.testing.assert_array_equal(back.voxels, head.voxels)
    np.testing.assert_allclose(back.affine, head.affine, atol=1e-9)
    moved = moved_header(10.0, (1.0, 1.0, 1.0), (-12.0, 7.0, 9.0))(head, RANDOM)
    np.testing.assert_array_equal(moved.voxels, head.voxels)
    motion = moved.affine @ np.linalg.inv(head.affine)
    np.testing.assert_allclose(motion[:3, :3] @ motion[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.degrees(np.arccos((np.trace(motion[:3, :3]) - 1) / 2)) == pytest.approx(10.0)


def test_a_head_that_is_cut_closer_has_its_voxels_where_they_were_and_begins_one_later():
    head = phantom(6.0)
    whole, later = (cut_closer((more, 0, 0))(head, RANDOM) for more in (0, 1))
    assert later.shape == (whole.shape[0] - 1, *whole.shape[1:])
    np.testing.assert_array_equal(later.voxels, whole.voxels[1:])
    for cut in (whole, later):
        at = np.unravel_index(cut.voxels.argmax(), cut.shape)
        place = np.linalg.inv(head.affine) @ cut.affine @ [*at, 1]
        assert head.voxels[tuple(np.round(place[:3]).astype(int))] == cut.voxels.max()


@pytest.mark.parametrize("change", REWRITINGS, ids=lambda change: change.name)
def test_every_rewriting_survives_the_file(change, tmp_path):
    head = phantom(6.0)
    for number, (rewritten, storage) in enumerate(change.changed(head, row=2)):
        image = nib.load(write_nifti(rewritten, storage, tmp_path / f"{number}.nii"))
        assert image.get_data_dtype() == storage
        step = float(np.ptp(head.voxels)) / 2**16
        np.testing.assert_allclose(image.get_fdata(), rewritten.voxels, atol=0 if storage == "float32" else step)
        np.testing.assert_allclose(image.affine, rewritten.affine, atol=1e-5)


def test_longer_voxels_see_what_a_longer_box_sees_where_it_was():
    fine = smooth_head()
    for change, spacing in ((coarser_slices(1.0), (2.0, 2.0, 3.0)), (coarser_voxels(2.0), (4.0, 4.0, 4.0))):
        coarse = change(fine, RANDOM)
        assert coarse.spacing_mm == pytest.approx(spacing)
        assert np.linalg.norm(centre_of_mass(coarse) - centre_of_mass(fine)) < 0.1
    means = fine.voxels.reshape(40, 2, 40, 2, 40, 2).mean(axis=(1, 3, 5))
    inside = (slice(2, -2),) * 3
    np.testing.assert_allclose(coarse.voxels[inside], means[inside], atol=0.01 * means.max())


def test_a_turned_head_lies_turned_and_is_whole():
    head = smooth_head()
    after = turned(10.0, (0.0, 0.0, 1.0), (5.0, -5.0, 5.0))(head, RANDOM)
    assert after.shape == tuple(size + 20 for size in head.shape)  # 20 mm of 2 mm voxels on each side
    moved = moved_header(10.0, (0.0, 0.0, 1.0), (5.0, -5.0, 5.0))(head, RANDOM)
    np.testing.assert_allclose(centre_of_mass(after), centre_of_mass(moved), atol=0.05)
    again = resample(moved, after.shape, after.affine, np.eye(4))
    np.testing.assert_allclose(after.voxels, np.maximum(again, 0.0), atol=1e-4)


def test_noise_is_less_in_larger_voxels():
    flat = Volume(np.full((40, 40, 40), 100.0, np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert noisier(0.04)(flat, RANDOM).voxels.std() == pytest.approx(4.0 / math.sqrt(8.0), rel=0.02)


def test_chance_is_the_same_for_the_same_head_and_another_for_the_next():
    head, change = phantom(6.0), next(change for change in CHANGES if change.name.startswith("noise"))
    (first, _), (same, _), (other, _) = (change.changed(head, row)[0] for row in (2, 2, 3))
    np.testing.assert_array_equal(first.voxels, same.voxels)
    assert not np.array_equal(first.voxels, other.voxels)


def smooth_head() -> Volume:
    """80^3 voxels of 2 mm, smooth, 0 towards the border."""
    places = np.stack(np.meshgrid(*[np.arange(80.0)] * 3, indexing="ij"))
    blobs = np.zeros((80, 80, 80))
    for centre in ((36, 38, 42), (44, 40, 36), (40, 46, 40)):
        blobs += np.exp(-np.square(places - np.array(centre)[:, None, None, None]).sum(axis=0) / 60.0)
    return Volume(gaussian_filter(100.0 * blobs, 1.0).astype(np.float32), np.diag([2.0, 2.0, 2.0, 1.0]))


def people(count: int = 7) -> tuple[CohortSubject, ...]:
    return tuple(
        CohortSubject(row, f"p{row}", 90.0 - 10 * row, "F", "A", Path(f"{row}.nii.gz")) for row in range(2, 2 + count)
    )


def test_heads_are_spread_over_the_ages_and_nobody_is_taken_twice():
    twice = (*people(), CohortSubject(9, "p2", 71.0, "F", "A", Path("again.nii.gz")))
    assert Cohort(twice).spread_over_ages(3) == [6, 3, 0]


def brightest_part(source: Path, _head: RepeatedHead) -> Answer:
    """A chain that takes the mean brightness of what is bright for the age, and refuses slices above 3.5 mm."""
    image = nib.load(source)
    if max(image.header.get_zooms()) > 3.5:
        return Answer(None, None, "through_plane_too_coarse")
    values = image.get_fdata()
    return Answer(float(values[values > values.max() / 2].mean()), 10.0)


@pytest.fixture
def heads(tmp_path):
    found = []
    for row in (2, 3, 4):
        volume = smooth_head()
        source = write_nifti(Volume(volume.voxels * row, volume.affine), "float32", tmp_path / f"{row}.nii")
        found.append(RepeatedHead(f"row {row}", source, row, age_years=30.0 * row))
    return found


def test_a_trial_asks_about_every_change_and_scores_what_was_answered(heads, tmp_path):
    measured = [repeat_head(head, brightest_part, changes_of(head)) for head in heads]
    found = scored("fake 1", "d" * 64, ("CPU",), measured)
    by_name = {score.name: score for score in found.changes}
    for change in REWRITINGS:
        score = by_name[change.name]
        assert score.heads == 3
        assert score.is_as_aimed
        assert score.largest_change_years < 1e-3
        assert score.signal_to_noise_change == 0.0
    # 4 mm are refused for all, so this is no line of its own, and not part of all together.
    assert "slices 2 mm thicker" not in by_name
    assert found.together["rescan"].name == "all of them but slices 2 mm thicker, voxels 2 mm longer"
    assert found.together["rescan"].within_subject_sd_years > 0.01
    page = write_repeatability(found, tmp_path / "out")
    text = page.read_text()
    assert "All of them together: **reached**" in text
    assert {path.name for path in page.parent.iterdir()} == {
        "repeatability.md", "repeatability.json", "repeatability.png"
    }  # fmt: skip
    assert "participant" not in text
    stored = json.loads((page.parent / "repeatability.json").read_text())
    assert [head["name"] for head in stored["heads"]] == ["row 2", "row 3", "row 4"]
    assert stored["together"]["rewriting"]["heads"] == 3


def test_a_change_that_ought_to_change_nothing_and_does_is_told():
    before, after = Answer(40.0, 10.0), Answer(40.5, 10.2)
    measured = [MeasuredHead(f"row {row}", before, {"header rounded": (after,) * 3}) for row in range(2, 6)]
    (score,) = scored("fake 1", "d" * 64, ("CPU",), measured).changes
    assert score.within_subject_sd_years == pytest.approx(0.25)
    assert score.mean_shift_years == pytest.approx(0.5)
    assert score.signal_to_noise_change == pytest.approx(0.02)
    assert score.is_as_aimed is False


def test_a_head_refused_after_a_change_is_counted_and_left_out():
    fine, refused = Answer(40.0, 10.0), Answer(None, 1.0, "too_noisy")
    measured = [
        MeasuredHead(f"row {row}", Answer(40.0 + row, 10.0), {"noise, 6 %": (refused if row == 2 else fine,)})
        for row in range(2, 7)
    ]
    (score,) = scored("fake 1", "d" * 64, ("CPU",), measured).changes
    assert (score.heads, score.refused) == (4, {"too_noisy": 1})


def test_too_few_answers_name_what_became_of_the_others(heads):
    measured = [repeat_head(head, lambda *_: Answer(None, 1.0, "too_noisy"), CHANGES) for head in heads]
    with pytest.raises(RepeatabilityError, match=r"0 of 3 heads.*row 2: too_noisy; row 3: too_noisy"):
        scored("fake 1", "d" * 64, ("CPU",), measured)


def test_a_fault_of_the_pipeline_names_the_head(heads):
    def lose_the_provider(*_: object) -> Answer:
        raise InferenceError("the provider is lost")

    with pytest.raises(RepeatabilityError, match="row 2: the provider is lost"):
        repeat_head(heads[0], lose_the_provider, CHANGES)


def test_a_study_in_another_storage_is_a_nifti_in_a_dicoms_place():
    of_study = changes_of(RepeatedHead("study 1", Path("study"), 1, is_study=True))
    assert DICOM_AGAINST_NIFTI in of_study
    assert STORED_OTHERWISE not in of_study
    assert len(of_study) == len(CHANGES)


def cohort_of(folder: Path, *ages: str) -> Path:
    for number in range(len(ages)):
        write_nifti(phantom(2.5), "float32", folder / f"{number}.nii")
    rows = [f"p{number},{age},F,{number}.nii" for number, age in enumerate(ages)]
    (folder / "participants.csv").write_text("\n".join(["participant_id,age,sex,t1w", *rows]) + "\n")
    return folder


def test_bad_input_names_the_row_the_study_or_the_option(tmp_path):
    with pytest.raises(CohortError, match="row 3: age '-4'"):
        chosen_heads(cohort_of(tmp_path, "30", "-4", "50"), 3, [])
    data = cohort_of(tmp_path, "30", "40", "50")
    with pytest.raises(CohortError, match="3 subjects are too few: at least 24"):
        chosen_heads(data, 24, [])
    with pytest.raises(RepeatabilityError, match="--heads 2: at least 3"):
        chosen_heads(data, 2, [])
    with pytest.raises(RepeatabilityError, match="--study, number 1: it holds no DICOM series"):
        chosen_heads(data, 3, [data / "0.nii"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RepeatabilityError, match="--study, number 1: no_images"):
        chosen_heads(data, 3, [tmp_path / "empty"])


def test_what_is_no_bundle_is_a_known_fault(tmp_path):
    (tmp_path / "bundle").mkdir()
    data = cohort_of(tmp_path, "30", "40", "50")
    result = CliRunner().invoke(
        app,
        ["repeatability", "--bundle", str(tmp_path / "bundle"), "--data", str(data), "--out", str(tmp_path / "out"),
         "--heads", "3"],
    )  # fmt: skip
    assert isinstance(result.exception, KNOWN_FAULTS), result.output
    assert "manifest.json" in str(result.exception)


def test_the_released_bundle_says_the_same_of_a_head_whose_header_is_rounded():
    bundle = Bundle.open(Bundle.default_path(), verify=False)
    head = RepeatedHead("row 2", bundle.path / "reference_case" / "input.nii.gz", 2, age_years=40.0)
    rounded = next(change for change in REWRITINGS if change.name == "header rounded")
    once = replace(rounded, variants=rounded.variants[:1])
    measured = repeat_head(head, WholeChain(bundle), [once])
    assert measured.as_it_is.refusal == ""
    (again,) = measured.changed[once.name]
    assert again.brain_age_years == pytest.approx(measured.as_it_is.brain_age_years, abs=0.1)
    assert again.signal_to_noise == pytest.approx(measured.as_it_is.signal_to_noise, rel=0.01)
