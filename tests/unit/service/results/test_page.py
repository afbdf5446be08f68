"""The page as it is read: nothing cut, nothing over another, every name in its own letters, numbers that add up."""

import dataclasses
import io
import itertools
import re
from datetime import UTC, datetime, timedelta, timezone
from unicodedata import normalize

import pypdfium2
import pypdfium2.raw as raw
import pytest
from pydicom import dcmread
from pydicom.uid import RLELossless

from med3d_contract.results import (
    ChronologicalAge,
    Estimate,
    Interval,
    Reason,
    Refusal,
    Sdmt,
    SeriesCandidate,
    SeriesReport,
)
from med3d_service.results.reports.encapsulated import page_pixels, secondary_capture
from med3d_service.results.reports.printed_page.lettering import CJK_FILES, number, wrapped
from med3d_service.results.reports.printed_page.page import page_pdf
from med3d_service.results.reports.printed_page.page_answer import FONT, readable_name
from rig.service.facts import PATIENT, STUDY, facts, refused_facts
from rig.service.work import QUALITY, result

MEASURES = {
    "brain_volume_ml": 1203.4, "template_overlap": 0.93, "registration_similarity": 0.81, "affine_determinant": 1.12,
    "affine_anisotropy": 1.02, "template_outside_view": 0.0, "brain_at_edge_cm2": 0.3, "signal_to_noise": 22.1,
    "brain_at_removed_face_cm2": 0.0, "contrast_to_noise": None, "white_over_grey": 1.31, "gain_by_turning": -0.004,
    "tissue_correlation": 0.7,
}  # fmt: skip
ALL_MEASURES = QUALITY.model_copy(update={"measures": MEASURES, "failed": ("signal_to_noise",)})
LABEL = "series 19: 3D T1w 1.00 x 1.00 x 1.00 mm, 176 slices"
SERIES = SeriesReport(chosen=LABEL, candidates=(SeriesCandidate(label=LABEL, score=0.9, reasons=("T1-weighted",)),))
SDMT = Sdmt(estimate=51.5, interval=Interval(level=0.9, lower=40, upper=63), evidence="measured SDMT of 900 people")
TWO = "The images of this study name two patients under one Study Instance UID. Correct the study at the PACS."


def answer(estimate=47.34, age=50.06, corrected=-1.2, **assessed):
    made = result(estimate)
    corrected = Estimate(estimate=corrected, interval=Interval(level=0.9, lower=-9, upper=7))
    known = ChronologicalAge(years=age, source="birth_date")
    gap = made.brain_age.gap.model_copy(update={"estimate": estimate - age})
    changed = {"chronological_age": known, "gap": gap, "gap_corrected": corrected}
    assessment = made.assessment.model_copy(update=assessed)
    brain_age = made.brain_age.model_copy(update=changed)
    return made.model_copy(update={"brain_age": brain_age, "assessment": assessment})


def crowded():
    reasons = tuple(
        Reason(code="c", sentence="A reason that goes on " * words + "and ends.") for words in (3, 14, 9) * 3
    )
    return facts(
        result=answer(reasons=reasons, calibrated_for="Ward 3").model_copy(update={"sdmt": SDMT}),
        quality=ALL_MEASURES,
        series=SERIES,
        descriptions={"19": "X" * 64},
        patient=dataclasses.replace(PATIENT, patient_id="W" * 64, name=f"{'Y' * 64}^Z=김^희중"),
        study=dataclasses.replace(STUDY, accession_number="9" * 40),
        replaces_at=datetime(2025, 12, 1, 14, 2, tzinfo=UTC),
    )


def many_series():
    against = ("the echo time of 98 ms is that of a T2-weighted scan", "more than 3 mm between slices")
    found = [SeriesCandidate(label=f"series {n}: 2D, {n} slices", score=0.1, reasons=against * 2) for n in range(1, 40)]
    return SeriesReport(chosen=None, candidates=tuple(found))


def two_patients():
    other = dataclasses.replace(PATIENT, name="Roe^Richard", patient_id="P-2", birth_date="19501130")
    return refused_facts(refusal=Refusal(code="several_patients", reason=TWO), series=None, patients=(PATIENT, other))


PAGES = {
    "plain": facts(result=answer(), quality=ALL_MEASURES, series=SERIES),
    "crowded": crowded(),
    "refused": refused_facts(series=many_series(), quality=ALL_MEASURES, pictures=facts().pictures),
    "two patients": two_patients(),
    "bare": facts(pictures=None, cohort=None, quality=None, provenance=None, series=None),
}


def opened(pdf):
    document = pypdfium2.PdfDocument(pdf)
    page = document[0].get_textpage()
    return document, page


def said_by(made):
    document, page = opened(page_pdf(made))
    try:
        return " ".join(page.get_text_bounded().split())
    finally:
        page.close()
        document.close()


@pytest.mark.parametrize("name", PAGES)
def test_no_text_lies_over_another_or_beyond_the_page(name):
    document, page = opened(page_pdf(PAGES[name]))
    try:
        boxes = [page.get_rect(at) for at in range(page.count_rects())]
        width, height = document[0].get_size()
    finally:
        page.close()
        document.close()
    assert all(left >= 0 and bottom >= 0 and right <= width and top <= height for left, bottom, right, top in boxes)
    for one, other in itertools.combinations(boxes, 2):
        across = min(one[2], other[2]) - max(one[0], other[0])
        up = min(one[3], other[3]) - max(one[1], other[1])
        assert across < 0.5 or up < 1.5, (one, other)  # descenders may reach for the line below


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut(name):
    made = PAGES[name]
    said = said_by(made)
    assert "..." not in said
    held = re.sub(r"\s", "", said)
    for value in (made.patient.patient_id, made.study.accession_number, made.descriptions.get("19", "")):
        assert value in held or made.patients
    for reason in made.reasons[:2]:
        assert reason.sentence in said


def test_reasons_that_find_no_room_are_counted():
    assert "and 4 more reasons, in the answer of the run" in said_by(crowded())


def test_the_fonts_of_all_text_are_embedded():
    document = pypdfium2.PdfDocument(page_pdf(PAGES["crowded"]))
    try:
        texts = list(document[0].get_objects(filter=[raw.FPDF_PAGEOBJ_TEXT]))
        embedded = [raw.FPDFFont_GetIsEmbedded(raw.FPDFTextObj_GetFont(text.raw)) for text in texts]
    finally:
        document.close()
    assert len(embedded) > 80
    assert all(one == 1 for one in embedded)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Müller^Änne", "Müller, Änne"),
        ("Иванов^Пётр", "Иванов, Пётр"),
        ("Παπαδόπουλος^Ωρίων", "Παπαδόπουλος, Ωρίων"),
        ("Şahin^Gülşah", "Şahin, Gülşah"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "Yamada, Tarou (山田 太郎)"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "Hong, Gildong (洪 吉洞)"),
        ("=김^희중", "김 희중"),
        ("Cohen^Dan=כהן^דן", "Cohen, Dan"),
        ("Sharma^Kshitij=क्षितिज^शर्मा", "Sharma, Kshitij"),
    ],
)
def test_a_name_is_written_in_its_own_letters(name, shown):
    if not any(path.exists() for path in CJK_FILES):
        pytest.skip("no font for Chinese, Japanese and Korean (on Debian: apt-get install fonts-wqy-zenhei)")
    patient = dataclasses.replace(PATIENT, name=name)
    assert readable_name(patient) == shown
    assert shown in said_by(facts(patient=patient))


def test_a_name_whose_accents_stand_apart_is_written_with_composed_letters():
    apart = normalize("NFD", "Müller^Änne Nguyễn Ώρα Йод")
    assert "Müller, Änne Nguyễn Ώρα Йод" in said_by(facts(patient=dataclasses.replace(PATIENT, name=apart)))


@pytest.mark.parametrize("name", ["כהן^דן", "हिन्दी^क्षितिज", "ที่นี้^ผู้ใหญ่"])
def test_a_name_that_takes_more_than_letters_is_said_to_be_elsewhere(name):
    assert readable_name(dataclasses.replace(PATIENT, name=name)).startswith("see the study")
    assert readable_name(dataclasses.replace(PATIENT, name="")) == "-"


def test_the_numbers_add_up_as_printed_and_minus_is_a_minus():
    said = said_by(facts(result=answer()))
    assert "47.3 years" in said
    assert "50.1 years" in said
    assert "\N{MINUS SIGN}2.8 years" in said  # not 47.34 - 50.06 = -2.72, which is -2.7
    assert "Corrected gap" in said
    assert "\N{MINUS SIGN}1.2 years" in said
    assert "90% interval \N{MINUS SIGN}9 to +7" in said
    assert not re.search(r"(?<!\w)-[0-9]", said)


def test_zero_has_no_sign_of_its_own():
    assert (number(-0.04, 1), number(-0.04, 1, signed=True), number(-3, 0)) == ("0.0", "+0.0", "\N{MINUS SIGN}3")


def test_the_sides_of_the_pictures_are_marked():
    document, page = opened(page_pdf(facts()))
    letters = page.get_text_bounded().split()
    page.close()
    document.close()
    assert [letters.count(side) for side in "RLAPSI"] == [2, 2, 2, 2, 2, 2]


def test_the_scanners_own_description_stands_beside_ours():
    said = said_by(facts(series=SERIES, descriptions={"19": "t1_mprage_sag_p2_iso", "2": "t2_tse"}))
    assert LABEL in said
    assert "t1_mprage_sag_p2_iso" in said
    assert "t2_tse" not in said


def test_a_refused_page_names_its_code_and_the_series():
    said = said_by(refused_facts(series=many_series(), descriptions={"2": "t2_tse_tra"}))
    assert "REFUSED: no estimate (no_t1w_series)" in said
    assert "Series that were looked at (39)" in said
    assert "series 2: 2D, 2 slices \N{EN DASH} t2_tse_tra" in said
    assert "98 ms is that of a T2-weighted scan" in said
    assert re.search(r"and [0-9]+ more, in the answer of the run", said)
    assert "prediction intervals" not in said


def test_both_of_two_patients_are_named():
    said = said_by(two_patients())
    assert "Müller, Änne, ID PAT-0042, born 1970-11-12" in said
    assert "Roe, Richard, ID P-2, born 1950-11-30" in said
    assert "(several_patients)" in said
    assert "usable" not in said


def test_times_have_a_zone_and_what_is_replaced_is_dated():
    at = datetime(2025, 12, 1, 14, 2, tzinfo=timezone(timedelta(hours=-3, minutes=-30)))
    said = said_by(facts(replaces_at=at))
    assert "This page replaces the page of 2025-12-01 14:02 (UTC\N{MINUS SIGN}03:30)." in said
    assert "2026-01-05 09:30 (UTC+00:00)" in said
    assert "replaces" not in said_by(facts())


def test_a_word_that_is_wider_than_a_line_goes_on_in_the_next():
    assert "".join(wrapped("W" * 60, FONT, 10, 100)) == "W" * 60
    assert len(wrapped("W" * 60, FONT, 10, 100)) > 3


def test_the_secondary_capture_is_the_page_compressed_without_loss():
    made = facts(result=answer(), quality=ALL_MEASURES, series=SERIES)
    file = secondary_capture(made)
    dataset = dcmread(io.BytesIO(file))
    assert dataset.file_meta.TransferSyntaxUID == RLELossless
    assert len(file) < 600_000
    pixels, width, height = page_pixels(page_pdf(made))
    assert (dataset.Columns, dataset.Rows) == (width, height)
    assert dataset.pixel_array.tobytes() == pixels
