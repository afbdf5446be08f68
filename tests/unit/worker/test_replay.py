"""Deriving a stored run again: what agrees, what differs, and what made the difference."""

import dataclasses
import hashlib

import numpy as np
import pytest

from med3d_contract.replay import StoredRun
from med3d_contract.results import RunStatus
from med3d_contract.work import PreprocessedObject, Subject
from med3d_pipeline.bundle.reference_case import Tolerances
from med3d_store.object_store import ObjectDamagedError
from med3d_worker.heads.tensors import TensorCache
from med3d_worker.preparing.preparation import StudyRefused
from med3d_worker.scratch import Scratch
from med3d_worker.stages.replay import Replay
from rig.service.prepared import prepared_study
from rig.service.stores import MemoryStore
from rig.service.work import AGE, BUNDLE, FINDINGS, PROVENANCE, RECORD, REFUSAL, result, tar_of

TOLERANCES = Tolerances(tensor_nrmse=0.01, latent_nrmse=0.01, brain_age_years=0.1, sdmt_points=0.1)


class Machine:
    """A store with one answered run, and a machine that derives it again as the test says."""

    def __init__(self, folder):
        self.store = MemoryStore()
        self.tensors = TensorCache(self.store)
        self.scratch = Scratch(folder)
        self.prepared, self.answer = prepared_study(RECORD), result()
        data = tar_of({"00001.dcm": b"slice"})
        self.store.objects["working/s.tar"] = data
        self.run = StoredRun(
            run_id="run-1",
            status=RunStatus.COMPLETED,
            bundle=BUNDLE,
            working_copy=PreprocessedObject(key="working/s.tar", sha256=hashlib.sha256(data).hexdigest()),
            chosen_series=None,
            subject=Subject(age=AGE, sex=None),
            tensor=self.tensors.keep("tensors/t.npz", RECORD),
            result=result(),
            refusal=None,
            provenance=PROVENANCE,
        )

    def prepare(self, paths, *, chosen, clock, on_stage):
        [folder] = paths
        assert [path.name for path in folder.iterdir()] == ["00001.dcm"]
        if isinstance(self.prepared, Exception):
            raise self.prepared
        return self.prepared

    def replay(self, **changes):
        run = self.run.model_copy(update=changes)
        predict = lambda heads: [self.answer]  # noqa: E731
        return Replay(self.prepare, predict, TOLERANCES, self.store, self.tensors, self.scratch)(run)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def differing(report):
    return [one.name.split(" (")[0] for one in report.compared if not one.agrees]


def test_the_same_machine_agrees_and_nothing_has_changed(machine):
    report = machine.replay()
    assert report.agrees
    assert {one.name.split(" (")[0] for one in report.compared} == {
        "status",
        "tensor",
        "latent",
        "brain age",
        "decision",
    }
    assert all(part.is_same for part in report.fingerprint)


def test_a_difference_within_the_tolerance_is_none_and_beyond_it_is_told(machine):
    machine.answer = result(52.05)
    assert machine.replay().agrees
    machine.answer = result(52.2)
    assert differing(machine.replay()) == ["brain age"]


def test_another_tensor_is_told(machine):
    machine.prepared = prepared_study(dataclasses.replace(RECORD, tensor=RECORD.tensor * np.float32(1.5)))
    assert differing(machine.replay()) == ["tensor"]


def test_a_run_that_is_refused_now_differs_and_a_refusal_that_is_one_again_agrees(machine):
    machine.prepared = StudyRefused(REFUSAL, FINDINGS)
    assert differing(machine.replay()) == ["status", "refusal"]
    assert machine.replay(status=RunStatus.REFUSED, result=None, refusal=REFUSAL).agrees


def test_the_fingerprint_names_what_made_the_difference(machine):
    now = PROVENANCE.model_copy(
        update={"software": {"infovae-med3d": "9"}, "providers": ("OpenVINOExecutionProvider",)}
    )
    machine.prepared = prepared_study(RECORD, provenance=now)
    changed = {part.name: (part.then, part.now) for part in machine.replay().fingerprint if not part.is_same}
    assert changed == {
        "infovae-med3d": ("0", "9"),
        "providers": ("CPUExecutionProvider", "OpenVINOExecutionProvider"),
    }


def test_a_tensor_that_was_removed_since_is_no_difference(machine):
    del machine.store.objects["tensors/t.npz"]
    report = machine.replay()
    assert report.agrees
    assert "tensor" not in [one.name.split(" (")[0] for one in report.compared]


def test_an_altered_input_is_never_replayed(machine):
    machine.store.objects["working/s.tar"] = tar_of({"00001.dcm": b"other"})
    with pytest.raises(ObjectDamagedError):
        machine.replay()


def of_a_site(answer, digest):
    assessment = answer.assessment.model_copy(update={"calibrated_for": "Ward 3", "calibration_digest": digest})
    return answer.model_copy(update={"assessment": assessment})


def test_a_calibrated_run_is_derived_with_the_calibration_that_it_had(machine):
    then, site, heads = of_a_site(result(), "c" * 64), object(), []
    machine.answer = then

    def predict(given):
        heads.extend(given)
        return [machine.answer]

    parts = (machine.prepare, predict, TOLERANCES, machine.store, machine.tensors, machine.scratch)
    run = machine.run.model_copy(update={"result": then})
    assert Replay(*parts, {"c" * 64: site})(run).agrees
    assert heads[0].sites == (site,)
    machine.answer = result()
    assert differing(Replay(*parts)(run)) == ["calibration"]
    assert heads[1].sites == ()
