"""Each figure of the evaluation against what is known of it: by hand, by a second implementation, or by construction."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from crepes import ConformalRegressor
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from med3d_export.baselines import (
    InnerSearch,
    age_and_sex,
    mean_only,
    volume_ridge,
    voxel_components,
    voxel_kernel_ridge,
)
from med3d_export.calibration import age_bias, corrected_gaps, coverage_by_age, measured_coverage
from med3d_export.evaluation.image_quality import image_quality
from med3d_export.evaluation.learning_curve import EVERYONE, LearningCurve, LearningPoint, gain_at_doubling
from med3d_export.evaluation.novelty import neighbour_distance, separation, threshold_at
from med3d_export.evaluation.probes import pls_check, predicted_sites, sex_auc, site_accuracy, woman_scores
from med3d_export.evaluation.protocol import paired_errors
from med3d_export.evaluation.regression import absolute_errors, regression_metrics
from med3d_export.evaluation.scores import regression_scores
from med3d_export.evaluation.shift_scores import Novelty, Tried, score_shift
from med3d_export.evaluation.shifts import SHIFTS, shifted
from med3d_export.evaluation.uncertainty import (
    bootstrap_interval,
    compare_paired,
    detectable_difference,
    subjects_needed,
)
from med3d_export.heads import inner_splits
from med3d_export.releasing.promotion import Judgement, PromotionError, agreement, compare_judgements
from med3d_export.report.page import write_page
from med3d_export.report.shift_report import shift_text
from med3d_export.report.tables import table
from med3d_export.subjects.cohort import Cohort, CohortError, CohortSubject
from med3d_export.subjects.folds import Fold
from med3d_export.subjects.labels import Labels
from med3d_export.subjects.regional_volumes import read_volumes
from med3d_pipeline.inference.latent_space import conformal_quantile
from med3d_pipeline.volume import Volume


def folds_of(count: int, folds: int) -> tuple[Fold, ...]:
    number = np.arange(count) % folds
    return tuple(Fold(np.flatnonzero(number != k), np.flatnonzero(number == k)) for k in range(folds))


def heads(count: int = 2, size: int = 24) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, (count, size, size, size)).astype(np.float32)


def test_ssim_and_psnr_over_the_whole_volume_are_those_of_scikit_image():
    expected = heads()
    found = (expected + np.random.default_rng(1).normal(0, 0.1, expected.shape)).astype(np.float32)
    quality = image_quality(found, expected, np.ones(expected.shape[1:], bool), 1.25)
    for one, other, ssim, psnr in zip(expected, found, quality.ssim_whole, quality.psnr_whole, strict=True):
        _, local = structural_similarity(
            one, other, data_range=1.25, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
        )
        assert ssim == pytest.approx(local[5:-5, 5:-5, 5:-5].mean(), abs=2e-3)
        assert psnr == pytest.approx(peak_signal_noise_ratio(one, other, data_range=1.25), abs=1e-4)


def test_damage_outside_the_brain_does_not_count_inside_it():
    expected = heads()
    brain = np.zeros(expected.shape[1:], bool)
    brain[:, :, :6] = True
    found = expected.copy()
    found[:, :, :, 18:] += 0.5
    quality = image_quality(found, expected, brain, 1.25)
    assert np.isinf(quality.psnr_brain).all()
    assert np.isfinite(quality.psnr_whole).all()
    assert (quality.ssim_brain > quality.ssim_whole).all()


def test_errors_of_subjects_that_a_repeat_did_not_test_are_left_out():
    labels = np.array([20.0, 40.0, 60.0, 80.0])
    estimates = np.array([[22.0, 41.0, 57.0, np.nan], [24.0, np.nan, 57.0, 80.0]])
    np.testing.assert_allclose(absolute_errors(estimates, labels), [3.0, 1.0, 3.0, 0.0])
    assert regression_metrics(estimates, labels).mae == pytest.approx((2 + (4 + 3 + 0) / 3) / 2)


def test_metrics_are_those_of_the_textbook():
    draws = np.random.default_rng(3)
    labels = draws.uniform(20, 80, 60)
    estimates = 20 + 0.6 * labels + draws.normal(0, 5, 60)
    found = regression_metrics(estimates, labels)
    assert found.r == pytest.approx(np.corrcoef(estimates, labels)[0, 1])
    assert found.gap_slope == pytest.approx(np.polyfit(labels, estimates - labels, 1)[0])
    assert found.r2 == pytest.approx(1 - ((estimates - labels) ** 2).mean() / labels.var())
    assert regression_metrics(np.full(60, 50.0), labels).r == 0.0


def test_the_bootstrap_holds_the_mean_about_as_often_as_it_says():
    draws = np.random.default_rng(4)
    intervals = [
        bootstrap_interval(lambda column: float(column.mean()), (draws.normal(1, 2, 60),), seed) for seed in range(40)
    ]
    held = np.mean([one.lower <= 1.0 <= one.upper for one in intervals])
    assert 0.85 <= held <= 1.0


def test_the_detectable_difference_is_found_four_times_in_five():
    draws = np.random.default_rng(5)
    pilot = draws.normal(0, 3, 136)
    shift = detectable_difference(pilot) * 3 / pilot.std(ddof=1)
    found = [abs(d.mean()) > 1.96 * d.std(ddof=1) / np.sqrt(136) for d in draws.normal(shift, 3, (1000, 136))]
    assert 0.74 <= np.mean(found) <= 0.86
    assert subjects_needed(pilot, detectable_difference(pilot)) == 136


def test_a_paired_comparison_finds_what_is_there_and_nothing_where_nothing_is():
    draws = np.random.default_rng(6)
    base = draws.gamma(2, 3, 100)
    better = compare_paired(base - 1.0 + draws.normal(0, 1, 100), base, seed=1)
    assert better.difference.upper < 0
    assert max(better.wilcoxon_p, better.permutation_p) < 0.01
    same = compare_paired(base, base, seed=1)
    assert same.difference.value == 0
    assert min(same.wilcoxon_p, same.permutation_p) > 0.99


@settings(max_examples=50, deadline=None)
@given(st.integers(21, 300), st.sampled_from([0.5, 0.8, 0.9]), st.integers(0, 1000))
def test_half_widths_are_those_of_crepes(count, level, seed):
    residuals = np.random.default_rng(seed).normal(size=count)
    theirs = ConformalRegressor().fit(residuals=residuals).predict_int(np.zeros(1), confidence=level)[0, 1]
    ordered = np.sort(np.abs(residuals))
    ours = conformal_quantile(residuals, level)
    # crepes counts (1 - level)(n + 1) in floats: where that is a whole number it may take the next residual.
    place = int(np.searchsorted(ordered, ours))
    assert theirs in ordered[place : place + 2]


def test_coverage_is_what_was_promised_and_bands_that_are_too_small_are_left_out():
    draws = np.random.default_rng(7)
    ages, residuals, folds = draws.uniform(20, 80, 2000), draws.normal(0, 8, 2000), folds_of(2000, 5)
    overall = measured_coverage(residuals, folds, 0.9)
    assert overall.lower <= 0.9 <= overall.upper
    bands = coverage_by_age(residuals, ages, folds, 0.9, (0.0, 20.5, 50.0, 80.0))
    assert list(bands) == ["20.5 to 50", "50 to 80"]
    assert all(band.lower <= 0.9 <= band.upper for band in bands.values())


def test_the_bias_correction_never_sees_the_gaps_that_it_corrects():
    draws = np.random.default_rng(8)
    ages, folds = draws.uniform(20, 80, 100), folds_of(100, 5)
    gaps = 15 - 0.3 * ages + draws.normal(0, 4, 100)
    corrected = corrected_gaps(ages, gaps, folds)
    assert abs(age_bias(ages, corrected)[1]) < 0.03
    changed = gaps.copy()
    changed[folds[0].test] += 100
    again = corrected_gaps(ages, changed, folds)
    np.testing.assert_allclose(again[folds[0].test], corrected[folds[0].test] + 100)


def test_rows_of_one_subject_stay_together_in_every_inner_fold():
    groups = np.repeat(np.arange(10), 3)
    for training, test in inner_splits(np.zeros(30), groups, 5, seed=1):
        assert not set(groups[training]) & set(groups[test])


def test_baselines_recover_a_cohort_in_which_their_own_signal_lies():
    draws = np.random.default_rng(9)
    ages = draws.uniform(20, 80, 60)
    sexes = np.where(draws.random(60) < 0.5, "F", "M")
    tensors = (ages[:, None, None, None] / 80 + draws.normal(0, 0.05, (60, 4, 4, 4))).astype(np.float32)
    folds, inner = folds_of(60, 3), InnerSearch(3, 0, np.arange(60))
    nothing = np.abs(mean_only(ages, folds) - ages).mean()
    for estimates in (
        voxel_kernel_ridge(tensors, ages, folds, inner),
        voxel_components(tensors, ages, folds, inner),
        volume_ridge(np.stack([ages, draws.normal(size=60)], axis=1), ages, folds, inner),
    ):
        assert np.abs(estimates - ages).mean() < 0.2 * nothing
    points = 60 - 0.2 * ages + 3 * (sexes == "F")
    np.testing.assert_allclose(age_and_sex(points, ages, sexes, folds), points, atol=1e-8)


def test_probes_read_sex_and_site_from_a_latent_that_holds_them_and_not_from_noise():
    draws = np.random.default_rng(10)
    latents = draws.normal(size=(200, 6))
    sexes, sites = np.where(latents[:, 0] > 0, "F", "M"), np.where(latents[:, 1] > 0, "A", "B")
    fold, groups = folds_of(200, 2)[0], np.arange(200)
    own, other = fold.training, fold.test
    scores = woman_scores(latents, sexes, groups, own, other, 3, 0)
    assert sex_auc(scores, sexes[other]) > 0.9
    accuracy, chance = site_accuracy(predicted_sites(latents, sites, groups, own, other, 3, 0), sites[other])
    assert (accuracy > 0.8, chance) == (True, 0.5)
    noise = draws.normal(size=(200, 6))
    assert sex_auc(woman_scores(noise, sexes, groups, own, other, 3, 0), sexes[other]) < 0.7


def test_pls_is_told_from_its_permutation_null_only_where_the_label_is_in_the_latent():
    draws = np.random.default_rng(11)
    latents = draws.normal(size=(60, 20))
    parts = [(latents, fold.training, fold.test) for fold in folds_of(60, 3)]
    real = pls_check(parts, latents[:, 0] * 10 + draws.normal(0, 3, 60), seed=0)
    assert (real.p < 0.01, real.r > real.null_95) == (True, True)
    assert pls_check(parts, draws.normal(size=60), seed=0).p > 0.05


def test_scores_of_novelty_rank_the_strange_above_the_known():
    draws = np.random.default_rng(12)
    training, good, strange = draws.normal(size=(100, 8)), draws.normal(size=(50, 8)), draws.normal(3, 1, (50, 8))
    assert separation(neighbour_distance(training, good), neighbour_distance(training, strange)) > 0.95
    limit = threshold_at(np.arange(1.0, 101.0), 0.05)
    assert limit.value == 96.0


def test_every_shift_changes_the_head_and_keeps_it_where_it_is():
    voxels = np.zeros((40, 40, 30), np.float32)
    voxels[8:32, 8:32, 5:25] = 100 + 20 * np.random.default_rng(0).random((24, 24, 20))
    head = Volume(voxels, np.diag([2.0, 2.0, 2.0, 1.0]))
    for name in SHIFTS:
        spoilt = shifted(head, name, seed=1)
        same = spoilt.voxels.shape == head.voxels.shape and np.array_equal(spoilt.voxels, head.voxels)
        assert not (same and np.array_equal(spoilt.affine, head.affine)), name
        assert np.isfinite(spoilt.voxels).all()
        assert np.linalg.det(spoilt.affine[:3, :3]) != 0
        np.testing.assert_array_equal(shifted(head, name, seed=1).voxels, spoilt.voxels)
    for name in ("3 mm slices", "6 mm slices"):
        spoilt = shifted(head, name, seed=1)
        ends = [
            volume.affine @ [0, 0, volume.shape[2] / 2 - 0.5, 1] for volume in (head, spoilt)
        ]  # the middle slice lies where it lay, to a voxel
        assert abs(ends[0][2] - ends[1][2]) <= 3.0


def test_a_shift_is_reported_by_what_stops_it_the_gate_its_marks_or_the_distance():
    draws = np.random.default_rng(14)
    good = Novelty(*draws.normal(10, 1, (3, 200)))
    far, near = (Novelty(*(np.array([value]) for value in (distance, 10.0, 10.0))) for distance in (20.0, 10.0))
    tried = [Tried("not_a_head", False, None), Tried("", True, near), Tried("", False, far), Tried("", False, near)]
    found = score_shift("spoilt", tried, good)
    assert (found.heads, found.refused, found.marked, found.stopped) == (4, {"not_a_head": 1}, 1, 0.75)
    assert found.flagged["distance"] == pytest.approx(1 / 3)
    assert found.auroc["distance"] > found.auroc["neighbours"]
    text = shift_text([found, score_shift("nothing left", tried[:1], good)])
    assert "| spoilt | 4 | 1 not_a_head | 1 | 75% |" in text
    assert "no tensor" in text


def test_what_a_shift_does_to_the_age_is_told_of_all_that_got_a_tensor_and_of_those_that_pass():
    good = Novelty(*np.random.default_rng(14).normal(10, 1, (3, 200)))
    far, near = (Novelty(*(np.array([value]) for value in (distance, 10.0, 10.0))) for distance in (20.0, 10.0))
    before = [Tried("", False, near, age, {"noise": 1.0 + age / 100, "size": age}) for age in (30.0, 40.0, 50.0)]
    tried = [
        Tried("", False, near, 32.0, {"noise": 0.5, "size": 50.0}),
        Tried("", False, far, 60.0, {"noise": 0.6, "size": 30.0}),
        Tried("no_brain", False, None),
    ]
    found = score_shift("spoilt", tried, good, before, [31.0, 41.0, 51.0])
    age = found.age
    assert (age.heads, age.moved, age.mae, age.unchanged_mae) == (2, 11.0, 10.0, 1.0)
    assert (age.passing, age.passing_mae) == (1, 1.0)
    assert found.measure_auroc == {"noise": 1.0, "size": pytest.approx(0.5)}
    text = shift_text([found, score_shift("a study", tried, good)])
    assert "| spoilt | 2 | +11.0 (12.7) | 10.0 | 1.0 | 1 | 1.0 |" in text
    assert "| spoilt | noise 1.00 |" in text
    assert "| a study | 3 |" in text


def test_volumes_are_shares_of_the_head_and_each_subject_without_a_row_is_named(tmp_path: Path):
    cohort = Cohort(tuple(CohortSubject(row, f"s{row}", 40.0, "F", "A", Path("none")) for row in (2, 3)))
    table_csv = tmp_path / "volumes.csv"
    table_csv.write_text("MRID,702,1,2\ns3,1000,100,200\ns2,2000,100,300\n")
    np.testing.assert_allclose(read_volumes(cohort, table_csv), [[0.05, 0.15], [0.1, 0.2]])
    table_csv.write_text("MRID,702,1,2\ns3,1000,100,200\n")
    with pytest.raises(CohortError, match=r"row 2: s2 has no row in volumes\.csv"):
        read_volumes(cohort, table_csv)
    table_csv.write_text("MRID,702,1,2\ns3,0,100,200\ns2,2000,100,300\n")
    with pytest.raises(CohortError, match="s3"):
        read_volumes(cohort, table_csv)
    with pytest.raises(CohortError, match=r"absent\.csv \(volumes_csv\) cannot be read"):
        read_volumes(cohort, tmp_path / "absent.csv")


def test_volumes_are_of_one_scan_and_no_row_is_chosen_among_several(tmp_path: Path):
    table_csv = tmp_path / "volumes.csv"
    table_csv.write_text("MRID,702,1\ns2,1000,100\ns2,1000,300\n")
    one = CohortSubject(2, "s2", 40.0, "F", "A", Path("none"))
    with pytest.raises(CohortError, match=r"volumes\.csv: MRID s2 has 2 rows"):
        read_volumes(Cohort((one,)), table_csv)
    table_csv.write_text("MRID,702,1\ns2,1000,100\n")
    with pytest.raises(CohortError, match=r"row 3: s2 has 2 scans, and volumes\.csv one row for all of them"):
        read_volumes(Cohort((one, replace(one, row=3, age_years=44.0, visit="2"))), table_csv)


def judgement(age: float | None, decision: str = "accepted", gap_shown: bool | None = False) -> Judgement:
    return Judgement(decision, (), age, None, gap_shown)


def test_a_promotion_says_who_crosses_and_how_far_estimates_shift():
    ages = np.linspace(20, 80, 20)
    old = [judgement(age) for age in ages]
    new = [judgement(age + 2) for age in ages]
    new[3] = judgement(None, "refused", None)
    new[5] = judgement(ages[5] + 2, gap_shown=True)
    found = compare_judgements(("new", "old"), [f"head {n}" for n in range(20)], ages, new, old, seed=0)
    assert found.answered_by_both == 19
    assert found.brain_age.shift.value == pytest.approx(2.0)
    assert found.brain_age.lower_limit == pytest.approx(found.brain_age.upper_limit)
    assert [(one.head, one.what) for one in found.crossings] == [
        ("head 3", "decision"),
        ("head 5", "interval of the corrected gap"),
    ]
    with pytest.raises(PromotionError, match="too few"):
        compare_judgements(("new", "old"), ["x"] * 20, ages, [judgement(None, "refused", None)] * 20, old, seed=0)


def test_limits_of_agreement_hold_95_percent_of_normal_differences():
    draws = np.random.default_rng(13)
    old = draws.uniform(20, 80, 1000)
    found = agreement(old + draws.normal(1, 2, 1000), old, seed=0)
    assert found.lower_limit == pytest.approx(1 - 1.96 * 2, abs=0.3)
    assert abs(found.slope.value) < 0.02


def test_a_page_shows_tables_and_pictures_and_escapes_the_rest(tmp_path: Path):
    (tmp_path / "dot.png").write_bytes(b"\x89PNG")
    text = "# Title\n\n<script>alert(1)</script>\n\n" + table(("a", "b"), [["x|y", "1"]]) + "\n\n![dot](dot.png)\n"
    _, page = write_page(text, tmp_path)
    found = page.read_text()
    assert "<td>x|y</td>" in found
    assert "data:image/png;base64,iVBORw==" in found
    assert "<script>" not in found


def curve_of(errors):
    points = tuple(
        LearningPoint(heads, {EVERYONE: SimpleNamespace(mae=SimpleNamespace(value=error))})
        for heads, error in errors.items()
    )
    return LearningCurve(points, gain=None)


def test_what_few_heads_gained_is_not_taken_for_what_more_would():
    assert curve_of({20: 9.0, 40: 7.0, 80: 5.0, 120: 5.0, 160: 5.0}).late_gain == pytest.approx(0)
    assert curve_of({20: 9.0, 96: 5.5, 192: 5.0}).late_gain is None
    assert curve_of({20: 9.0, 100: 5.5, 190: 5.0}).late_gain == pytest.approx(0.5 / np.log2(1.9))


def test_the_gain_at_doubling_is_the_slope_that_the_errors_were_made_with():
    heads = np.array([20, 40, 80, 160])
    of_subject = np.random.default_rng(3).uniform(4, 8, 50)
    errors = of_subject - 0.7 * np.log2(heads / 20)[:, None]
    errors = np.concatenate([errors, np.array([[np.nan], [1.0], [1.0], [1.0]])], axis=1)
    gain = gain_at_doubling(heads, errors, seed=1)
    assert gain.value == pytest.approx(0.7)
    assert gain.lower == pytest.approx(0.7)
    assert gain_at_doubling(heads, errors + np.random.default_rng(4).normal(0, 2, errors.shape), seed=1).upper > 0.7


def test_more_scans_of_the_same_people_narrow_no_interval():
    draws = np.random.default_rng(3)
    ages = draws.uniform(20, 80, 30)
    estimates, other = (ages + draws.normal(0, 6, 30) for _ in range(2))
    people = np.array([f"s{number}" for number in range(30)])
    once = regression_scores(estimates, ages, 1, people)
    assert once == regression_scores(estimates, ages, 1)
    thrice = regression_scores(np.tile(estimates, 3), np.tile(ages, 3), 1, np.tile(people, 3))
    assert (thrice.mae.lower, thrice.mae.upper) == pytest.approx((once.mae.lower, once.mae.upper))
    assert (thrice.r.lower, thrice.r.upper) == pytest.approx((once.r.lower, once.r.upper))

    def labels(count: int) -> Labels:
        none = np.full(30 * count, "")
        sdmt = np.full(30 * count, np.nan)
        return Labels(np.tile(people, count), np.tile(ages, count), none, none, sdmt, "measured", None)

    few, many = (paired_errors(np.tile(estimates, n)[None], np.tile(other, n)[None], labels(n), 1) for n in (1, 3))
    assert few is not None
    assert many is not None
    assert many.subjects == few.subjects == 30
    assert many.permutation_p == pytest.approx(few.permutation_p)
    assert many.detectable == pytest.approx(few.detectable)
