"""What a release of contract version 5 has stored is read as if its reasons had been values."""

import pytest
from sqlalchemy import select, update

from med3d_contract.results import Reason, Result
from med3d_contract.work import Preprocessed, StoredOutcomes
from med3d_pipeline.reasons import ReviewCode
from med3d_service.runs import transitions
from med3d_service.runs.views import run_view
from med3d_service.storage.tables import BundleRow, RunRow
from rig.service.parts import LEASES, add_run, completed, open_database, preprocessed, worker
from rig.service.work import result

STORED = {
    "the series was chosen by hand": "chosen_by_hand",
    "the series would not have been chosen (derived_only): The series is a reformat. Send the original.": "not_eligible",
    "2 series are equally suitable; the first by series number was taken": "series_tie",
    "the headers do not tell the contrast; T1 weighting was not checked": "contrast_unknown",
    "two-dimensional acquisition; the model was made for three-dimensional scans": "two_dimensional",
    "acquired after contrast agent; the model was made for scans without": "contrast_agent",
    "MP2RAGE uniform image, whose background is noise": "noisy_background",
    "voxels of 1.0 to 3.0 mm: thick slices, as of a 2D acquisition": "thick_slices",
    "3 files are damaged and could not be read": "damaged_files",
    "another T1-weighted series cannot be used (missing_slices): series 19: 3D T1w": "other_series_damaged",
    "brain_volume_ml of 900 is outside 1000 to 2000": "unusual_measure",
    "signal_to_noise of nan is outside at least 5": "unusual_measure",
    "far_from_training: farther from the training cohort than 98 % of the subjects": "far_from_training",
}


@pytest.mark.parametrize(("prose", "code"), STORED.items())
def test_each_reason_that_version_5_wrote_has_the_code_of_the_same_fact(prose, code):
    read = Reason.model_validate(prose)
    assert (read.code, read.code in set(ReviewCode)) == (code, True)
    assert read.sentence.casefold().rstrip(".") == prose.removeprefix(f"{code}: ").casefold().rstrip(".")
    assert read.sentence[0].isupper() or not prose[0].islower()
    assert read.sentence.endswith(".")


def test_a_sentence_that_nobody_is_known_to_have_written_is_kept_without_a_code():
    assert Reason.model_validate("what is this") == Reason(code="uncoded", sentence="What is this.")


def stored_result():
    stored = result().model_dump(mode="json")
    stored["assessment"]["reasons"] = list(STORED)
    return stored


def test_a_stored_result_is_read_and_written_as_values():
    read = Result.model_validate(stored_result())
    assert [reason.code for reason in read.assessment.reasons] == list(STORED.values())
    assert Result.model_validate_json(read.model_dump_json()) == read


def test_an_outcome_in_the_store_is_read():
    outcome = completed(1).model_dump(mode="json") | {"result": stored_result()}
    stored = StoredOutcomes.model_validate({"outcomes": [{"run_id": "run-1", "outcome": outcome}]})
    assert stored.outcomes[0].outcome.result.assessment.reasons[2].code == "series_tie"


def test_runs_of_before_the_upgrade_are_answered_and_go_on(tmp_path):
    database = open_database(tmp_path)
    answered, waiting = add_run(database), add_run(database)
    with database.write() as session:
        for run_id in (answered, waiting):
            run = transitions.claim_preprocess(session, run_id, worker(), LEASES)
            transitions.store_preprocessed(session, run_id, preprocessed(run.attempt))
        (run, _) = transitions.claim_predict(session, worker(), 2, LEASES)
        transitions.store_outcome(session, answered, completed(run.attempt), LEASES)
        left = preprocessed(1).model_dump(mode="json") | {"review_reasons": list(STORED)}
        session.execute(update(RunRow).where(RunRow.id == waiting).values(preprocessed=left))
        session.execute(update(RunRow).where(RunRow.id == answered).values(result=stored_result()))
    with database.read() as session:
        rows = {row.id: row for row in session.scalars(select(RunRow))}
        shown = run_view(rows[answered], session.scalars(select(BundleRow)).one())
        assert shown.result.assessment.reasons[2].code == "series_tie"
        known = Preprocessed.model_validate(rows[waiting].preprocessed)
        assert [reason.code for reason in known.review_reasons] == list(STORED.values())
    database.close()
