import pytest
from rich.console import Console

from med3d_cli.studies.result_table import result_table
from med3d_contract.results import Failure, Quality, RunStatus, Sdmt
from rig.service.runs import run_view
from rig.service.work import REFUSAL, result


def shown(run):
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(result_table("run", run))
    return console.export_text()


def test_a_result_shows_estimate_interval_decision_quality_provenance_and_seconds():
    text = shown(run_view())
    for part in (
        "52.0 years (90 %: 44.0 to 60.0)",
        "50.0 years (from form)",
        "+2.0 years (90 %: -6.0 to +10.0)",
        "review",
        "vendor_outside_calibration: Another vendor.",
        "percentile 40 of held-out training subjects",
        "all within limits",
        "overlap 0.93 (at least 0.8)",
        "series 1",
        "bundle bbbbbbbbbbbb",
        "CPUExecutionProvider",
        "0.50  reading headers",
    ):
        assert part in text


def test_an_estimated_sdmt_always_says_its_evidence():
    sdmt = Sdmt(estimate=48.2, interval=None, evidence="simulated labels")
    text = shown(run_view(result=result().model_copy(update={"sdmt": sdmt})))
    assert "48 points (no interval); evidence: simulated labels" in text


def test_a_refusal_shows_code_reason_and_the_measures_that_failed():
    quality = Quality(measures={"overlap": 0.2, "snr": None}, limits={"overlap": (0.8, None)}, failed=("overlap",))
    text = shown(run_view(status=RunStatus.REFUSED, refusal=REFUSAL, quality=quality))
    for part in ("refused", "not_a_head", "This is no head. Send one.", "outside limits: overlap", "snr not taken"):
        assert part in text
    assert "brain age" not in text


def test_a_failure_shows_its_code():
    failure = Failure(code="out_of_memory", reason="the worker ran out of memory", retryable=True)
    assert "out_of_memory" in shown(run_view(status=RunStatus.FAILED, failure=failure))


def test_words_of_a_sender_are_never_read_as_markup():
    refusal = REFUSAL.model_copy(update={"reason": "[bold]not markup[/bold]"})
    assert "[bold]not markup[/bold]" in shown(run_view(status=RunStatus.REFUSED, refusal=refusal))


@pytest.mark.parametrize(("correction", "words"), [("applied", "was taken out"), ("unknown_site", "not corrected")])
def test_what_was_done_about_the_site_is_shown(correction, words):
    assessment = result().assessment.model_copy(update={"site_correction": correction})
    assert words in shown(run_view(result=result().model_copy(update={"assessment": assessment})))
    assert words not in shown(run_view())


def test_the_site_that_an_answer_is_calibrated_for_stands_with_its_interval():
    assessment = result().assessment.model_copy(update={"calibrated_for": "Ward 3"})
    found = shown(run_view(result=result().model_copy(update={"assessment": assessment})))
    assert "Ward 3" in found
    assert "of the site's healthy heads" in found
    assert "Ward 3" not in shown(run_view())
