"""From files to a tensor that passed the quality gate: the same for a worker's stage and for `med3d analyse`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from med3d_contract.results import Provenance, Reason, Refusal, SeriesCandidate, SeriesReport
from med3d_contract.work import Findings, PreparedFindings, PreprocessedObject
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.inference.agreement import PreparedHead, contradiction
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.study.series_selection import candidates_of, nearly_as_suitable, next_in_turn
from med3d_pipeline.study.study import (
    Acquisition,
    PatientAttributes,
    SeriesSelection,
    Study,
    read_study,
    select_series,
)
from med3d_worker.heads.pictures import KeepsPictures
from med3d_worker.heads.review_reasons import in_contract_terms
from med3d_worker.heads.tensors import TensorCache, TensorRecord
from med3d_worker.model.loaded_model import LoadedModel
from med3d_worker.preparing.one_series import OneSeries, Workbench
from med3d_worker.stage_clock import StageClock


@dataclass(frozen=True, eq=False)
class PreparedStudy:
    """A tensor and what belongs to it.

    stored: where the tensor lies, None without a cache. images: what preprocessing made on the way (brain mask, native
    affine), None where the tensor came from the cache.
    """

    record: TensorRecord
    stored: PreprocessedObject | None
    images: Preprocessed | None
    findings: PreparedFindings
    acquisition: Acquisition
    patients: tuple[PatientAttributes, ...]
    review_reasons: tuple[Reason, ...]
    series_reasons: tuple[Reason, ...]

    def acquisition_fields(self) -> dict[str, str | float | None]:
        """Return the acquisition as the contract carries it."""
        return acquisition_fields(self.acquisition)


class StudyRefused(Exception):  # noqa: N818 - an answer, not a fault
    """No number for this study, and what was known of it by then."""

    def __init__(self, refusal: Refusal, findings: Findings) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.findings = findings


MOST_TAKEN = 3
"""Series of a study that are taken in turn, as long as none of them passes."""


class StudyPreparation:
    """Read, select, load, preprocess, judge. With a cache, a head that was preprocessed before is only judged again."""

    def __init__(
        self,
        model: LoadedModel,
        cache: TensorCache | None = None,
        pictures: KeepsPictures | None = None,
        slices: int = 1,
    ) -> None:
        self._model = model
        self._cache = cache
        self._pictures = pictures
        self._slices = slices

    def __call__(
        self, paths: Sequence[Path], *, chosen: str | None, clock: StageClock, on_stage: Callable[[str], None]
    ) -> PreparedStudy:
        """Prepare the study under ``paths``; ``chosen`` is a series' number, UID or label where a person chose.

        Raises StudyRefused where it cannot have a number, InferenceError and StoreError where something broke.
        """
        bench = Workbench(self._model, self._cache, self._pictures, clock, on_stage, self._slices)
        return _Preparing(bench).study(paths, chosen)


class _Preparing:
    """One preparation under way: remembers which series were taken, so that the answer can say it."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._unusable: dict[str, InputRefused] = {}
        self._first: OneSeries | None = None

    def study(self, paths: Sequence[Path], chosen: str | None) -> PreparedStudy:
        try:
            with self._bench.stage("reading headers"):
                study = read_study(paths)
                selection = select_series(study, chosen)
        except InputRefused as refused:
            raise self._refusal(refused, _candidates_of(refused.details)) from refused
        while True:
            series = OneSeries(self._bench, study, selection.chosen)
            self._first = self._first or series
            try:
                series.prepare()
            except InputRefused as refused:
                self._unusable[series.label] = refused
                if chosen is not None or not self._may_go_on(study):
                    raise self._all_refused(study) from refused
                selection = select_series(study, unusable=self._unusable)
            else:
                other = [] if chosen is not None else self._contradiction(study, series)
                return self._prepared(study, selection, series, other)

    def _may_go_on(self, study: Study) -> bool:
        return len(self._unusable) < MOST_TAKEN and next_in_turn(study, self._unusable) is not None

    def _prepared(
        self, study: Study, selection: SeriesSelection, series: OneSeries, contradiction: Sequence[Reason]
    ) -> PreparedStudy:
        series.keep()
        assert series.record is not None
        assert series.quality is not None
        assert series.acquisition is not None
        series_reasons = in_contract_terms(selection.review_reasons)
        return PreparedStudy(
            record=series.record,
            stored=series.stored,
            images=series.images,
            findings=PreparedFindings(
                series=self._report(study, series.label),
                quality=series.quality,
                provenance=self._provenance(series),
                source=series.source,
                pictures=series.pictures,
            ),
            acquisition=series.acquisition,
            patients=series.patients,
            review_reasons=(*series_reasons, *contradiction, *series.review_reasons),
            series_reasons=series_reasons,
        )

    def _contradiction(self, study: Study, taken: OneSeries) -> list[Reason]:
        """Ask the next series, too, where it serves nearly as well: two answers that differ are told."""
        label = nearly_as_suitable(study, taken.label, self._unusable)
        if label is None:
            return []
        other = OneSeries(self._bench, study, label)
        try:
            other.prepare()
        except InputRefused as refused:
            self._unusable[label] = refused  # listed among the candidates, and no reason to look: it was not wanted
            return []
        with self._bench.stage("comparing two series"):
            found = contradiction(self._bench.model.predictor, _head(taken), _head(other))
        return [] if found is None else list(in_contract_terms([found]))

    def _all_refused(self, study: Study) -> StudyRefused:
        """Refuse in the words of the series that was taken first, and with the verdicts on the others."""
        assert self._first is not None
        self._first.keep_pictures()
        (label, refused), *others = self._unusable.items()
        reason, details = refused.reason, dict(refused.details)
        if others:
            codes = ", ".join(dict.fromkeys(other.code for _, other in others))
            reason += f" Of the study's other T1-weighted series {len(others)} more cannot be used ({codes})."
            details["also_tried"] = [
                {"label": name, "code": other.code, "reason": other.reason} for name, other in others
            ]
        if len(self._unusable) >= MOST_TAKEN and next_in_turn(study, self._unusable) is not None:
            reason += " There are further ones, which were not tried: a person may choose one by its number."
        return self._refusal(InputRefused(refused.code, reason, details), self._report(study, label))

    def _refusal(self, refused: InputRefused, report: SeriesReport | None) -> StudyRefused:
        refusal = Refusal(code=refused.code, reason=refused.reason, details=dict(refused.details))
        first = self._first
        if first is None:
            return StudyRefused(refusal, Findings(series=report, provenance=self._provenance(None)))
        findings = Findings(
            series=report,
            quality=first.quality,
            provenance=self._provenance(first),
            source=first.source,
            pictures=first.pictures,
        )
        return StudyRefused(refusal, findings)

    def _report(self, study: Study, chosen: str) -> SeriesReport:
        return SeriesReport(
            chosen=chosen,
            candidates=tuple(
                SeriesCandidate(label=found.label, score=found.score, reasons=found.reasons)
                for found in candidates_of(study, self._unusable)
            ),
        )

    def _provenance(self, series: OneSeries | None) -> Provenance:
        model = self._bench.model
        return Provenance(
            input_digest=None if series is None else series.input_digest,
            preprocessing_digest=model.preprocessing_digest,
            bundle_digest=model.reference.digest,
            software=model.software,
            providers=model.providers,
            timings_s=self._bench.clock.timings_s,
        )


def _head(series: OneSeries) -> PreparedHead:
    assert series.record is not None
    assert series.acquisition is not None
    return PreparedHead(series.label, series.record.tensor, series.acquisition)


CARRIED = (
    "manufacturer",
    "model",
    "field_strength_t",
    "sequence",
    "tr_ms",
    "te_ms",
    "ti_ms",
    "flip_deg",
    "slice_thickness_mm",
)


def acquisition_fields(acquisition: Acquisition) -> dict[str, str | float | None]:
    """Return what of an acquisition travels with the run: device and parameters."""
    return {name: getattr(acquisition, name) for name in CARRIED}


def acquisition_of_fields(fields: Mapping[str, str | float | None]) -> Acquisition:
    """Return the acquisition that ``acquisition_fields`` wrote; unknown names of other versions are left out."""
    known: dict[str, Any] = {name: fields[name] for name in CARRIED if name in fields}
    return Acquisition(**known)


def _candidates_of(details: Mapping[str, Any]) -> SeriesReport | None:
    """Return the list that select_series leaves in its refusal."""
    if "candidates" not in details:
        return None
    return SeriesReport(
        chosen=None, candidates=tuple(SeriesCandidate.model_validate(found) for found in details["candidates"])
    )
