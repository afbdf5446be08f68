"""One series from its files to a tensor that passed the quality gate."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from med3d_contract.results import Quality, Reason
from med3d_contract.work import PreprocessedObject, SourceSeries
from med3d_pipeline.preprocessing.defacing import deface
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.outline_pictures import outline_pictures
from med3d_pipeline.preprocessing.preprocess import Preprocessed
from med3d_pipeline.preprocessing.quality import judge_quality
from med3d_pipeline.study.study import Acquisition, LoadedSeries, PatientAttributes, Study, load_series
from med3d_worker.heads.pictures import Drawn, KeepsPictures, mask_on_images
from med3d_worker.heads.review_reasons import in_contract_terms
from med3d_worker.heads.tensors import TensorCache, TensorRecord, tensor_key
from med3d_worker.model.loaded_model import LoadedModel
from med3d_worker.stage_clock import StageClock


@dataclass(frozen=True, eq=False)
class Workbench:
    """What series are prepared with. cache and picture_store: None where nothing is kept. slices: in each plane."""

    model: LoadedModel
    cache: TensorCache | None
    picture_store: KeepsPictures | None
    clock: StageClock
    on_stage: Callable[[str], None]
    slices: int = 1

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Tell that a stage begins, and measure it."""
        self.on_stage(name)
        with self.clock.measure(name):
            yield


class OneSeries:
    """A series on its way: remembers what is known of it, so that a refusal can say it.

    images: what preprocessing made, None where the tensor came from the cache. stored, pictures: where tensor and
    pictures lie; nothing is kept in the store before ``keep``, for a series that is looked at may not be the answer.
    Its volume is let go as soon as it has a tensor.
    """

    def __init__(self, bench: Workbench, study: Study, label: str) -> None:
        self.label = label
        self.input_digest: str | None = None
        self.source: SourceSeries | None = None
        self.acquisition: Acquisition | None = None
        self.patients: tuple[PatientAttributes, ...] = ()
        self.record: TensorRecord | None = None
        self.images: Preprocessed | None = None
        self.quality: Quality | None = None
        self.review_reasons: tuple[Reason, ...] = ()
        self.stored: PreprocessedObject | None = None
        self.pictures: PreprocessedObject | None = None
        self._bench = bench
        self._study = study
        self._drawn: Drawn | None = None

    def prepare(self) -> None:
        """Load, preprocess and judge. Raises InputRefused where no number can come of it."""
        with self._bench.stage("reading the series"):
            loaded = load_series(self._study, self.label)
        self.input_digest, self.source = loaded.input_digest, _source_of(loaded)
        self.acquisition, self.patients = loaded.acquisition, loaded.patients
        record = self._find_stored() or self._preprocess(loaded)
        self._judge(record.measures)
        self.record = record

    def keep(self) -> None:
        """Store what was made, where there is a store: pictures first, so that a tensor in the cache has its own."""
        bench = self._bench
        if bench.cache is None:
            self.keep_pictures()
        if bench.cache is None or self.record is None or self.stored is not None:
            return
        with bench.stage("storing the tensor"):
            self.keep_pictures()
            self.stored = bench.cache.keep(self._key, self.record)

    def keep_pictures(self) -> None:
        """Store the pictures alone, as of a head that was refused."""
        if self._drawn is not None and self._bench.picture_store is not None:
            self.pictures = self._bench.picture_store.keep(self._key, self._drawn)

    @property
    def _key(self) -> str:
        assert self.input_digest is not None
        return tensor_key(self.input_digest, self._bench.model.preprocessing_digest)

    def _find_stored(self) -> TensorRecord | None:
        """Take the tensor from the cache; not where its pictures are wanted and gone."""
        found = self._bench.cache.find(self._key) if self._bench.cache else None
        if found is None:
            return None
        if self._bench.picture_store is not None:
            self.pictures = self._bench.picture_store.find(self._key)
            if self.pictures is None:
                return None
        record, self.stored = found
        return record

    def _preprocess(self, loaded: LoadedSeries) -> TensorRecord:
        images = self._bench.model.preprocessor(loaded.volume, self._bench.on_stage)
        self._bench.clock.add(dict(images.timings_s))
        self.images = images
        if self._bench.picture_store is not None:
            shown, without_face = to_closest_ras(loaded.volume), self._bench.picture_store.deface
            if without_face:
                shown = deface(shown, images.brain_mask, images.template_to_native)
            self._drawn = Drawn(
                outline_pictures(shown, images.brain_mask, self._bench.slices),
                mask_on_images(loaded.volume, images.brain_mask, loaded.instances),
                defaced=without_face,
            )
        return TensorRecord(images.tensor, images.template_to_native, dict(images.measures))

    def _judge(self, measures: dict[str, float]) -> None:
        limits = self._bench.model.quality_limits
        verdict = judge_quality(measures, limits)
        self.quality = quality_report(measures, limits.refuse, verdict.failed)
        if verdict.refusal is not None:
            self.images = None  # a head's worth of memory, while others are looked at
            raise verdict.refusal
        self.review_reasons = in_contract_terms(verdict.review_reasons)


def _source_of(loaded: LoadedSeries) -> SourceSeries | None:
    if loaded.instances is None:
        return None
    found = loaded.instances
    return SourceSeries(
        series_uid=found.series_uid, sop_class_uid=found.sop_class_uid, instance_uids=found.instance_uids
    )


def quality_report(
    measures: Mapping[str, float],
    limits: Mapping[str, tuple[float | None, float | None]],
    failed: Sequence[str],
) -> Quality:
    """Return measures as JSON can carry them: what could not be measured is null."""
    return Quality(
        measures={name: float(value) if math.isfinite(value) else None for name, value in measures.items()},
        limits=dict(limits),
        failed=tuple(failed),
    )
