"""Each class goes when its time is over, and nothing else does; nothing goes of what has no answer yet."""

import pytest
from sqlalchemy import update
from typer.testing import CliRunner

from med3d_cli.main import make_app
from med3d_contract.work import PreprocessedObject
from med3d_service.custody.ledger import Ledger
from med3d_service.custody.retention import Retention
from med3d_service.runs import transitions
from med3d_service.storage.tables import RunRow, StudyRow
from med3d_service.trust.access import Role
from med3d_service.trust.audit import TrailBrokenError
from med3d_service.trust.audit.tables import AuditRow
from rig.dicom.uploads import dicom_files
from rig.processes.waiting import wait_until
from rig.service.api import open_api
from rig.service.parts import LEASES, completed, preprocessed, worker

DAY_S = 86400.0


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    yield made
    made.close()


def answered(api, number, days_ago, tensor="tensors/aa/aaa.npz"):
    """A study whose run ended so long ago, with what it leaves in the store; its ids."""
    files = [("files", (f"{i}.dcm", data)) for i, data in enumerate(dicom_files(4, series=f"s{number}"))]
    ids = api.request("POST", "/studies", api.key(Role.SUBMITTER), files=files).json()
    service, working = api.service, f"working/{ids['study_id']}.tar"
    sha256 = service.store.put(working, b"copy").sha256
    service.store.put(tensor, b"tensor")
    with service.database.write() as session:
        values = {"working_status": "ready", "working_key": working, "working_sha256": sha256}
        session.execute(update(StudyRow).where(StudyRow.id == ids["study_id"]).values(**values))
        run = transitions.claim_preprocess(session, ids["run_id"], worker(), LEASES)
        left = preprocessed(run.attempt).model_copy(update={"tensor": PreprocessedObject(key=tensor, sha256="0" * 64)})
        transitions.store_preprocessed(session, ids["run_id"], left)
        (run,) = transitions.claim_predict(session, worker(), 1, LEASES)
        transitions.store_outcome(session, ids["run_id"], completed(run.attempt), LEASES)
    age(api, ids, days_ago)
    return ids


def age(api, ids, days):
    with api.service.database.write() as session:
        for row, key in ((StudyRow, "study_id"), (RunRow, "run_id")):
            when = {"created_at": row.created_at - days * DAY_S}
            if row is RunRow:
                when["finished_at"] = row.finished_at - days * DAY_S
            session.execute(update(row).where(row.id == ids[key]).values(**when))


def retention(api, **days):
    settings = api.settings.model_copy(update={f"retain_{name}_days": kept for name, kept in days.items()})
    return Retention(settings, api.service.database, api.service.store, api.service.vault, api.service.audit)


def stored(api, folder):
    return {found.key for found in api.service.store.list(folder)}


def run_of(api, ids):
    return api.request("GET", f"/runs/{ids['run_id']}", api.key(Role.VIEWER)).json()


def test_by_default_everything_is_kept_for_ever(api):
    answered(api, 1, 10_000)
    assert all((one.days, one.count) == (None, 0) for one in retention(api).due())
    assert retention(api).sweep() == {}


def test_a_dry_run_counts_and_removes_nothing(api):
    old, _ = answered(api, 1, 40), answered(api, 2, 5)
    before = stored(api, "originals"), run_of(api, old)
    kept = retention(api, input=30, tensor=30, latent=30, result=30)
    found = {one.name: one.count for one in kept.due()}
    assert found == {"input": 1, "tensor": 1, "latent": 1, "result": 1, "audit": 0}
    assert before == (stored(api, "originals"), run_of(api, old))


def test_inputs_go_and_answers_stay(api):
    old, new = answered(api, 1, 40), answered(api, 2, 5)
    before = stored(api, "originals")
    assert retention(api, input=30).sweep() == {"input": 1}
    assert len(stored(api, "originals")) == len(before) - 1
    assert stored(api, "working") == {f"working/{new['study_id']}.tar"}
    assert run_of(api, old)["result"] == run_of(api, new)["result"]
    assert retention(api, input=30).sweep() == {}, "once is enough"


def test_what_is_asked_of_a_study_without_input_is_refused_by_name(api):
    old = answered(api, 1, 40)
    retention(api, input=30).sweep()
    with api.service.database.write() as session:
        session.execute(update(RunRow).where(RunRow.id == old["run_id"]).values(status="failed", result=None))
    again = api.request("POST", f"/runs/{old['run_id']}/requeue", api.key(Role.OPERATOR))
    assert again.status_code < 300, again.text
    run = api.request("GET", f"/runs/{again.json()['run_id']}", api.key(Role.VIEWER)).json()
    assert (run["status"], run["refusal"]["code"]) == ("refused", "input_removed")


def test_the_ledger_knows_what_was_removed(api):
    answered(api, 1, 40)
    before = Ledger(api.settings, api.service.database, api.service.store).check().counts
    retention(api, input=30, tensor=30, latent=30).sweep()
    assert Ledger(api.settings, api.service.database, api.service.store).check().counts == before


def test_a_tensor_goes_when_the_last_run_that_holds_it_is_old_enough(api):
    answered(api, 1, 40, "tensors/aa/shared.npz")
    second = answered(api, 2, 5, "tensors/aa/shared.npz")
    assert retention(api, tensor=30).sweep() == {"tensor": 1}
    assert stored(api, "tensors") == {"tensors/aa/shared.npz"}
    age(api, second, 40)
    assert retention(api, tensor=30).sweep() == {"tensor": 1}
    assert stored(api, "tensors") == set()


def test_latents_go_and_estimates_stay(api):
    old, new = answered(api, 1, 40), answered(api, 2, 5)
    assert retention(api, latent=30).sweep() == {"latent": 1}
    assert run_of(api, old)["result"]["latent"] is None
    assert run_of(api, new)["result"]["latent"]["dimension"] > 0
    assert run_of(api, old)["result"]["brain_age"] == run_of(api, new)["result"]["brain_age"]
    pdf = api.request("GET", f"/runs/{old['run_id']}/report.pdf", api.key(Role.VIEWER, clinical=True))
    assert pdf.status_code == 200, pdf.text
    assert retention(api, latent=30).sweep() == {}


def test_a_whole_study_is_erased_with_a_tombstone(api):
    old, new = answered(api, 1, 40, "tensors/a"), answered(api, 2, 5, "tensors/b")
    assert retention(api, result=30).sweep() == {"result": 1}
    key = api.key(Role.VIEWER)
    assert [api.request("GET", f"/studies/{one['study_id']}", key).status_code for one in (old, new)] == [404, 200]
    with api.service.database.read() as session:
        said = [row.detail for row in session.query(AuditRow).filter_by(action="erase", object_id=old["study_id"])]
    assert len(said) == 1
    assert '"reason":"retention"' in said[0]


def test_nothing_goes_of_a_study_that_has_no_answer(api):
    old = answered(api, 1, 40)
    with api.service.database.write() as session:
        session.execute(update(RunRow).where(RunRow.id == old["run_id"]).values(status="preprocessed", result=None))
    assert retention(api, input=30, tensor=30, latent=30, result=30).sweep() == {}
    assert stored(api, "working")


def test_the_audit_trail_is_shortened_says_so_and_still_proves_itself(api):
    answered(api, 1, 0)
    trail, database = api.service.audit, api.service.database
    end = trail.verify()
    clock = retention(api, audit=1.0 / DAY_S)
    wait_until(lambda: database.now() > newest(database) + 1.0, "a second to pass")
    assert clock.sweep() == {"audit": end.entries}
    assert trail.verify().entries == 1
    with database.read() as session:
        (entry,) = session.query(AuditRow).all()
    assert (entry.action, entry.actor) == ("audit", "retention")
    with database.write() as session:
        session.execute(update(AuditRow).values(detail="{}"))
    with pytest.raises(TrailBrokenError):
        trail.verify()


def test_a_trail_that_was_changed_is_not_shortened_and_that_is_told(api):
    answered(api, 1, 0)
    with api.service.database.write() as session:
        session.execute(update(AuditRow).values(at=0.0))
    assert retention(api, audit=1.0).sweep() == {}
    with api.service.database.read() as session:
        told = session.query(AuditRow).filter(AuditRow.action == "alert").one()
    assert (told.detail, told.object_id) == ('{"code":"trail_not_shortened"}', "1")
    with pytest.raises(TrailBrokenError):
        api.service.audit.verify()


def newest(database):
    with database.read() as session:
        return max(row.at for row in session.query(AuditRow).all())


def test_objects_that_the_store_did_not_let_go_of_are_removed_later(api):
    answered(api, 1, 40)
    store, really_delete = api.service.store, api.service.store.delete

    def is_away(_key):
        raise OSError("no route to the store")

    store.delete = is_away
    with pytest.raises(OSError, match="no route"):
        retention(api, input=30).sweep()
    assert stored(api, "working")
    store.delete = really_delete
    retention(api).sweep()
    assert not stored(api, "working")


def test_the_command_shows_what_is_due_and_removes_it(api, monkeypatch):
    answered(api, 1, 40)
    monkeypatch.setenv("MED3D_RETAIN_INPUT_DAYS", "30")
    words = ["retention", "--data-dir", str(api.settings.data_dir)]
    dry = CliRunner().invoke(make_app(), [*words, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "30 days" in dry.stdout
    assert "nothing was removed" in dry.stdout
    assert stored(api, "working")
    done = CliRunner().invoke(make_app(), words)
    assert "Removed: input 1" in done.stdout, done.output
    assert not stored(api, "working")
