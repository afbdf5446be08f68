"""A prepared study as workers' stand-ins for the science give it."""

from med3d_contract.results import Provenance
from med3d_contract.work import PreprocessedObject
from med3d_pipeline.study.study import Acquisition
from med3d_worker.heads.tensors import TensorRecord
from med3d_worker.preparing.preparation import PreparedStudy
from rig.service.work import FINDINGS, PROVENANCE


def prepared_study(
    record: TensorRecord, stored: PreprocessedObject | None = None, provenance: Provenance = PROVENANCE
) -> PreparedStudy:
    """Of the shared series and quality. ``stored``: where its tensor lies."""
    return PreparedStudy(
        record=record,
        stored=stored,
        images=None,
        findings=FINDINGS.model_copy(update={"provenance": provenance}),
        acquisition=Acquisition(manufacturer="SIEMENS", field_strength_t=3.0, spacing_mm=(1, 1, 1)),
        patients=(),
        review_reasons=(),
        series_reasons=(),
    )
