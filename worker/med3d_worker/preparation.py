"""From files to a tensor that passed the quality gate: the same for a worker's stage and for `med3d analyse`."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from med3d_contract.results import Provenance, Quality, Reason, Refusal, SeriesCandidate, SeriesReport
from med3d_contract.work import PreprocessedObject, SourceSeries
from med3d_pipeline.errors import InputRefused
from med3d_pipeline.orientation import to_closest_ras
from med3d_pipeline.outline_pictures import outline_pictures
from med3d_pipeline.preprocess import Preprocessed
from med3d_pipeline.quality import judge_quality
from med3d_pipeline.study import (
    Acquisition,
    LoadedSeries,
    PatientAttributes,
    SeriesSelection,
    load_series,
    read_study,
    select_series,
)
from med3d_worker.loaded_model import LoadedModel
from med3d_worker.pictures import PictureStore
from med3d_worker.review_reasons import in_contract_terms
from med3d_worker.stage_clock import StageClock
from med3d_worker.tensors import TensorCache, TensorRecord, tensor_key


@dataclass(frozen=True, eq=False)
class PreparedStudy:
    """A tensor and what belongs to it.

    stored: where the tensor lies, None without a cache. images: what preprocessing made on the way (brain mask, native
    affine), None where the tensor came from the cache. source: the instances that were read, None for NIfTI. pictures:
    where the slices with the brain's outline lie, None where nobody keeps them.
    """

    record: TensorRecord
    stored: PreprocessedObject | None
    images: Preprocessed | None
    series: SeriesReport
    quality: Quality
    acquisition: Acquisition
    patient: PatientAttributes
    review_reasons: tuple[Reason, ...]
    series_reasons: tuple[Reason, ...]
    provenance: Provenance
    source: SourceSeries | None
    pictures: PreprocessedObject | None

    def acquisition_fields(self) -> dict[str, str | float | None]:
        """The acquisition as the contract carries it."""
        return acquisition_fields(self.acquisition)


class StudyRefused(Exception):  # noqa: N818 - an answer, not a fault
    """No number for this study; series, quality and provenance as far as they were known by then."""

    def __init__(
        self,
        refusal: Refusal,
        series: SeriesReport | None,
        quality: Quality | None,
        provenance: Provenance,
        source: SourceSeries | None = None,
        pictures: PreprocessedObject | None = None,
    ) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.series = series
        self.quality = quality
        self.provenance = provenance
        self.source = source
        self.pictures = pictures


class StudyPreparation:
    """Read, select, load, preprocess, judge. With a cache, a head that was preprocessed before is only judged again."""

    def __init__(
        self, model: LoadedModel, cache: TensorCache | None = None, pictures: PictureStore | None = None
    ) -> None:
        self._model = model
        self._cache = cache
        self._pictures = pictures

    def __call__(
        self, paths: Sequence[Path], *, chosen: str | None, clock: StageClock, on_stage: Callable[[str], None]
    ) -> PreparedStudy:
        """Prepare the study under ``paths``; ``chosen`` is a series' label where a person chose.

        Raises StudyRefused where it cannot have a number, InferenceError and StoreError where something broke.
        """
        return _Preparing(self._model, self._cache, self._pictures, clock, on_stage).study(paths, chosen)


class _Preparing:
    """One preparation under way: remembers what is known, so that a refusal can say it."""

    def __init__(
        self,
        model: LoadedModel,
        cache: TensorCache | None,
        pictures: PictureStore | None,
        clock: StageClock,
        on_stage: Callable[[str], None],
    ) -> None:
        self._model = model
        self._cache = cache
        self._picture_store = pictures
        self._clock = clock
        self._on_stage = on_stage
        self._series: SeriesReport | None = None
        self._quality: Quality | None = None
        self._input_digest: str | None = None
        self._source: SourceSeries | None = None
        self._pictures: PreprocessedObject | None = None

    def study(self, paths: Sequence[Path], chosen: str | None) -> PreparedStudy:
        try:
            selection, loaded = self._read(paths, chosen)
            record, stored, images = self._tensor(loaded)
            review_reasons = self._judge(record.measures)
        except InputRefused as refused:
            raise self._refusal(refused) from refused
        assert self._series is not None
        assert self._quality is not None
        series_reasons = in_contract_terms(selection.review_reasons)
        return PreparedStudy(
            record=record,
            stored=stored,
            images=images,
            series=self._series,
            quality=self._quality,
            acquisition=loaded.acquisition,
            patient=loaded.patient,
            review_reasons=(*series_reasons, *review_reasons),
            series_reasons=series_reasons,
            provenance=self._provenance(),
            source=self._source,
            pictures=self._pictures,
        )

    def _read(self, paths: Sequence[Path], chosen: str | None) -> tuple[SeriesSelection, LoadedSeries]:
        with self._stage("reading headers"):
            study = read_study(paths)
            selection = select_series(study, chosen)
        self._series = SeriesReport(
            chosen=selection.chosen,
            candidates=tuple(
                SeriesCandidate(label=found.label, score=found.score, reasons=found.reasons)
                for found in selection.candidates
            ),
        )
        with self._stage("reading the series"):
            loaded = load_series(study, selection.chosen)
        self._input_digest = loaded.input_digest
        self._source = _source_of(loaded)
        return selection, loaded

    def _tensor(self, loaded: LoadedSeries) -> tuple[TensorRecord, PreprocessedObject | None, Preprocessed | None]:
        key = tensor_key(loaded.input_digest, self._model.preprocessing_digest)
        if self._cache and (found := self._cache.find(key)) and self._find_pictures(key):
            return *found, None
        images = self._model.preprocessor(loaded.volume, self._on_stage)
        self._clock.add(dict(images.timings_s))
        record = TensorRecord(images.tensor, images.template_to_native, dict(images.measures))
        if self._cache is None:
            return record, None, images
        with self._stage("storing the tensor"):
            if self._picture_store is not None:  # first, so that a tensor in the cache has its pictures
                head = to_closest_ras(loaded.volume)
                self._pictures = self._picture_store.keep(key, outline_pictures(head, images.brain_mask))
            return record, self._cache.keep(key, record), images

    def _find_pictures(self, tensor_key: str) -> bool:
        """Whether the tensor may be taken from the cache: not where its pictures are wanted and gone."""
        if self._picture_store is None:
            return True
        self._pictures = self._picture_store.find(tensor_key)
        return self._pictures is not None

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        self._on_stage(name)
        with self._clock.measure(name):
            yield

    def _judge(self, measures: dict[str, float]) -> tuple[Reason, ...]:
        verdict = judge_quality(measures, self._model.quality_limits)
        self._quality = quality_report(measures, self._model.quality_limits.refuse, verdict.failed)
        if verdict.refusal is not None:
            raise verdict.refusal
        return in_contract_terms(verdict.review_reasons)

    def _refusal(self, refused: InputRefused) -> StudyRefused:
        if self._series is None:
            self._series = _candidates_of(refused.details)
        refusal = Refusal(code=refused.code, reason=refused.reason, details=dict(refused.details))
        return StudyRefused(refusal, self._series, self._quality, self._provenance(), self._source, self._pictures)

    def _provenance(self) -> Provenance:
        return Provenance(
            input_digest=self._input_digest,
            preprocessing_digest=self._model.preprocessing_digest,
            bundle_digest=self._model.reference.digest,
            software=self._model.software,
            providers=self._model.providers,
            timings_s=self._clock.timings_s,
        )


def quality_report(
    measures: Mapping[str, float],
    limits: Mapping[str, tuple[float | None, float | None]],
    failed: Sequence[str],
) -> Quality:
    """Measures as JSON can carry them: what could not be measured is null."""
    return Quality(
        measures={name: float(value) if math.isfinite(value) else None for name, value in measures.items()},
        limits=dict(limits),
        failed=tuple(failed),
    )


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
    """What of an acquisition travels with the run: device and parameters."""
    return {name: getattr(acquisition, name) for name in CARRIED}


def acquisition_of_fields(fields: Mapping[str, str | float | None]) -> Acquisition:
    """The acquisition that ``acquisition_fields`` wrote; unknown names of other versions are left out."""
    known: dict[str, Any] = {name: fields[name] for name in CARRIED if name in fields}
    return Acquisition(**known)


def _source_of(loaded: LoadedSeries) -> SourceSeries | None:
    if loaded.instances is None:
        return None
    found = loaded.instances
    return SourceSeries(
        series_uid=found.series_uid, sop_class_uid=found.sop_class_uid, instance_uids=found.instance_uids
    )


def _candidates_of(details: Mapping[str, Any]) -> SeriesReport | None:
    """The list that select_series leaves in its refusal."""
    if "candidates" not in details:
        return None
    return SeriesReport(
        chosen=None, candidates=tuple(SeriesCandidate.model_validate(found) for found in details["candidates"])
    )
