"""Runs brought to an answer as a worker would, without one: what a worker sees, and what it says."""

import base64
import hashlib
import io
import struct
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from typing import IO, Any, cast

from pydicom import dcmread

from med3d_client.worker import Superseded
from med3d_contract.pictures import BrainPicture, BrainPictures, ReferenceCohort, reference_cohort_key
from med3d_contract.results import Sdmt
from med3d_contract.work import PreprocessClaim, PreprocessedObject, SourceSeries
from med3d_service.studies.working_copy.names import claim_of, working_key
from med3d_store.object_store import ObjectStore
from rig.dicom.uploads import dicom_files, named, zip_of
from rig.processes.service import Processes
from rig.processes.waiting import wait_until
from rig.service.parts import completed, preprocessed, refused, worker
from rig.service.work import result

WORKER = worker()
BUNDLE_DIGEST = WORKER.bundles[0].digest
PATIENT = {
    "PatientName": "Müller^Änne",
    "PatientID": "PAT-0042",
    "PatientBirthDate": "19701112",
    "PatientSex": "F",
    "AccessionNumber": "ACC-77",
    "StudyDate": "20200101",
    "StudyTime": "081501",
    "StudyID": "S77",
    "ReferringPhysicianName": "Referrer^Rita",
    "StudyInstanceUID": "1.2.840.8675309.1",
    "SpecificCharacterSet": "ISO_IR 192",
}


def claimed(processes: Processes, run_id: str) -> PreprocessClaim | None:
    """The claim of the preprocess stage; None where it is not to be had yet."""
    try:
        return processes.worker.claim_preprocess(run_id, WORKER).claims[0]
    except Superseded:
        return None


def submitted(
    processes: Processes, header: Mapping[str, Any] | None = None, files: Sequence[bytes] | None = None, **fields: Any
) -> tuple[dict[str, str], PreprocessClaim]:
    """A small study, taken; its ids and a claim for it."""
    files = files or dicom_files(**PATIENT | dict(header or {}))
    ids = processes.submit(("study.zip", zip_of(named(files))), **fields).json()
    assert processes.working_copy(ids["study_id"])["working_copy"] == "ready"
    return ids, wait_until(lambda: claimed(processes, ids["run_id"]), "the claim")


def _stored(processes: Processes, folder: str) -> list[str]:
    return [found.key for found in processes.store.list(folder)]


def source_of(processes: Processes, study_id: str) -> SourceSeries:
    """The stand-ins of all instances of the working copy, as a worker that read them all."""
    last = max(
        claim for study, claim in filter(None, map(claim_of, _stored(processes, "working"))) if study == study_id
    )
    with tarfile.open(fileobj=io.BytesIO(processes.store.get(working_key(study_id, last)))) as tar:
        images = [dcmread(cast("IO[bytes]", tar.extractfile(member))) for member in tar]
    return SourceSeries(
        series_uid=images[0].SeriesInstanceUID,
        sop_class_uid=images[0].SOPClassUID,
        instance_uids=tuple(image.SOPInstanceUID for image in images),
    )


def answered(
    processes: Processes,
    *,
    sdmt: Sdmt | None = None,
    brain_age: float = 52.0,
    header: Mapping[str, Any] | None = None,
    files: Sequence[bytes] | None = None,
    **fields: Any,
) -> dict[str, str]:
    """A completed run of a small study; its ids."""
    ids, claim = submitted(processes, header, files, **fields)
    complete(processes, ids, claim.attempt, sdmt=sdmt, brain_age=brain_age)
    return ids


def complete(
    processes: Processes, ids: Mapping[str, str], attempt: int, *, sdmt: Sdmt | None = None, brain_age: float = 52.0
) -> None:
    """End a run whose preprocess stage was claimed as ``attempt`` with a result."""
    source, pictures = source_of(processes, ids["study_id"]), keep_pictures(processes.store)
    known = preprocessed(attempt, source=source, pictures=pictures)
    processes.worker.preprocessed({ids["run_id"]: known})
    (predict,) = processes.claim_predict(WORKER, 1)
    answer = result(brain_age).model_copy(update={"sdmt": sdmt})
    outcome = completed(predict.attempt).model_copy(update={"result": answer})
    processes.worker.outcome(ids["run_id"], outcome)


def refused_run(processes: Processes, **fields: Any) -> dict[str, str]:
    """A refused run of a small study; its ids."""
    ids, claim = submitted(processes, **fields)
    processes.worker.outcome(ids["run_id"], refused(claim.attempt))
    return ids


def simulated_sdmt() -> Sdmt:
    """What the demonstration head says."""
    return Sdmt(estimate=47.125, interval=None, evidence="simulated labels")


def grey_png(width: int, height: int) -> bytes:
    """A plain grey PNG, written by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([128]) * width) * height
    head = struct.pack(">LLBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def brain_pictures() -> BrainPictures:
    """Three small pictures."""
    return BrainPictures(
        pictures=tuple(
            BrainPicture(
                plane=plane, width=60, height=80, pixel_mm=2.5,
                png_base64=base64.b64encode(grey_png(60, 80)).decode(),
            )
            for plane in ("axial", "coronal", "sagittal")
        )
    )  # fmt: skip


def keep_pictures(store: ObjectStore) -> PreprocessedObject:
    """Pictures and cohort where a worker leaves them."""
    data = brain_pictures().model_dump_json().encode()
    store.put("pictures/x.json", data)
    store.put(reference_cohort_key(BUNDLE_DIGEST), cohort().model_dump_json().encode())
    return PreprocessedObject(key="pictures/x.json", sha256=hashlib.sha256(data).hexdigest())


def cohort() -> ReferenceCohort:
    """A cohort of people from 20 to 79 whose brains are as old as they are, give or take five years."""
    ages = tuple(float(age) for age in range(20, 80))
    return ReferenceCohort(
        name="a cohort",
        ages=ages,
        brain_ages=tuple(age + (5 if index % 2 else -5) for index, age in enumerate(ages)),
        pls_age=tuple((age / 10, index % 7) for index, age in enumerate(ages)),
    )
