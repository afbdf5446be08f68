"""A stack of planes as a series of the study: what belongs to it, how it is appraised, and what was noticed."""

from collections.abc import Mapping
from dataclasses import replace

from med3d_pipeline.reading.dicom_stacks import Stack
from med3d_pipeline.reading.refusals import Fault, precedence
from med3d_pipeline.reasons import Reason, ReviewCode
from med3d_pipeline.study.foreign_slices import consistent_stack
from med3d_pipeline.study.series_label import stack_label
from med3d_pipeline.study.series_ranking import Appraisal, appraise_stack
from med3d_pipeline.study.study_series import StudySeries


def series_of_stack(stack: Stack, copies: Mapping[str, int]) -> StudySeries:
    """Appraise the slices of ``stack`` that form a volume; ``copies`` counts dropped copies by SeriesInstanceUID."""
    consistent = consistent_stack(stack.planes)
    planes = consistent.planes
    appraisal, geometry = appraise_stack(planes)
    if consistent.remark is not None:
        appraisal = _remarked(appraisal, Reason(ReviewCode.FOREIGN_SLICES, consistent.remark))
    if consistent.fault is not None:
        appraisal = _faulted(appraisal, consistent.fault)
    if stack.by_place:
        appraisal = _gathered(appraisal, len(planes), assembled=geometry is not None)
    dropped = sum(copies.get(uid, 0) for uid in {plane.series_uid for plane in planes})
    if dropped:
        appraisal = replace(appraisal, reasons=(*appraisal.reasons, f"{dropped} copies of its images were left out"))
    label = stack_label(planes, geometry, appraisal.is_t1_weighted)
    return StudySeries(label, planes, geometry, appraisal, planes[0].series_number)


def _remarked(appraisal: Appraisal, remark: Reason) -> Appraisal:
    return replace(appraisal, review=(*appraisal.review, remark))


def _gathered(appraisal: Appraisal, slices: int, *, assembled: bool) -> Appraisal:
    """Say of slices with a SeriesInstanceUID each that they were put together by place, or that they cannot be."""
    seen = f"Each of {slices} slices has a SeriesInstanceUID of its own, as some de-identifiers write them"
    if assembled:
        sentence = f"{seen}; they were read as one series, because they form one whole volume."
        return _remarked(appraisal, Reason(ReviewCode.SERIES_BY_GEOMETRY, sentence))
    found = appraisal.fault
    because = f" ({found.code})" if found is not None else ""
    fault = Fault(
        "series_uid_per_slice",
        f"{seen}, and together they form no whole volume{because}. "
        "Export the series again, complete and with one SeriesInstanceUID for all its slices: a de-identifier gave "
        "each its own.",
    )
    return _faulted(appraisal, fault)


def _faulted(appraisal: Appraisal, fault: Fault) -> Appraisal:
    """Hold a fault against the series, unless a graver one is known."""
    found = appraisal.fault
    if found is not None and precedence(found.code) < precedence(fault.code):
        return appraisal
    reasons = (*appraisal.reasons, f"cannot be used ({fault.code}): {fault.reason}")
    return replace(appraisal, fault=fault, reasons=reasons)
