import io

import pytest
from rich.console import Console

from med3d_cli.cohort.cohort_display import in_words, progress_panel
from med3d_cli.cohort.cohort_reports import _summary_table
from med3d_contract.cohorts import CohortProgress, MemberCounts, ProblemCount, StageTime
from med3d_service.api.routes.examples import SUMMARY
from rig.service.work import BUNDLE


def shown(**changed):
    progress = CohortProgress(
        cohort="ms-clinic", bundle=BUNDLE, status="running", members=MemberCounts(queued=3, completed=6, refused=1),
        rate_per_s=0.5, seconds_left=6.0, slowest_stage="bias field",
        stages=(StageTime(stage="bias field", mean_s=1.97),),
        problems=(ProblemCount(status="refused", code="not_a_head", count=1, study_ids=("a-study",)),),
        workers=1, next_night=None,
    ).model_copy(update=changed)  # fmt: skip
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(progress_panel(progress))
    return console.export_text()


def test_a_summary_tells_the_error_and_what_is_in_no_accuracy():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(_summary_table(SUMMARY | {"training_scans": 4, "rejected": 0}))
    text = console.export_text()
    for words in (
        "130 people",
        "5.90 (5.20 to 6.60) years",
        "+1.20 (+0.10 to +2.30)",
        "12 of 130",
        "refused: too_noisy",
    ):
        assert words in text
    assert "scans that the model learned from" in text
    assert "rejected" not in text


def test_counts_pace_slowest_stage_and_problems_are_shown():
    text = shown()
    for words in (
        "ms-clinic, bundle 1: running", "7 of 10 done, 0.50 a second, about 6 s left", "queued", "bias field, 1.97 s",
        "not_a_head", "a-study",
    ):  # fmt: skip
        assert words in text


def test_a_bundle_that_nobody_carries_is_said_while_there_is_work():
    assert "no live worker carries this bundle" in shown(workers=0)
    assert "no live worker" not in shown(workers=0, members=MemberCounts(completed=1))


@pytest.mark.parametrize(("seconds", "words"), [(12.3, "12 s"), (600, "10 min"), (12_000, "3 h 20 min")])
def test_times_are_told_in_words(seconds, words):
    assert in_words(seconds) == words
