from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from med3d_contract.ages import (
    AgeReading,
    agreed_age,
    chronological_age,
    read_age,
    settle_age,
    stated_age,
    storable_age,
    stored_age,
)
from med3d_contract.scan_dates import DatesBeside, days_meant, worth_keeping

ANY_DAY = st.dates(date(1920, 1, 2), date(2024, 12, 31))


def written(day):
    return day.strftime("%Y%m%d")


def test_what_the_sender_states_wins_over_the_headers():
    age = chronological_age(stated_years=41.5, birth_date="19800101", study_date="20200101", patient_age="040Y")
    assert age is not None
    assert (age.years, age.source) == (41.5, "form")


@pytest.mark.parametrize("patient_age", ["040Y", "039Y", "041Y", "", None, "000Y", "486M"])
def test_birth_and_study_date_give_the_decimal_age(patient_age):
    age = chronological_age(birth_date="19800615", study_date="20201215", patient_age=patient_age)
    assert age is not None
    assert age.source == "birth_date"
    assert age.years == pytest.approx(40.5, abs=0.01)
    assert age.note is None


@pytest.mark.parametrize(
    ("text", "years"),
    [
        ("034Y", 34.5), ("018M", 18.5 / 12), ("006W", 6.5 * 7 / 365.25), ("010D", 10.5 / 365.25), ("34Y", 34.5),
        (" 45Y", 45.5), ("45 y", 45.5), ("18M", 18.5 / 12), ("Y045", 45.5), ("M018", 18.5 / 12), ("45 years", 45.5),
        ("12 months", 12.5 / 12), ("3 wks", 3.5 * 7 / 365.25), ("7Y", 7.5), ("00045Y", 45.5),
    ],
)  # fmt: skip
def test_patient_age_gets_half_a_unit_and_says_so(text, years):
    age = chronological_age(patient_age=text)
    assert age is not None
    assert age.years == pytest.approx(years, abs=0.001)
    assert age.source == "patient_age"
    assert "half a unit" in age.note


@pytest.mark.parametrize("text", ["042", "42"])
def test_a_patient_age_without_unit_is_years_and_says_so(text):
    age = chronological_age(patient_age=text)
    assert age.years == 42.5
    assert "no unit" in age.note


@pytest.mark.parametrize("text", ["45.5Y", "45,5Y", "45.50 years"])
def test_a_patient_age_with_decimals_is_taken_as_it_is(text):
    age = chronological_age(patient_age=text)
    assert (age.years, "half a unit" in age.note) == (45.5, False)


@pytest.mark.parametrize(
    "text", ["ABCY", "034X", "0034", "²²²Y", "90+", "089Y+", ">89", "40-45", "-45Y", "120Y", "4500", "Y", "45Y6M"]
)
def test_an_unreadable_patient_age_is_no_age_and_is_told(text):
    reading = read_age(patient_age=text)
    assert reading.age is None
    assert reading.doubt.code == "age_unusable"
    assert text not in reading.doubt.sentence
    beside = read_age(patient_age=text, birth_date="19800615", study_date="20201215")
    assert (beside.age.source, beside.age.note, beside.doubt) == ("birth_date", "PatientAge could not be read", None)


@pytest.mark.parametrize("text", ["", None, "  ", "000Y", "0Y", "000", "0", "000D", "Y000", "999Y", "999"])
def test_what_stands_for_an_unknown_age_counts_as_not_written(text):
    assert read_age(patient_age=text) == AgeReading(None)
    assert read_age(patient_age=text, birth_date="19000101", study_date="20150601") == AgeReading(None)


PLACEHOLDERS = [
    "19000101", "1900", "19000000", "1900-01-01", "19010101", "19111111", "00010101", "00000000", "18991230", "18991231", "20990101",
    "20150601",
]  # fmt: skip


@pytest.mark.parametrize(
    ("beside", "study_date", "said"),
    [
        (DatesBeside("20130717"), None, "there is no StudyDate, the date of acquisition was taken"),
        (DatesBeside("20130717103000.000000+0200"), "", "there is no StudyDate, the date of acquisition was taken"),
        (DatesBeside("2013.07.17"), "00000000", "StudyDate is no date, the date of acquisition was taken"),
        (DatesBeside("", "20130717", "20200101"), None, "there is no StudyDate, SeriesDate was taken"),
        (DatesBeside("19000101", "", "20130717"), "19000101", "StudyDate is no date, ContentDate was taken"),
        (DatesBeside("20130718"), "20130717", None),
        (DatesBeside("", "19990101", "20200101"), "20130717", None),
    ],
)
def test_other_dates_of_the_scan_stand_in_for_a_study_date_that_was_taken_out(beside, study_date, said):
    reading = read_age(birth_date="19660102", study_date=study_date, beside=beside)
    assert (reading.age.years, reading.age.source, reading.doubt) == (
        pytest.approx(47.538, abs=0.001),
        "birth_date",
        None,
    )
    assert reading.age.note == said
    later = read_age(
        birth_date="19660102", study_date=study_date, beside=DatesBeside(worth_keeping(study_date or "", beside))
    )
    assert later.age.years == reading.age.years, "what a corrected birth date is reckoned from"


def test_a_birth_date_without_any_date_of_the_scan_is_told_and_gives_no_age():
    reading = read_age(birth_date="19660102")
    assert reading.age is None
    assert "no date says when the scan was made" in reading.doubt.sentence
    beside = read_age(birth_date="19660102", patient_age="047Y").age
    assert (beside.years, beside.note.split(";")[0]) == (47.5, "no date says when the scan was made")
    assert read_age(birth_date="19000101") == AgeReading(None)


def test_dates_of_study_and_acquisition_that_lie_years_apart_give_no_age_and_a_reason():
    reading = read_age(birth_date="19660102", study_date="20130717", beside=DatesBeside("20180101"))
    assert (reading.age, reading.doubt.code) == (None, "age_unusable")
    assert "more than a year apart" in reading.doubt.sentence


@pytest.mark.parametrize("birth_date", PLACEHOLDERS)
def test_a_placeholder_for_the_birth_date_is_never_an_age(birth_date):
    assert read_age(birth_date=birth_date, study_date="20150601") == AgeReading(None)
    reading = read_age(birth_date=birth_date, study_date="20150601", patient_age="045Y")
    assert (reading.age.years, reading.age.source, reading.doubt) == (45.5, "patient_age", None)
    assert reading.age.note.startswith("PatientBirthDate is a placeholder")


@pytest.mark.parametrize(
    ("birth_date", "study_date"),
    [("20160101", "20150601"), ("18700101", "20150601"), ("first of May", "20150601"), ("19661301", "20150601"),
     ("19800101", "20991231"), ("19800101", "June"), ("19800101", "2015")],
)  # fmt: skip
def test_dates_that_give_no_age_are_told_and_patient_age_stands_in(birth_date, study_date):
    alone = read_age(birth_date=birth_date, study_date=study_date)
    assert alone.age is None
    assert alone.doubt.code == "age_unusable"
    assert birth_date not in alone.doubt.sentence
    beside = read_age(birth_date=birth_date, study_date=study_date, patient_age="050Y")
    assert (beside.age.years, beside.age.source, beside.doubt) == (50.5, "patient_age", None)
    assert beside.age.note.startswith("the ")


@pytest.mark.parametrize("birth_date", ["19660102", "1966-01-02", "1966.01.02", "1966/01/02", "19660102083000"])
def test_dates_are_read_however_they_are_spelt(birth_date):
    age = chronological_age(birth_date=birth_date, study_date="20130717")
    assert (age.years, age.source, age.note) == (pytest.approx(47.538, abs=0.001), "birth_date", None)


@pytest.mark.parametrize(("birth_date", "years"), [("1966", 47.04), ("19660000", 47.04), ("196603", 47.34)])
def test_a_birth_date_without_its_day_is_the_middle_of_what_it_names_unless_patient_age_is_stated(birth_date, years):
    age = chronological_age(birth_date=birth_date, study_date="20130717")
    assert (age.years, age.source) == (pytest.approx(years, abs=0.01), "birth_date")
    assert "no day" in age.note
    beside = chronological_age(birth_date=birth_date, study_date="20130717", patient_age="047Y")
    assert (beside.years, beside.source) == (47.5, "patient_age")


@pytest.mark.parametrize(
    ("birth_date", "patient_age"),
    [("19660101", "042Y"), ("19660101", "049Y"), ("19660101", "018M"), ("1966", "030Y"), ("20110101", "006W"),
     ("19000102", "045Y")],
)  # fmt: skip
def test_sources_that_lie_more_than_a_year_apart_give_no_age_and_a_reason(birth_date, patient_age):
    reading = read_age(birth_date=birth_date, study_date="20130717", patient_age=patient_age)
    assert reading.age is None
    assert reading.doubt.code == "age_sources_disagree"
    assert (
        read_age(stated_years=50, birth_date=birth_date, study_date="20130717", patient_age=patient_age).age.source
        == "form"
    )


@given(born=ANY_DAY, days=st.integers(1, 43000), late=st.integers(-1, 1))
@example(born=date(2001, 1, 1), days=2556, late=1)  # seven years with one leap day: 6.998 of 365.25 days
@example(born=date(1896, 3, 1), days=2921, late=1)  # eight years without any
def test_an_age_as_a_scanner_writes_it_agrees_with_the_birth_date_it_came_from(born, days, late):
    scanned = born + timedelta(days=days)
    completed = scanned.year - born.year - ((scanned.month, scanned.day) < (born.month, born.day))
    reading = read_age(
        birth_date=written(born), study_date=written(scanned), patient_age=f"{max(completed + late, 0):03d}Y",
        today=date(2200, 1, 1),
    )  # fmt: skip
    assert reading.doubt is None
    assert reading.age.source == "birth_date"
    assert reading.age.years == pytest.approx(days / 365.25, abs=0.001)


@given(born=ANY_DAY, days=st.integers(1, 43000), apart=st.integers(3, 60), older=st.booleans())
def test_ages_that_lie_years_apart_never_give_one(born, days, apart, older):
    scanned = born + timedelta(days=days)
    other = int(days / 365.25) + (apart if older else -apart)
    if not 0 < other < 120:
        return
    reading = read_age(
        birth_date=written(born), study_date=written(scanned), patient_age=f"{other:03d}Y", today=date(2200, 1, 1)
    )
    assert reading.age is None
    assert reading.doubt is not None


@pytest.mark.parametrize("patient_age", ["", "010W", "002M", "000Y", "074D"])
def test_an_honest_infant_age_stays_one(patient_age):
    age = chronological_age(birth_date="20200101", study_date="20200315", patient_age=patient_age)
    assert (age.source, age.years) == ("birth_date", pytest.approx(0.203, abs=0.001))


def test_a_newborn_scanned_on_its_first_day_has_the_age_that_is_stated():
    age = chronological_age(birth_date="20200101", study_date="20200101", patient_age="001D")
    assert (age.source, age.years) == ("patient_age", pytest.approx(0.004, abs=0.001))


@given(birth=st.text(max_size=10), study=st.text(max_size=10), patient_age=st.text(max_size=6))
def test_no_header_text_ever_raises_or_gives_an_impossible_age(birth, study, patient_age):
    reading = read_age(birth_date=birth, study_date=study, patient_age=patient_age)
    assert reading.age is None or 0 <= reading.age.years <= 120
    assert reading.age is None or reading.doubt is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"patient_age": "045Y"},
        {"birth_date": "19660101", "study_date": "20130717"},
        {"birth_date": "19660101", "study_date": "20130717", "patient_age": "042Y"},
        {"patient_age": "xx"},
        {},
    ],
)
def test_a_reading_is_kept_with_a_study_and_comes_back_the_same(attributes):
    reading = read_age(**attributes)
    assert stored_age(storable_age(reading)) == reading


BY_DATES = {"birth_date": "19660101", "study_date": "20130717"}  # 47.54 years
CONTRADICTING = BY_DATES | {"patient_age": "030Y"}


@pytest.mark.parametrize(
    ("images", "source"),
    [
        ([{"patient_age": "047Y"}, BY_DATES], "birth_date"),
        ([BY_DATES, {}, {"patient_age": "047Y"}], "birth_date"),
        ([{}, {"patient_age": "047Y"}, {"patient_age": "xx"}], "patient_age"),
        ([{"patient_age": "047Y"}, {"patient_age": "048Y"}], "patient_age"),
    ],
)
def test_of_ages_that_images_tell_the_most_exact_is_taken(images, source):
    agreed = agreed_age(read_age(**image) for image in images)
    assert (agreed.age.source, agreed.doubt) == (source, None)
    assert 47 < agreed.age.years < 48


@pytest.mark.parametrize(
    ("images", "says"),
    [
        ([{"patient_age": "047Y"}, {"patient_age": "049Y"}], "The images tell ages"),
        ([{"patient_age": "049Y"}, {"patient_age": "048Y"}, BY_DATES], "The images tell ages"),
        ([BY_DATES, CONTRADICTING], "Birth date and PatientAge tell ages"),
        ([{"patient_age": "xx"}, CONTRADICTING], "Birth date and PatientAge tell ages"),
        ([{}, {"patient_age": "xx"}], "cannot be used (PatientAge is no age)"),
    ],
)
def test_images_that_do_not_agree_on_an_age_give_none_and_a_reason(images, says):
    agreed = agreed_age(read_age(**image) for image in images)
    assert agreed.age is None
    assert says in agreed.doubt.sentence


def test_images_that_tell_no_age_give_neither_age_nor_doubt():
    assert agreed_age([]) == agreed_age([read_age(), read_age(patient_age="000Y")]) == AgeReading(None)


def test_a_stated_age_is_taken_and_one_a_year_from_the_images_is_beyond_doubt():
    told = read_age(patient_age="047Y")
    assert stated_age(None) is None
    assert settle_age(None, told) == told
    for years in (46.5, 47.0, 48.5):
        assert settle_age(stated_age(years), told) == stated_age(years)
    assert settle_age(stated_age(20.0), read_age(**CONTRADICTING)) == stated_age(20.0)


@pytest.mark.parametrize("years", [20.0, 46.4, 48.6, 90.0])
def test_a_stated_age_that_is_not_the_images_is_taken_with_a_doubt_that_tells_both(years):
    settled = settle_age(stated_age(years), read_age(patient_age="047Y"))
    assert (settled.age.years, settled.age.source, settled.doubt.code) == (years, "form", "stated_age_differs")
    assert f"({years:.1f} years) was taken; they tell 47.5." in settled.doubt.sentence


TODAY = date(2020, 6, 15)


def told_on(born, scanned, **more):
    """An age read on TODAY from two days."""
    return read_age(birth_date=written(born), study_date=written(scanned), today=TODAY, **more)


def test_nobody_is_older_than_120_years():
    scanned = date(2020, 1, 5)
    oldest = scanned - timedelta(days=43830)
    assert told_on(oldest, scanned).age.years == 120
    assert "older than 120 years" in told_on(oldest - timedelta(days=1), scanned).doubt.sentence
    assert [read_age(patient_age=text).age.years for text in ("119Y", "120.0Y", "1439M")] == [
        119.5,
        120,
        pytest.approx(119.958),
    ]
    for text in ("120Y", "120.1Y", "1440M"):
        assert "above 120 years" in read_age(patient_age=text).doubt.sentence


def test_a_scan_of_tomorrow_may_be_one_of_a_place_where_it_is_tomorrow_and_no_later_one():
    born = date(1980, 1, 1)
    assert told_on(born, TODAY + timedelta(days=1)).age.years == pytest.approx(40.46, abs=0.01)
    assert "still to come" in told_on(born, TODAY + timedelta(days=2)).doubt.sentence


def test_who_is_born_today_is_a_person_and_who_is_born_tomorrow_a_placeholder():
    tomorrow = TODAY + timedelta(days=1)
    assert told_on(TODAY, tomorrow).age.years == pytest.approx(0.003)
    assert told_on(tomorrow, TODAY) == AgeReading(None)
    assert "after the study date" in told_on(TODAY, TODAY - timedelta(days=1)).doubt.sentence


def test_a_year_of_birth_that_is_the_scan_s_is_the_middle_of_what_was_lived_by_then():
    assert read_age(birth_date="2013", study_date="20130717", today=TODAY).age.years == pytest.approx(0.27, abs=0.001)
    assert read_age(birth_date="201307", study_date="20130701", today=TODAY).age.years == 0
    assert "after the study date" in read_age(birth_date="201308", study_date="20130731", today=TODAY).doubt.sentence


def test_dates_of_study_and_acquisition_may_lie_a_leap_year_apart():
    assert read_age(birth_date="19660102", study_date="20160101", beside=DatesBeside("20170101")).age.years == 49.996
    assert read_age(birth_date="19660102", study_date="20160101", beside=DatesBeside("20170102")).age is None
    assert read_age(birth_date="19660102", study_date="20160101", beside=DatesBeside("20141231")).age.years == 49.996
    assert read_age(birth_date="19660102", study_date="20160101", beside=DatesBeside("20141230")).age is None


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("034Y", "PatientAge holds whole years; half a unit was added"),
        ("018M", "PatientAge holds whole months; half a unit was added"),
        ("006W", "PatientAge holds whole weeks; half a unit was added"),
        ("010D", "PatientAge holds whole days; half a unit was added"),
        ("45.5Y", "PatientAge holds years with decimals"),
        ("42", "PatientAge states no unit and was read as years; PatientAge holds whole years; half a unit was added"),
    ],
)
def test_a_note_says_how_the_age_was_read(text, note):
    assert read_age(patient_age=text).age.note == note


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2016", date(2016, 1, 1), date(2016, 12, 31)),
        ("20160000", date(2016, 1, 1), date(2016, 12, 31)),
        ("201602", date(2016, 2, 1), date(2016, 2, 29)),
        ("2016-12", date(2016, 12, 1), date(2016, 12, 31)),
        ("2016-11-00", date(2016, 11, 1), date(2016, 11, 30)),
        ("20160717", date(2016, 7, 17), date(2016, 7, 17)),
        ("20160717103000.000000-0500", date(2016, 7, 17), date(2016, 7, 17)),
    ],
)
def test_a_date_means_its_first_day_to_its_last(text, first, last):
    assert days_meant(text) == (first, last)


@pytest.mark.parametrize(
    "text", ["", None, "16", "2016-0717", "20161301", "20160230", "2016071", "2016 07 17", "99990000"]
)
def test_what_is_no_date_means_no_days(text):
    assert days_meant(text) is None


def test_only_a_date_that_an_age_needs_is_kept_beside_the_study_date():
    assert worth_keeping("20130717", DatesBeside("20130718", "20140101")) == "20130718"
    assert worth_keeping("20130717", DatesBeside("", "20140101")) == ""
    assert worth_keeping("", DatesBeside("", "2014.01.01")) == "20140101"
    assert worth_keeping("", DatesBeside()) == ""
    assert DatesBeside.written("", "20130717103000", "20130718", "20130719") == ("2013071710", "20130718", "20130719")
