"""The explanation's picture beside the images: made by a worker when it is due, filed as other objects, kept."""

import base64
import io
import json
import subprocess

import pytest
from pydicom import dcmread
from sqlalchemy import select, update

from med3d_contract.backoff import Backoff
from med3d_contract.bundle_cards import bundle_card_key
from med3d_contract.explanations import SENTENCE, explanation_key
from med3d_service.network.peers.configuration import DicomwebPeer
from med3d_service.results.delivery import outbox
from med3d_service.results.delivery.deliverer import DestinationLoop
from med3d_service.results.delivery.destinations import Destination
from med3d_service.results.delivery.outbox import Patience
from med3d_service.results.explanations import ExplanationDesk
from med3d_service.results.kinds import Kind
from med3d_service.results.reports.explained import NoExplanationError, explanation_capture
from med3d_service.results.reports.library import ReportLibrary
from med3d_service.storage.tables import DeliveryRow
from med3d_service.studies.own_objects import own_uid
from rig.service.arriving import slices
from rig.service.couriers import SandboxInProcess
from rig.service.facts import COLOURS, SOURCE, explained, facts
from rig.service.parts import MemoryBroker
from rig.service.ward import Ward
from rig.service.work import BUNDLE

PATIENCE = Patience(Backoff(0.0, 0.0), give_up_s=100.0, lease_s=30.0)
PEER = Destination(
    name="dicomweb:pacs",
    kinds=frozenset({Kind.EXPLANATION}),
    cohort=False,
    peer=DicomwebPeer.model_validate({"url": "http://127.0.0.1:9/"}),
)
WRONG = {"PatientID": "P-1", "PatientName": "Doe^Jane", "PatientBirthDate": "19700102"}
RIGHT = {"PatientID": "P-2", "PatientName": "Roe^Rita", "PatientBirthDate": "19610203"}


def test_the_picture_is_filed_with_the_images_and_says_what_it_is(tmp_path):
    made = facts(explanation=explained())
    file = explanation_capture(made)
    assert file == explanation_capture(made)
    (tmp_path / "picture.dcm").write_bytes(file)
    checked = subprocess.run(["dciodvfy", tmp_path / "picture.dcm"], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stdout + checked.stderr, checked.stderr
    found = dcmread(io.BytesIO(file))
    assert (found.pixel_array == COLOURS).all()
    assert (found.SOPInstanceUID, found.SeriesNumber) == (own_uid(made.run_id, "explanation"), 9905)
    assert (found.PatientID, found.StudyInstanceUID) == ("PAT-0042", "1.2.3.4.5")
    assert (found.ContentQualification, found.BurnedInAnnotation, found.DerivationDescription) == (
        "RESEARCH", "NO", SENTENCE,
    )  # fmt: skip
    assert [one.ReferencedSOPInstanceUID for one in found.SourceImageSequence] == list(SOURCE.instance_uids)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        explained(width=4000),
        explained(png_base64=base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0no picture").decode()),
    ],
)
def test_what_is_no_picture_of_the_stated_size_makes_no_object(stored):
    with pytest.raises(NoExplanationError):
        explanation_capture(facts(explanation=stored))


class Peer:
    """Keeps what it is sent, in place of a PACS."""

    def __init__(self):
        self.objects = []

    def send(self, outgoing):
        self.objects.append((outgoing.object_uid, dcmread(io.BytesIO(outgoing.content))))

    def close(self):
        pass


@pytest.fixture
def ward(tmp_path):
    made = Ward(tmp_path, sandbox=SandboxInProcess())
    made.broker, made.peer = MemoryBroker(), Peer()
    desk = ExplanationDesk(made, made.broker)
    library = ReportLibrary(made, desk.explained)
    made.deliverer = DestinationLoop(
        made.settings, made.database, made.trail, PEER, library.content, sender=made.peer
    )  # fmt: skip
    yield made
    made.close()


def plan(ward):
    with ward.database.write() as session:
        outbox.plan(session, [PEER], PATIENCE)


def try_again(ward):
    with ward.database.write() as session:
        session.execute(update(DeliveryRow).where(DeliveryRow.status == "waiting").values(next_try_at=0.0))
    ward.deliverer.deliver_next()
    with ward.database.read() as session:
        row = session.scalars(select(DeliveryRow).order_by(DeliveryRow.seq.desc())).first()
        return row.status, row.fault


def test_a_worker_is_asked_when_it_is_due_and_a_corrected_patients_is_made_anew(ward):
    ward.send(*slices(4, **WRONG))
    old = ward.answer()
    plan(ward)
    assert try_again(ward) == ("waiting", "explanation_in_work")
    assert (old, "explanation", 3) in ward.broker.sent
    ward.store.put(explanation_key(old), explained().model_dump_json().encode())
    assert try_again(ward) == ("delivered", None)

    ward.send(*slices(4, **RIGHT))
    new = ward.answer()
    plan(ward)
    assert try_again(ward) == ("waiting", "explanation_in_work")
    ward.store.put(explanation_key(new), explained().model_dump_json().encode())
    assert try_again(ward) == ("delivered", None)
    assert [(uid, one.SOPInstanceUID, str(one.PatientName)) for uid, one in ward.peer.objects] == [
        (own_uid(run, "explanation"), own_uid(run, "explanation"), name)
        for run, name in ((old, "Doe^Jane"), (new, "Roe^Rita"))
    ]


def test_a_bundle_that_explains_nothing_has_no_such_object_and_no_worker_is_asked(ward):
    ward.send(*slices(4, **WRONG))
    ward.answer()
    card = {
        "name": "b", "version": "1", "digest": BUNDLE.digest, "description": "", "intended_use": "", "limits": [],
        "licence": "", "interval_level": 0.9, "review_percentile": 95.0, "sdmt_evidence": None, "metrics": {},
        "signed_by": None, "explains": False,
        "training": {
            "name": "", "description": "", "source": "", "licence": "", "subjects": 1, "age_range_years": [1, 2],
            "field_strengths_t": [], "vendors": [],
        },
    }  # fmt: skip
    ward.store.put(bundle_card_key(BUNDLE.digest), json.dumps(card).encode())
    plan(ward)
    assert try_again(ward) == ("dead", "no_explanation")
    assert ward.broker.sent == []
