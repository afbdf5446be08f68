import tarfile
from dataclasses import replace

import numpy as np
import pytest
from structlog.testing import capture_logs

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.work import PreprocessedObject, StoredOutcomes
from med3d_pipeline.errors import InferenceError
from med3d_pipeline.study.study import Acquisition
from med3d_worker.preparing.preparation import PreparedStudy, StudyRefused
from med3d_worker.scratch import Scratch
from med3d_worker.stages.outcomes import OutcomeDelivery
from med3d_worker.stages.pace import Pace
from med3d_worker.stages.preprocess_stage import PreprocessStage, unpack_flat
from rig.service.stores import MemoryStore
from rig.service.work import (
    FINDINGS,
    RECORD,
    REFUSAL,
    TIE,
    WORKER,
    FakeApi,
    preprocess_claim,
)

STORED = PreprocessedObject(key="tensors/x.npz", sha256="0" * 64)
PREPARED = PreparedStudy(
    record=RECORD,
    stored=STORED,
    images=None,
    findings=FINDINGS,
    acquisition=Acquisition(manufacturer="SIEMENS", field_strength_t=3.0, spacing_mm=(1, 1, 1)),
    patients=(),
    review_reasons=(TIE,),
    series_reasons=(TIE,),
)


class Prepares:
    """Stands in for the science: looks at the files, then gives or raises what the test says."""

    def __init__(self, answer):
        self.answer = answer
        self.seen = {}
        self.folder = None

    def __call__(self, paths, *, chosen, clock, on_stage):
        [self.folder] = paths
        self.seen = {file.name: file.read_bytes() for file in self.folder.iterdir()}
        on_stage("registration")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def parts(tmp_path):
    class Parts:
        def __init__(self):
            self.store = MemoryStore()
            self.sent = []

        def stage(self, api, answer):
            self.prepares = Prepares(answer)
            delivery = OutcomeDelivery(api, self.store, lambda run_id, attempt: self.sent.append((run_id, attempt)))
            return PreprocessStage(api, self.store, Scratch(tmp_path), self.prepares, delivery, WORKER, 0.01)

    return Parts()


def test_a_prepared_study_is_reported_with_its_tensor_and_reasons(parts):
    api = FakeApi(preprocess_claim(parts.store, files={"000000.dcm": b"one", "000001.dcm": b"two"}))
    parts.stage(api, PREPARED)("run-1")
    told = api.prepared["run-1"]
    assert (told.attempt, told.tensor, told.findings) == (1, STORED, FINDINGS)
    assert told.review_reasons == told.series_reasons == (TIE,)
    assert told.acquisition["field_strength_t"] == 3.0
    assert parts.prepares.seen == {"000000.dcm": b"one", "000001.dcm": b"two"}


def test_nothing_of_the_study_stays_on_disk(parts, tmp_path):
    parts.stage(FakeApi(preprocess_claim(parts.store)), PREPARED)("run-1")
    assert not parts.prepares.folder.exists()
    assert list(tmp_path.glob("study-*")) == []


def test_a_refusal_is_stored_before_it_is_published(parts):
    api = FakeApi(preprocess_claim(parts.store))
    parts.stage(api, StudyRefused(REFUSAL, FINDINGS))("run-1")
    (stored,) = StoredOutcomes.model_validate_json(parts.store.objects["results/run-1.1.json"]).outcomes
    assert stored.outcome.refusal == REFUSAL
    assert dict(stored.outcome.findings) == dict(FINDINGS)
    assert parts.sent == [("run-1", 1)]
    assert api.ended == {}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InferenceError("provider lost"), "inference_failed"),
        (MemoryError(), "out_of_memory"),
        (np._core._exceptions._ArrayMemoryError((9,), np.dtype("f4")), "out_of_memory"),
        (KeyError("Doe^John"), "internal_error"),
    ],
)
def test_a_fault_is_reported_as_retryable_without_its_text(parts, error, code):
    api = FakeApi(preprocess_claim(parts.store))
    parts.stage(api, error)("run-1")
    failure = api.ended["run-1"].failure
    assert (failure.code, failure.retryable) == (code, True)
    assert "Doe" not in failure.model_dump_json()


def test_an_unknown_fault_names_its_type(parts):
    api = FakeApi(preprocess_claim(parts.store))
    parts.stage(api, KeyError("x"))("run-1")
    assert api.ended["run-1"].failure.reason.startswith("an unexpected KeyError at preprocess_stage.py:")


def test_a_working_copy_with_another_digest_is_not_used(parts):
    api = FakeApi(preprocess_claim(parts.store, sha256="0" * 64))
    parts.stage(api, PREPARED)("run-1")
    assert api.ended["run-1"].failure.code == "object_damaged"
    assert parts.prepares.folder is None


def test_a_working_copy_that_is_no_tar_is_a_fault(parts):
    claim = preprocess_claim(parts.store, files={"a": b"1"})
    parts.store.objects[claim.working_copy_key] = b"no tar at all" * 100
    api = FakeApi(claim.model_copy(update={"working_copy_sha256": _sha(parts.store, claim)}))
    parts.stage(api, PREPARED)("run-1")
    assert api.ended["run-1"].failure.code == "object_damaged"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("../out.dcm", tarfile.REGTYPE), ("/out.dcm", tarfile.REGTYPE), ("in/out.dcm", tarfile.REGTYPE)]
    + [("out.dcm", kind) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE)],
)
def test_a_working_copy_of_anything_but_plain_files_is_not_unpacked(tmp_path, name, kind):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, "elsewhere"
    with tarfile.open(tmp_path / "copy.tar", "w") as tar:
        tar.addfile(entry)
    folder = tmp_path / "within"
    folder.mkdir()
    with pytest.raises(tarfile.TarError):
        unpack_flat(tmp_path / "copy.tar", folder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["copy.tar", "within"]


def _sha(store, claim):
    import hashlib

    return hashlib.sha256(store.objects[claim.working_copy_key]).hexdigest()


OTHER_CONTRACT = ApiError(422, "contract_version_mismatch", "Another version.", "Install the same release.")


@pytest.mark.parametrize("fault", [Superseded("taken"), ApiUnavailable("down"), OTHER_CONTRACT])
def test_a_stage_that_is_not_to_be_had_is_left_alone(parts, fault):
    api = FakeApi()
    api.fault = fault
    parts.stage(api, PREPARED)("run-1")
    assert parts.prepares.folder is None
    assert parts.store.objects == {}


def test_a_worker_of_another_contract_says_so_in_one_line(parts):
    api = FakeApi()
    api.fault = OTHER_CONTRACT
    with capture_logs() as said:
        parts.stage(api, PREPARED)("run-1")
    [line] = said
    assert (line["event"], line["code"], line["log_level"]) == ("claim_refused", OTHER_CONTRACT.code, "warning")
    assert "Install the same release" in line["because"]


def test_an_overtaken_attempt_reports_nothing(parts):
    api = FakeApi(preprocess_claim(parts.store))
    api.over = {"run-1"}

    class WaitsUntilOvertaken(Prepares):
        def __call__(self, paths, *, chosen, clock, on_stage):
            while True:
                on_stage("registration")

    stage = parts.stage(api, PREPARED)
    object.__setattr__(stage, "prepare", WaitsUntilOvertaken(PREPARED))
    stage("run-1")
    assert (api.prepared, api.ended, parts.sent) == ({}, {}, [])


def test_the_same_stage_delivered_twice_is_done_once(parts):
    api = FakeApi(preprocess_claim(parts.store))
    stage = parts.stage(api, PREPARED)
    stage("run-1")
    api.prepared.clear()
    stage("run-1")
    assert api.prepared == {}


class Slow(Prepares):
    """Takes ``seconds`` by the clock that the test holds."""

    def __init__(self, answer, clock, seconds):
        super().__init__(answer)
        self.clock, self.seconds = clock, seconds

    def __call__(self, paths, **how):
        self.clock.now += self.seconds
        return super().__call__(paths, **how)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def several(parts, api, seconds, claimed_s=0.001):
    """A stage that thinks runs are quick, and a clock by which each takes ``seconds``."""
    clock = Clock()
    stage = parts.stage(api, PREPARED)
    pace = Pace()
    pace.took(1, claimed_s)
    return replace(stage, prepare=Slow(PREPARED, clock, seconds), pace=pace, clock=clock), pace


def test_quick_runs_are_claimed_and_reported_together(parts):
    api = FakeApi(*(preprocess_claim(parts.store, name) for name in "abc"))
    stage, _ = several(parts, api, seconds=0.001)
    stage("a")
    assert api.prepared.keys() == {"a", "b", "c"}
    assert api.released == []


def test_what_has_not_begun_when_a_claim_takes_long_goes_back(parts):
    api = FakeApi(*(preprocess_claim(parts.store, name) for name in "abc"))
    stage, pace = several(parts, api, seconds=5.0)
    stage("a")
    assert api.prepared.keys() == {"a"}
    assert api.released == ["b", "c"]
    assert pace.limit == 1


def test_one_fault_among_several_is_its_own(parts):
    api = FakeApi(preprocess_claim(parts.store, "a"), preprocess_claim(parts.store, "b", sha256="0" * 64))
    stage, _ = several(parts, api, seconds=0.001)
    stage("a")
    assert api.prepared.keys() == {"a"}
    assert api.ended["b"].failure.code == "object_damaged"
