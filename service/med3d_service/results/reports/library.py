"""Reports by run and kind. A DICOM object is made once and kept sealed: one UID has one content, for ever."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from med3d_contract.explanations import StoredExplanation
from med3d_service.results.kinds import STATED_KINDS, Kind, object_uid
from med3d_service.results.reports.dicom_objects import NoDicomStudyError
from med3d_service.results.reports.facts import FactsReader, ReportFacts
from med3d_service.results.reports.kept import KeptReports, Parts
from med3d_service.results.reports.sr_names import names_of, replaced_sr, sr_name
from med3d_service.storage.tables import ReportRow, RunRow


class ReportUnavailableError(Exception):
    """There is no such report of this run.

    ``code``: not_answered, no_dicom_study, no_segmentation, no_explanation, several_patients, no_patient_id or
    identity_corrected.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class ReportInWorkError(Exception):
    """A worker makes what the report shows; asked again in a moment, it is there."""

    code = "explanation_in_work"


def renderers() -> Mapping[Kind, Callable[[ReportFacts], bytes]]:
    """Import what draws and encodes only where it is needed: it takes a second."""
    from med3d_service.results.reports.encapsulated import encapsulated_pdf, secondary_capture
    from med3d_service.results.reports.explained import explanation_capture
    from med3d_service.results.reports.seg import brain_segmentation
    from med3d_service.results.reports.sr import structured_report

    return {
        Kind.SR: structured_report,
        Kind.PDF: encapsulated_pdf,
        Kind.SC: secondary_capture,
        Kind.SEG: brain_segmentation,
        Kind.EXPLANATION: explanation_capture,
    }


def explain_nothing(_run_id: str) -> StoredExplanation:
    """Raise ReportUnavailableError: who asks for no worker's help has no explanations."""
    raise ReportUnavailableError("no_explanation")


class ReportLibrary:
    """Makes reports, and finds DICOM objects again.

    explained: the explanation of a run; it raises ReportUnavailableError or ReportInWorkError where there is none.
    """

    def __init__(self, parts: Parts, explained: Callable[[str], StoredExplanation] = explain_nothing) -> None:
        self._database, self._explained = parts.database, explained
        self._reader = FactsReader(parts.store, parts.vault)
        self._kept = KeptReports(parts)

    def facts(self, run_id: str) -> ReportFacts:
        """Gather what reports of a run may say. Raises ReportUnavailableError: not_answered, identity_corrected."""
        with self._database.read() as session:
            _require_standing(session, run_id)
            facts = self._reader.read(session, run_id)
        if facts is None:
            raise ReportUnavailableError("not_answered")
        return facts

    def facts_of_one_patient(self, run_id: str) -> ReportFacts:
        """Gather the facts of what is filed under a patient. Raises ReportUnavailableError."""
        facts = self.facts(run_id)
        if facts.patients:
            raise ReportUnavailableError("several_patients")
        return facts

    def content(self, run_id: str, kind: Kind) -> bytes:
        """Return the DICOM file, or the JSON of the event.

        Raises ReportUnavailableError, ReportInWorkError, ReportDamagedError.
        """
        if kind is Kind.EVENT:
            from med3d_service.results.reports.event import event_json

            return event_json(self.facts(run_id), object_uid(run_id, kind))
        if kind in STATED_KINDS:
            return self._stated(run_id, kind)
        with self._database.read() as session:
            _require_standing(session, run_id)
            name = names_of(session, run_id)[0] if kind is Kind.SR else str(kind)
        kept = self._kept.find(run_id, name)
        if kept is not None:
            return kept
        try:
            return self._made(run_id, kind)
        except NoDicomStudyError as error:
            raise ReportUnavailableError("no_dicom_study") from error

    def made_objects(self, run_id: str, kind: Kind) -> list[bytes]:
        """Read all objects that were made of a run, also of one that is withdrawn. Raises ReportDamagedError."""
        of_kind = ReportRow.kind == kind, ReportRow.kind.startswith(f"{kind}-")
        with self._database.read() as session:
            names = session.scalars(select(ReportRow.kind).where(ReportRow.run_id == run_id, or_(*of_kind))).all()
        found = (self._kept.find(run_id, name) for name in names)
        return [one for one in found if one is not None]

    def _made(self, run_id: str, kind: Kind) -> bytes:
        facts = self.facts_of_one_patient(run_id)
        if kind is Kind.SEG and facts.study is not None and facts.segmented is None:
            raise ReportUnavailableError("no_segmentation")
        if kind is Kind.EXPLANATION and facts.study is not None:
            facts = replace(facts, explanation=self._explained(run_id))
        if kind is not Kind.SR:
            return self._kept.keep(run_id, kind, renderers()[kind](facts))
        with self._database.read() as session:
            facts = replace(facts, replaces_sr=replaced_sr(session, run_id))
        name = sr_name(None if facts.verdict is None else facts.verdict.verdict_id)
        return self._kept.keep(run_id, name, renderers()[kind](facts))

    def _stated(self, run_id: str, kind: Kind) -> bytes:
        """Write what says how the answer stands now, which is therefore not kept. Raises ReportUnavailableError."""
        from med3d_service.results.reports.fhir_transaction import fhir_transaction
        from med3d_service.results.reports.oru import NoPatientIdError, result_message

        found = self.facts_of_one_patient(run_id)
        if kind is Kind.FHIR:
            return fhir_transaction(found)
        try:
            return result_message(found, kind)
        except NoPatientIdError as error:
            raise ReportUnavailableError("no_patient_id") from error


def _require_standing(session: Session, run_id: str) -> None:
    withdrawn = session.scalars(select(RunRow.withdrawn_at).where(RunRow.id == run_id)).first()
    if withdrawn is not None:  # what was made of it names who the patient is not
        raise ReportUnavailableError("identity_corrected")
