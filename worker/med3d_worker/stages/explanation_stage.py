"""Use case: the explanation of one run, when somebody asks for it. It is no stage of a run and holds no lease."""

from dataclasses import dataclass
from typing import Protocol

import structlog

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.explanations import explanation_key
from med3d_contract.work import ExplanationRequest
from med3d_pipeline.errors import PipelineError
from med3d_store.object_store import StoreError
from med3d_worker.heads.head_explanation import Explains, explain_head
from med3d_worker.heads.tensors import Store, TensorCache

log = structlog.get_logger()


class ExplanationApi(Protocol):
    """The part of WorkerClient that is needed here."""

    def explanation_request(self, run_id: str) -> ExplanationRequest:
        """Ask for what to explain. Raises Superseded where the run was erased or cannot be explained any more."""
        ...


class KeepsExplanations(Store, Protocol):
    """The part of ObjectStore that is needed here."""

    def delete(self, key: str) -> None:
        """Remove it; one that is not there is no error."""
        ...


@dataclass(frozen=True)
class ExplanationStage:
    """Explains with its own bundle. What goes wrong is asked for again by whoever reads."""

    api: ExplanationApi
    store: KeepsExplanations
    tensors: TensorCache
    explainer: Explains | None
    bundle_digest: str

    def __call__(self, run_id: str) -> None:
        """Make and store the explanation, unless it is there already."""
        try:
            made = self._make(run_id)
        except (Superseded, ApiUnavailable, StoreError, PipelineError) as error:
            log.info("not_explained", run_id=run_id, because=type(error).__name__)
            return
        except ApiError as error:
            log.warning("explanation_refused", run_id=run_id, code=error.code, because=str(error))
            return
        if made:
            log.info("explained", run_id=run_id)

    def _make(self, run_id: str) -> bool:
        key = explanation_key(run_id)
        if self.store.head(key) is not None:
            return False
        wanted = self.api.explanation_request(run_id)
        if self.explainer is None or wanted.bundle_digest != self.bundle_digest:
            log.info("not_explained", run_id=run_id, because="no_explainer")
            return False
        record = self.tensors.load(wanted.tensor)
        found = explain_head(self.explainer, record.tensor, wanted.age_years)
        self.store.put(key, found.model_dump_json().encode())
        try:
            self.api.explanation_request(run_id)
        except Superseded:  # erased, or its time was over, while this was made: nobody names the object any more
            self.store.delete(key)
            raise
        return True
