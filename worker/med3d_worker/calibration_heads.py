"""A head on its way into a calibration: files to what the model sees of it, by the worker's own steps."""

from collections.abc import Callable
from pathlib import Path

from med3d_contract.ages import stated_age
from med3d_contract.sent_files.archives import ArchiveRefused
from med3d_contract.sent_files.unpacking import InputNotReadable, unpacked
from med3d_pipeline.calibration.fitting import CalibrationHead
from med3d_pipeline.errors import PipelineError
from med3d_pipeline.reasons import ReviewCode
from med3d_worker.analysis import age_at_scan
from med3d_worker.faults import failure_of
from med3d_worker.heads.tensors import TensorCache
from med3d_worker.model.loaded_model import LoadedModel
from med3d_worker.preparing.preparation import StudyPreparation, StudyRefused
from med3d_worker.stage_clock import StageClock


class UnusableHead(Exception):  # noqa: N818 - an answer, not a fault
    """A head that cannot take part, by a code of docs/refusals.md or docs/calibration.md, and why."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


NO_AGE = UnusableHead(
    "age_not_stated", "No age is stated and the headers tell none; give the age at the scan in years."
)
LEARNED_FROM = UnusableHead(
    ReviewCode.TRAINING_SCAN,
    "The model learned from this very scan, so its error is smaller than that of a new head; give heads that are new.",
)


class HeadReader:
    """Reads heads one by one, and refuses those that `med3d analyse` would refuse."""

    def __init__(self, model: LoadedModel, tensors: TensorCache | None = None) -> None:
        self._prepare = StudyPreparation(model, tensors)
        self._predictor = model.predictor

    def __call__(
        self, path: Path, age_years: float | None, on_stage: Callable[[str], None] = lambda _: None
    ) -> CalibrationHead:
        """Prepare and look at the head in ``path``; without a stated age that of its headers. Raises UnusableHead."""
        try:
            with unpacked(path) as paths:
                prepared = self._prepare(paths, chosen=None, clock=StageClock(), on_stage=on_stage)
            (sighting,) = self._predictor.look(prepared.record.tensor[None])
        except StudyRefused as refused:
            raise UnusableHead(refused.refusal.code, refused.refusal.reason) from refused
        except ArchiveRefused as refused:
            raise UnusableHead(refused.code, f"{refused.detail} {refused.remedy}") from refused
        except InputNotReadable as error:
            raise UnusableHead("input_not_readable", str(error)) from error
        except (PipelineError, OSError) as error:
            failure = failure_of(error)
            raise UnusableHead(failure.code, failure.reason) from error
        refusal = self._predictor.refusal(sighting)
        if refusal is not None:
            raise UnusableHead(refusal.code, refusal.reason)
        if self._predictor.has_learned_from(sighting):
            raise LEARNED_FROM
        found = age_at_scan(prepared.patients, stated_age(age_years))
        if found.age is None:
            raise NO_AGE
        return CalibrationHead(sighting, found.age.years, prepared.acquisition, found.doubt is not None)
