"""The answer as DICOM SR: Comprehensive 3D SR, TID 1500, one TID 1501 group over the whole image (PS3.16)."""

import re
from collections.abc import Iterator

from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    TextContentItem,
    TrackingIdentifier,
)
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, MRImageStorage

from med3d_contract.results import Interval, Result, Sdmt, Verdict
from med3d_service.results.reports import codes
from med3d_service.results.reports.dicom_objects import (
    MANUFACTURER,
    as_file,
    identify,
    moment_of,
    own_scheme,
    patient_and_study,
    series_uid,
    study_of,
)
from med3d_service.results.reports.facts import ReportFacts
from med3d_service.results.reports.sr_names import sr_name
from med3d_service.studies.own_objects import own_uid

SR = "sr"
DECIMALS = 2
NOBODY = own_uid("nobody")
_NO_NAME = re.compile(r"[\\=\x00-\x1f\x7f]")


def structured_report(facts: ReportFacts) -> bytes:
    """Write the SR of an answer; a refused run's says so and holds no number. Raises NoDicomStudyError."""
    evidence, name = _evidence(facts), name_of(facts)
    report = Comprehensive3DSR(
        evidence=evidence,
        content=_content(facts),
        series_instance_uid=series_uid(facts.run_id, name),
        series_number=1,
        sop_instance_uid=own_uid(facts.run_id, name),
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=True,
        is_final=True,
        previous_versions=_predecessor(facts),
        manufacturer_model_name=facts.bundle.name,
        device_serial_number=facts.bundle.digest[:16],
        software_versions=facts.bundle.version,
        specific_character_set="ISO_IR 192",
    )
    identify(report, facts, SR, Comprehensive3DSRStorage, "SR", name=name)
    if _verified_by(facts):
        report.VerificationFlag = "VERIFIED"
        report.VerifyingObserverSequence = [_verifying_observer(facts)]
    report.CodingSchemeIdentificationSequence = [own_scheme()]
    if facts.source is None:  # highdicom wants something to take patient and study from, and takes it for evidence
        del report.CurrentRequestedProcedureEvidenceSequence
    return as_file(report)


def _evidence(facts: ReportFacts) -> list[Dataset]:
    """Return the data sets that stand for the images: patient and study, and one for each instance."""
    if facts.source is None:
        return [_standing_for(facts, MRImageStorage, NOBODY, NOBODY)]
    source = facts.source
    return [_standing_for(facts, source.sop_class_uid, uid, source.series_uid) for uid in source.instance_uids]


def _standing_for(facts: ReportFacts, sop_class_uid: str, uid: str, of_series_uid: str) -> Dataset:
    dataset = patient_and_study(facts)
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.SeriesInstanceUID = sop_class_uid, uid, of_series_uid
    return dataset


def name_of(facts: ReportFacts) -> str:
    """Name the SR of an answer as it stands."""
    return sr_name(None if facts.verdict is None else facts.verdict.verdict_id)


def _verified_by(facts: ReportFacts) -> str:
    """Tell who stands for the answer: a person who has accepted it, and whose name is known."""
    accepted = facts.verdict is not None and facts.verdict.verdict is Verdict.ACCEPTED
    return facts.verdict.reader.strip() if accepted and facts.verdict is not None else ""


def _verifying_observer(facts: ReportFacts) -> Dataset:
    """Tell who verified, and when (PS3.3 C.17.2). An organization must stand there; images may name none."""
    assert facts.verdict is not None
    observer = Dataset()
    observer.VerifyingObserverName = _person(_verified_by(facts))
    observer.VerifyingOrganization = study_of(facts).attributes.get("institution_name") or "not stated"
    observer.VerificationDateTime = moment_of(facts, facts.verdict.given_at).strftime("%Y%m%d%H%M%S%z")
    observer.VerifyingObserverIdentificationCodeSequence = []
    return observer


def _person(reader: str) -> str:
    """Return a name as it was typed, in what DICOM takes for one (PN): its family name, unless it has components."""
    written = _NO_NAME.sub(" ", reader)[:64].strip()
    return written if "^" in written else f"{written}^"


def _predecessor(facts: ReportFacts) -> list[Dataset] | None:
    if facts.replaces_sr is None and facts.predecessor is None:
        return None
    run_id, name = facts.replaces_sr or (facts.predecessor or "", sr_name(None))
    here = study_of(facts).study_uid
    older = Dataset()
    older.SOPClassUID = Comprehensive3DSRStorage
    older.SOPInstanceUID = own_uid(run_id, name)
    older.SeriesInstanceUID = series_uid(run_id, name)
    older.StudyInstanceUID = here if run_id == facts.run_id else facts.replaces_study_uid or here
    return [older]


def _content(facts: ReportFacts) -> MeasurementReport:
    observer = ObserverContext(
        observer_type=codes.DEVICE,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=own_uid("device", facts.bundle.digest),
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=f"{facts.bundle.name} {facts.bundle.version}",
            serial_number=facts.bundle.digest[:16],
        ),
    )
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.MRI,
        imaging_measurements=[_group(facts)],
        title=codes.REPORT_TITLE,
    )


def _group(facts: ReportFacts) -> MeasurementsAndQualitativeEvaluations:
    """Return TID 1501: estimates with their properties, the decision, and why."""
    algorithm = AlgorithmIdentification(
        name=facts.bundle.name,
        version=facts.bundle.version,
        parameters=[f"bundle sha256 {facts.bundle.digest}"],
        family=codes.ARTIFICIAL_INTELLIGENCE,
        manufacturer=MANUFACTURER,
    )
    images = None
    if facts.source is not None:
        images = [SourceImageForMeasurementGroup(facts.source.sop_class_uid, uid) for uid in facts.source.instance_uids]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=own_uid(facts.run_id, "tracking"), identifier=f"run {facts.run_id}"),
        finding_type=codes.BRAIN_AGE_ANALYSIS,
        finding_sites=[FindingSite(anatomic_location=codes.BRAIN)],
        algorithm_id=algorithm,
        measurements=list(_measurements(facts.result)) if facts.result is not None else None,
        qualitative_evaluations=list(_evaluations(facts)),
        source_images=images,
    )
    group[0].ContentSequence.extend(
        [
            *(_text(codes.REASON, str(reason)) for reason in facts.reasons),
            *([] if facts.calibrated_for is None else [_text(codes.CALIBRATED_FOR, facts.calibrated_for)]),
            _text(codes.INTENDED_USE, codes.RESEARCH_USE),
        ]
    )
    return group


def _evaluations(facts: ReportFacts) -> Iterator[QualitativeEvaluation]:
    yield QualitativeEvaluation(codes.DECISION, codes.DECISIONS[facts.decision])
    if facts.verdict is not None:
        yield QualitativeEvaluation(codes.VERDICT, codes.VERDICTS[facts.verdict.verdict])


def _measurements(result: Result) -> Iterator[Measurement]:
    age = result.brain_age
    yield _estimate(codes.BRAIN_AGE, age.estimate, codes.YEARS, age.interval)
    for name, gap in ((codes.BRAIN_AGE_GAP, age.gap), (codes.BRAIN_AGE_GAP_CORRECTED, age.gap_corrected)):
        if gap is not None and age.chronological_age is not None:
            made = _estimate(name, gap.estimate, codes.YEARS, gap.interval)
            made[0].ContentSequence.append(
                _number(
                    codes.SUBJECT_AGE,
                    age.chronological_age.years,
                    codes.YEARS,
                    RelationshipTypeValues.INFERRED_FROM,
                )
            )
            yield made
    if result.sdmt is not None:
        yield _sdmt(result.sdmt)
    percentile = result.assessment.out_of_distribution.percentile
    name = codes.OUT_OF_SITE if result.assessment.calibrated_for else codes.OUT_OF_DISTRIBUTION
    yield Measurement(name=name, value=_rounded(percentile), unit=codes.PERCENT)


def _sdmt(sdmt: Sdmt) -> Measurement:
    """Return an estimate, by a code of its own: never that of a test which somebody took."""
    made = _estimate(codes.SDMT_ESTIMATE, sdmt.estimate, codes.POINTS, sdmt.interval)
    text = _text(codes.EVIDENCE, sdmt.evidence, RelationshipTypeValues.HAS_PROPERTIES)
    made[0].ContentSequence.append(text)
    return made


def _estimate(name: CodedConcept, value: float, unit: CodedConcept, interval: Interval | None) -> Measurement:
    made = Measurement(name=name, value=_rounded(value), unit=unit, derivation=codes.ESTIMATED)
    if interval is not None:
        made[0].ContentSequence.extend(
            [
                _number(codes.INTERVAL_LOWER, interval.lower, unit),
                _number(codes.INTERVAL_UPPER, interval.upper, unit),
                _number(codes.INTERVAL_LEVEL, 100 * interval.level, codes.PERCENT),
            ]
        )
    return made


def _rounded(value: float) -> float:
    """Round to no more digits than mean something, and none that a decimal string could not hold."""
    return round(value, DECIMALS)


def _number(
    name: CodedConcept,
    value: float,
    unit: CodedConcept,
    relationship: RelationshipTypeValues = RelationshipTypeValues.HAS_PROPERTIES,
) -> NumContentItem:
    return NumContentItem(name=name, value=_rounded(value), unit=unit, relationship_type=relationship)


def _text(
    name: CodedConcept, value: str, relationship: RelationshipTypeValues = RelationshipTypeValues.CONTAINS
) -> TextContentItem:
    return TextContentItem(name=name, value=value, relationship_type=relationship)
