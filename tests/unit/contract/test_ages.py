import pytest
from hypothesis import given
from hypothesis import strategies as st

from med3d_contract.ages import chronological_age


def test_what_the_sender_states_wins_over_the_headers():
    age = chronological_age(stated_years=41.5, birth_date="19800101", study_date="20200101", patient_age="040Y")
    assert age is not None
    assert (age.years, age.source) == (41.5, "form")


def test_birth_and_study_date_give_the_decimal_age():
    age = chronological_age(birth_date="19800615", study_date="20201215", patient_age="099Y")
    assert age is not None
    assert age.source == "birth_date"
    assert age.years == pytest.approx(40.5, abs=0.01)
    assert age.note is None


@pytest.mark.parametrize(
    ("text", "years"), [("034Y", 34.5), ("018M", 18.5 / 12), ("006W", 6.5 * 7 / 365.25), ("010D", 10.5 / 365.25)]
)
def test_patient_age_gets_half_a_unit_and_says_so(text, years):
    age = chronological_age(patient_age=text)
    assert age is not None
    assert age.years == pytest.approx(years, abs=0.001)
    assert age.source == "patient_age"
    assert "half a unit" in age.note


@pytest.mark.parametrize("text", ["", "34Y", "ABCY", "034X", "999Y", "0034", "²²²Y", None])
def test_an_unreadable_patient_age_is_no_age(text):
    assert chronological_age(patient_age=text) is None


def test_a_study_before_the_birth_falls_back_to_patient_age():
    age = chronological_age(birth_date="20200101", study_date="19990101", patient_age="050Y")
    assert age is not None
    assert age.source == "patient_age"


@given(birth=st.text(max_size=10), study=st.text(max_size=10), patient_age=st.text(max_size=6))
def test_no_header_text_ever_raises_or_gives_an_impossible_age(birth, study, patient_age):
    age = chronological_age(birth_date=birth, study_date=study, patient_age=patient_age)
    assert age is None or 0 <= age.years <= 120
