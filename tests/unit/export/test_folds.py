from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from med3d_export.subjects.cohort import Cohort, CohortError, CohortSubject
from med3d_export.subjects.folds import leave_one_site_out, stratified_folds, thinned
from med3d_export.subjects.split_file import read_split, write_split


def cohort_of(people: int, sites: str = "A", visits: int = 1, seed: int = 0) -> Cohort:
    """People aged 20 to 80, every second one a woman, sites in turn; each scanned ``visits`` times, a year apart."""
    ages = np.random.default_rng(seed).uniform(20, 80, people)
    rows = [
        CohortSubject(
            2 + person * visits + visit, f"s{person}", float(age) + visit, "FM"[person % 2],
            sites[(person // 2) % len(sites)], Path(f"{person}-{visit}.nii.gz"), visit=f"v{visit}",
        )
        for person, age in enumerate(ages) for visit in range(visits)
    ]  # fmt: skip
    return Cohort(tuple(rows))


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 120), st.sampled_from(["A", "AB", "ABC"]), st.integers(1, 3), st.integers(2, 5))
def test_every_scan_is_tested_once_and_no_subject_is_on_both_sides(people, sites, visits, folds):
    cohort = cohort_of(people, sites, visits)
    split = stratified_folds(cohort, folds, seed=7)
    assert sorted(np.concatenate([fold.test for fold in split.folds])) == list(range(len(cohort)))
    for fold in split.folds:
        assert sorted([*fold.training, *fold.test]) == list(range(len(cohort)))
        assert not set(cohort.participant_ids[fold.training]) & set(cohort.participant_ids[fold.test])


def test_age_sex_and_site_are_spread_evenly():
    cohort = cohort_of(600, "AB")
    split = stratified_folds(cohort, 5, seed=1)
    assert split.strata == ("age in 6 bands", "sex", "site")
    for fold in split.folds:
        assert abs(np.median(cohort.ages_years[fold.test]) - np.median(cohort.ages_years)) < 5
        assert abs(np.mean(cohort.sexes[fold.test] == "F") - 0.5) <= 0.1
        assert abs(np.mean(cohort.sites[fold.test] == "A") - 0.5) <= 0.1


def test_the_seed_alone_decides():
    cohort = cohort_of(60)
    first, again, other = (stratified_folds(cohort, 3, seed).folds[0].test.tolist() for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_site_with_too_few_people_for_the_folds_does_not_stop_the_others():
    cohort = cohort_of(60, "AAAAAAAAAB")
    assert "site" in stratified_folds(cohort, 5, seed=1).strata


def test_fewer_training_heads_are_spread_as_all_are_and_lie_within_more_of_them():
    cohort = cohort_of(300, "AAAB")
    fold = stratified_folds(cohort, 5, seed=1).folds[0]
    few, more = (thinned(fold, cohort, heads, seed=9).training for heads in (40, 120))
    assert (len(few), len(more)) == (40, 120)
    assert set(few) < set(more) < set(fold.training)
    for values in (cohort.sexes == "F", cohort.sites == "B"):
        assert values[few].mean() == pytest.approx(values[fold.training].mean(), abs=0.06)
    assert np.quantile(cohort.ages_years[few], [0.25, 0.75]) == pytest.approx(
        np.quantile(cohort.ages_years[fold.training], [0.25, 0.75]), abs=4
    )
    assert thinned(fold, cohort, len(fold.training), seed=9).training.tolist() == fold.training.tolist()


def test_more_training_heads_than_a_fold_has_are_an_error_that_says_how_many_there_are():
    cohort = cohort_of(60)
    fold = stratified_folds(cohort, 5, seed=1).folds[0]
    for heads in (3, 61):
        with pytest.raises(CohortError, match=f"{heads} training heads: a fold has 48; ask for 12 to 48"):
            thinned(fold, cohort, heads, seed=1)


def test_too_few_subjects_for_the_folds_are_an_error():
    with pytest.raises(CohortError, match="4 subjects are too few for 5 folds"):
        stratified_folds(cohort_of(4), 5, seed=1)


def test_each_site_is_left_out_once():
    cohort = cohort_of(30, "ABC")
    split = leave_one_site_out(cohort)
    assert [fold.name for fold in split.folds] == ["A", "B", "C"]
    for fold in split.folds:
        assert set(cohort.sites[fold.test]) == {fold.name}
        assert fold.name not in cohort.sites[fold.training]


def test_one_site_cannot_be_left_out_and_who_was_at_two_is_named():
    with pytest.raises(CohortError, match="at least two sites"):
        leave_one_site_out(cohort_of(10))
    first, second, *rest = cohort_of(10, "AB", visits=2).subjects
    moved = CohortSubject(second.row, second.participant_id, 50, "F", "B", second.t1w, visit="v1")
    with pytest.raises(CohortError, match=r"row 3: s0 was scanned at B and, in row 2, at A"):
        leave_one_site_out(Cohort((first, moved, *rest)))


@pytest.mark.parametrize("kind", ["stratified", "leave-one-site-out"])
def test_a_stored_split_comes_back_the_same_even_for_rows_in_another_order(tmp_path, kind):
    cohort = cohort_of(40, "AB", visits=2)
    split = stratified_folds(cohort, 4, seed=3) if kind == "stratified" else leave_one_site_out(cohort)
    write_split(split, cohort, tmp_path / "split.json")
    turned = Cohort(cohort.subjects[::-1])
    for same_rows, read in ((cohort, read_split(tmp_path / "split.json", cohort)),
                            (turned, read_split(tmp_path / "split.json", turned))):  # fmt: skip
        assert (read.kind, read.seed, read.strata) == (split.kind, split.seed, split.strata)
        for stored, made in zip(read.folds, split.folds, strict=True):
            assert set(same_rows.participant_ids[stored.test]) == set(cohort.participant_ids[made.test])
            assert stored.name == made.name


def test_a_split_of_another_cohort_is_refused_by_name(tmp_path):
    write_split(stratified_folds(cohort_of(40), 4, seed=3), cohort_of(40), tmp_path / "split.json")
    with pytest.raises(CohortError, match="tests s39, who is not in the cohort"):
        read_split(tmp_path / "split.json", cohort_of(39))
    with pytest.raises(CohortError, match="made for another cohort"):
        read_split(tmp_path / "split.json", cohort_of(41))


def test_a_file_that_is_no_split_is_refused(tmp_path):
    (tmp_path / "split.json").write_text('{"folds": []}', encoding="utf-8")
    with pytest.raises(CohortError, match=r"split\.json is no split"):
        read_split(tmp_path / "split.json", cohort_of(40))
