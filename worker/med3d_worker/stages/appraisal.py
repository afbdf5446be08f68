"""Use case: which series of a study can be analysed, by its headers alone. Asked where late instances follow a run."""

from dataclasses import dataclass
from typing import Protocol

import structlog

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.work import Appraisal, AppraisalRequest
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.reading.dicom_stacks import fingerprint
from med3d_pipeline.reading.volume_files.nifti import NiftiFile, digest_file
from med3d_pipeline.study.study import StudySeries, read_study
from med3d_store.object_store import StoreError
from med3d_worker.scratch import Scratch
from med3d_worker.stages.preprocess_stage import FetchesObjects, unpack_working_copy

log = structlog.get_logger()


class AppraisalApi(Protocol):
    """The part of WorkerClient that is needed here."""

    def appraisal_request(self, study_id: str) -> AppraisalRequest:
        """Ask for the images. Raises Superseded where no appraisal is needed."""
        ...

    def appraised(self, study_id: str, appraisal: Appraisal) -> None:
        """Hand in what was found."""
        ...


@dataclass(frozen=True)
class StudyAppraisal:
    """Looks at one study. What goes wrong is asked for again by the service."""

    api: AppraisalApi
    store: FetchesObjects
    scratch: Scratch

    def __call__(self, study_id: str) -> None:
        """Report the fingerprints of the series that selection would accept."""
        try:
            request = self.api.appraisal_request(study_id)
            eligible = self._eligible(request)
            self.api.appraised(study_id, Appraisal(working_copy_sha256=request.working_copy_sha256, eligible=eligible))
        except (Superseded, ApiUnavailable, StoreError) as error:
            log.info("not_appraised", study_id=study_id, because=type(error).__name__)
            return
        except ApiError as error:
            log.warning("appraisal_refused", study_id=study_id, code=error.code, because=str(error))
            return
        log.info("appraised", study_id=study_id, eligible=len(eligible))

    def _eligible(self, request: AppraisalRequest) -> tuple[str, ...]:
        with self.scratch.folder() as folder:
            unpack_working_copy(self.store, request.working_copy_key, request.working_copy_sha256, folder)
            try:
                study = read_study([folder])
            except InputRefused:
                return ()
            return tuple(sorted(_identity(series) for series in study.series if series.appraisal.fault is None))


def _identity(series: StudySeries) -> str:
    return digest_file(series.source.path) if isinstance(series.source, NiftiFile) else fingerprint(series.source)
