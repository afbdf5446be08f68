"""The pages of a scan and of a group: what they say, by person and by place, and that nothing is counted twice."""

import numpy as np
import pytest

from med3d_cli.reports.group_page import FlowStep, GroupReport, GroupScan, flow_steps, group_page, outliers_first
from med3d_cli.reports.group_statistics import accuracy, gaps_by_group, permutation_p
from med3d_cli.reports.methods import Made, citation, methods_paragraphs
from med3d_cli.reports.scan_page import ScanReport, place_chart, scan_page
from med3d_cli.reports.strips import Usual, strip
from med3d_cli.reports.usual_quality import usual_quality
from med3d_cli.studies.csv_report import MEASURES
from med3d_contract.pictures import ReferenceCohort
from med3d_contract.results import Estimate, Interval, Reason, Refusal, RunStatus
from med3d_pipeline.bundle.bundle import Bundle
from med3d_worker.analysis import AnalysedInput
from rig.service.work import BUNDLE, PROVENANCE, QUALITY, SERIES, result

COHORT = ReferenceCohort(name="cohort", ages=(30.0, 60.0), brain_ages=(33.0, 58.0), pls_age=())


def answer_with(gap=2.0, decision="accepted", codes=(), percentile=50.0):
    base = result(50.0 + gap)
    interval = Interval(level=0.9, lower=gap - 8, upper=gap + 8)
    estimate = Estimate(estimate=gap, interval=interval)
    age = base.brain_age.model_copy(update={"gap": estimate, "gap_corrected": estimate})
    found = base.assessment.model_copy(
        update={
            "decision": decision,
            "reasons": tuple(Reason(code=code, sentence=f"Because of {code}.") for code in codes),
            "out_of_distribution": base.assessment.out_of_distribution.model_copy(update={"percentile": percentile}),
        }
    )
    return base.model_copy(update={"brain_age": age, "assessment": found})


def scan(name, person=None, **answer):
    return GroupScan(name=name, person=person or name, status="completed", result=answer_with(**answer))


REFUSED = GroupScan(name="fruit", person="fruit", status="refused", code="not_a_head", reason="No <head>.")


def test_who_was_scanned_twice_counts_once_and_whose_scans_differ_not_at_all():
    scans = [
        ("ann", "MS", answer_with(gap=10.0)), ("ann", "MS", answer_with(gap=20.0)), ("ben", "MS", answer_with(gap=9.0)),
        ("cat", "HC", answer_with(gap=0.0)), ("dan", "HC", answer_with(gap=2.0)),
        ("eve", "HC", answer_with(gap=99.0)), ("eve", "MS", answer_with(gap=99.0)),
    ]  # fmt: skip
    found = gaps_by_group("diagnosis", scans)
    assert [(level.level, level.people, level.mean_years) for level in found.levels] == [
        ("HC", 2, 1.0),
        ("MS", 2, 12.0),
    ]
    assert found.left_out == 1
    assert found.levels[0].lower == pytest.approx(1 - 12.706 * 1.0, abs=0.01)  # t of one degree, SD sqrt(2), n = 2


def test_a_variable_that_parts_nobody_is_no_group():
    assert gaps_by_group("sex", [("ann", "F", answer_with()), ("ben", "F", answer_with())]) is None
    assert gaps_by_group("id", [(name, name, answer_with()) for name in "abcdef"]) is None


def test_the_permutation_test_tells_groups_that_differ_and_not_those_that_do_not():
    rng = np.random.default_rng(1)
    same = {"a": rng.normal(0, 5, 20).tolist(), "b": rng.normal(0, 5, 20).tolist()}
    apart = {"a": rng.normal(0, 5, 20).tolist(), "b": rng.normal(12, 5, 20).tolist()}
    assert permutation_p(apart) < 0.001
    assert permutation_p(same) > 0.05


def test_outliers_come_first_and_what_has_no_number_before_them():
    scans = [scan("near", gap=1.0), scan("far", gap=-20.0), REFUSED, scan("middle", gap=5.0)]
    assert [one.name for one in outliers_first(scans)] == ["fruit", "far", "middle", "near"]


def test_a_scan_that_the_model_learned_from_is_counted_nowhere_and_said():
    learned = [scan(f"old{number}", gap=0.0, decision="review", codes=("training_scan",)) for number in range(3)]
    fresh = [scan(f"new{number}", gap=9.0) for number in range(3)]
    page = group_page(GroupReport("A group", [*learned, *fresh]))
    assert "Here: 3." in page
    assert "9.0 years" in page
    assert ("scans that the model learned from", 3) in flow_steps([*learned, *fresh])[1].left_out
    assert accuracy([one.result for one in fresh])[0] == ("scans with a number and an age", "3")


def test_the_flow_counts_down_and_loses_nobody():
    scans = [scan("a"), scan("b", decision="review", codes=("unusual_measure", "other")), REFUSED]
    steps = flow_steps(scans)
    assert [step.count for step in steps] == [3, 2, 1]
    assert [sum(count for _, count in step.left_out) for step in steps] == [1, 1, 0]


def test_the_group_s_page_links_each_scan_and_escapes_what_it_is_given():
    scans = [scan("a</script><b>", gap=3.0), REFUSED]
    scans = [*scans, GroupScan("c", "c", "completed", answer_with(), page="c.html", picture="data:image/jpeg;base64,x")]
    page = group_page(GroupReport("A group", scans, before=[FlowStep("images", 4, [("images: FLAIR", 1)])]))
    assert 'href="c.html"' in page
    assert "</script><b>" not in page
    assert "<head>." not in page
    assert page.count("<script>") == page.count("</script>") == 1
    assert "left out: 1 images: FLAIR" in page


def test_what_to_cite_stands_by_itself_and_scans_of_the_training_are_said_to_be_grey():
    learned = scan("a", decision="review", codes=("training_scan",))
    told = AnalysedInput(input="x", status=RunStatus.COMPLETED, result=answer_with(), provenance=PROVENANCE)
    page = group_page(GroupReport("A group", [learned], citation=citation([Made(told, BUNDLE)])))
    assert "CITATION.cff" not in page
    (how, _software) = methods_paragraphs([Made(told, BUNDLE)])
    assert "networks that tell an age" in how
    assert "drawn in grey and counted in no figure. Here: 1." in " ".join(page.split())


def test_a_scan_s_page_tells_number_reasons_quality_and_provenance():
    told = AnalysedInput(
        input="x", status=RunStatus.COMPLETED, result=answer_with(decision="review", codes=("unusual_measure",)),
        series=SERIES, quality=QUALITY, provenance=PROVENANCE,
    )  # fmt: skip
    page = scan_page(ScanReport("sub-1_T1w", told, BUNDLE, COHORT, facts=[("image", "sub-1/x")], back="index.html"))
    for said in ("52.0 years", "Because of unusual_measure.", BUNDLE.digest, PROVENANCE.input_digest, "sub-1/x"):
        assert said in page
    assert "grey: 2 people of cohort" in page.lower()


def test_a_refused_scan_s_page_says_why_and_has_no_number():
    refused = AnalysedInput(
        input="x", status=RunStatus.REFUSED, refusal=Refusal(code="not_a_head", reason="Send a head."), series=SERIES
    )
    page = scan_page(ScanReport("fruit", refused, BUNDLE, COHORT))
    assert "Send a head." in page
    assert "refused before its quality was measured" in page


def test_the_place_of_an_estimate_without_an_age_is_a_level():
    unknown = answer_with()
    unknown = unknown.model_copy(
        update={"brain_age": unknown.brain_age.model_copy(update={"chronological_age": None, "gap": None})}
    )
    assert "age not known" in place_chart(unknown, COHORT).svg


def test_a_strip_shows_what_is_outside_its_limits_in_red():
    usual = Usual((1.0, 2.0, 3.0, 4.0, 5.0))
    assert "#c8102e" in strip("noise", 0.5, (1.0, None), usual)
    assert "#c8102e" not in strip("noise", 1.5, (1.0, None), usual)
    assert "not measured" in strip("noise", None, (None, None), None)


def test_the_shipped_model_s_pages_know_what_is_usual_and_another_s_do_not():
    """A bundle that is released needs `make usual-quality`: this fails until it was called."""
    shipped = Bundle.open(Bundle.default_path(), verify=False)
    usual = usual_quality(shipped.digest)
    assert usual is not None
    assert usual.heads >= 20
    assert f"bundle {shipped.version}" in usual.whose
    assert usual.measures.keys() <= set(MEASURES)
    assert all(list(one.quantiles) == sorted(one.quantiles) for one in usual.measures.values())
    assert usual_quality("0" * 64) is None
