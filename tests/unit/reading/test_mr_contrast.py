"""The physics behind the choice, away from files."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_pipeline.reading.dicom_plane import SequenceFacts
from med3d_pipeline.reading.mr_contrast import Weighting, judge_contrast
from med3d_pipeline.reading.relaxation import tissues

SPOILED = SequenceFacts(scanning_sequence=("GR",), sequence_variant=("SP",), te_ms=3.0, field_strength_t=3.0)
SPIN_ECHO = SequenceFacts(scanning_sequence=("SE",), field_strength_t=3.0)


@given(field=st.floats(0.05, 10), other=st.floats(0.05, 10))
def test_relaxation_slows_with_the_field_and_grey_matter_stays_slower_than_white(field, other):
    low, high = sorted((field, other))
    for weak, strong in zip(tissues(low)[:2], tissues(high)[:2], strict=True):
        assert weak.t1_ms <= strong.t1_ms
        assert weak.t2_star_ms >= strong.t2_star_ms
    white, grey, fluid = tissues(field)
    assert white.t1_ms < grey.t1_ms < fluid.t1_ms


def test_tabulated_fields_keep_their_published_values():
    white, grey, _ = tissues(1.5)
    assert (white.t1_ms, grey.t1_ms) == (646.0, 1197.0)
    white, grey, _ = tissues(7.0)
    assert (white.t1_ms, grey.t1_ms) == (1126.0, 1939.0)


def test_an_unknown_field_is_taken_for_three_tesla():
    assert tissues(None) == tissues(3.0)


@given(tr=st.floats(4, 40), flip=st.floats(1, 37))
def test_a_spoiled_gradient_echo_turns_t1_weighted_above_ernsts_angle_and_never_back(tr, flip):
    here = judge_contrast(replace(SPOILED, tr_ms=tr, flip_deg=flip)).weighting
    steeper = judge_contrast(replace(SPOILED, tr_ms=tr, flip_deg=flip + 15)).weighting
    assert not (here is Weighting.T1 and steeper is Weighting.OTHER)


@given(te=st.floats(1, 200))
def test_a_gradient_echo_stops_being_t1_weighted_once_dephasing_shows(te):
    finding = judge_contrast(replace(SPOILED, tr_ms=300.0, flip_deg=70.0, te_ms=te))
    assert (finding.weighting is Weighting.T1) == (te <= 0.22 * tissues(3.0)[0].t2_star_ms)


@given(tr=st.floats(2500, 15000), te=st.floats(5, 400))
def test_a_spin_echo_of_long_repetition_is_never_t1_weighted(tr, te):
    assert judge_contrast(replace(SPIN_ECHO, tr_ms=tr, te_ms=te)).weighting is Weighting.OTHER


@given(te=st.floats(60, 400), tr=st.floats(300, 15000), ti=st.one_of(st.none(), st.floats(100, 3000)))
def test_a_late_spin_echo_is_never_t1_weighted_inverted_or_not(te, tr, ti):
    assert judge_contrast(replace(SPIN_ECHO, tr_ms=tr, te_ms=te, ti_ms=ti)).weighting is not Weighting.T1


@pytest.mark.parametrize("field_t", [1.5, 3.0, 7.0])
def test_mprage_loses_its_contrast_when_the_inversion_is_long_past(field_t):
    facts = replace(SPOILED, scanning_sequence=("GR", "IR"), tr_ms=2400.0, field_strength_t=field_t, flip_deg=8.0)
    verdicts = [judge_contrast(replace(facts, ti_ms=ti)).weighting for ti in (1000.0, 2390.0)]
    assert verdicts == [Weighting.T1, Weighting.OTHER]


def test_nothing_is_concluded_from_nothing():
    assert judge_contrast(SequenceFacts()).weighting is Weighting.UNKNOWN
    assert judge_contrast(replace(SPOILED, tr_ms=8.0)).weighting is Weighting.UNKNOWN
    assert judge_contrast(replace(SPIN_ECHO, tr_ms=600.0)).weighting is Weighting.UNKNOWN


def test_where_the_sequence_type_is_unstated_only_unanimity_counts():
    prepared = SequenceFacts(tr_ms=2300.0, te_ms=3.0, ti_ms=900.0, flip_deg=9.0)
    assert judge_contrast(prepared).weighting is Weighting.T1
    assert judge_contrast(SequenceFacts(tr_ms=500.0, te_ms=10.0)).weighting is Weighting.UNKNOWN
    assert judge_contrast(SequenceFacts(tr_ms=4000.0, te_ms=100.0, flip_deg=90.0)).weighting is Weighting.OTHER


@given(tr=st.floats(1, 4.4), te=st.floats(0.01, 4), flip=st.floats(1, 90), field=st.floats(0.05, 7))
def test_what_repeats_faster_than_anatomy_is_never_t1_weighted_unless_it_states_an_inversion(tr, te, flip, field):
    fast = replace(SPOILED, tr_ms=tr, te_ms=te, flip_deg=flip, field_strength_t=field, acquisition_type="3D")
    assert judge_contrast(fast).weighting is Weighting.OTHER
    assert judge_contrast(replace(fast, te_ms=1.5, field_strength_t=3.0, ti_ms=450.0)).weighting is Weighting.T1


@given(tr=st.floats(1000, 6000), te=st.floats(1, 10), flip=st.floats(3, 15))
def test_a_prepared_train_without_inversion_time_is_neither_called_t1_weighted_nor_anything_else(tr, te, flip):
    coded = replace(SPOILED, scanning_sequence=("GR", "IR"), tr_ms=tr, te_ms=te, flip_deg=flip)
    prepared = replace(coded, scanning_sequence=("GR",), sequence_variant=("SP", "MP"))
    bare = SequenceFacts(tr_ms=tr, te_ms=te, flip_deg=flip)
    for facts in (coded, prepared, bare):
        assert judge_contrast(facts).weighting is Weighting.UNKNOWN
        late = replace(facts, te_ms=60.0, scanning_sequence=("GR",))
        assert judge_contrast(late).weighting is Weighting.OTHER


@pytest.mark.parametrize("field_t", [0.05, 0.064, 0.2, 0.55, 1.0, 1.5, 3.0, 7.0])
def test_an_inversion_near_the_null_of_grey_matter_is_t1_weighted_at_every_field(field_t):
    _, grey, _ = tissues(field_t)
    facts = replace(SPIN_ECHO, scanning_sequence=("SE", "IR"), te_ms=6.0, field_strength_t=field_t)
    finding = judge_contrast(replace(facts, tr_ms=5 * grey.t1_ms, ti_ms=0.8 * grey.t1_ms))
    assert finding.weighting is Weighting.T1
