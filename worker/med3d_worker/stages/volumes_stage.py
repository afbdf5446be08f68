"""Use case: the volumes of one run's head, when somebody opens the viewer. It is no stage, and holds no lease."""

from dataclasses import dataclass
from typing import Protocol

import structlog
from pydantic import ValidationError

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.volumes import StoredVolume, StoredVolumes, all_volume_keys, volume_key, volumes_key
from med3d_contract.work import PreprocessedObject, VolumesRequest
from med3d_pipeline.errors import PipelineError
from med3d_store.object_store import StoreError
from med3d_worker.heads.head_volumes import MakesVolumes
from med3d_worker.heads.tensors import Store, TensorCache, TensorRecord
from med3d_worker.scratch import Scratch
from med3d_worker.stages.preprocess_stage import FetchesObjects, unpack_working_copy

log = structlog.get_logger()


class VolumesApi(Protocol):
    """The part of WorkerClient that is needed here."""

    def volumes_request(self, run_id: str) -> VolumesRequest:
        """Ask for the images. Raises Superseded where the run was erased or its images are gone."""
        ...


class KeepsVolumes(Store, FetchesObjects, Protocol):
    """The part of ObjectStore that is needed here."""

    def delete(self, key: str) -> None:
        """Remove it; one that is not there is no error."""
        ...


@dataclass(frozen=True)
class VolumesStage:
    """Makes volumes with its own bundle. What goes wrong is asked for again by whoever looks.

    deface: ``make`` takes faces away, and what was made with one is made anew.
    """

    api: VolumesApi
    store: KeepsVolumes
    scratch: Scratch
    tensors: TensorCache
    make: MakesVolumes
    bundle_digest: str
    deface: bool = False

    def __call__(self, run_id: str) -> None:
        """Make and store the volumes, unless they are there already."""
        try:
            made = self._make(run_id)
        except (Superseded, ApiUnavailable, StoreError, PipelineError) as error:
            log.info("no_volumes_made", run_id=run_id, because=type(error).__name__)
            return
        except ApiError as error:
            log.warning("volumes_refused", run_id=run_id, code=error.code, because=str(error))
            return
        if made:
            log.info("volumes_made", run_id=run_id)

    def _make(self, run_id: str) -> bool:
        if self._is_made(run_id):
            return False
        wanted = self.api.volumes_request(run_id)
        if wanted.bundle_digest != self.bundle_digest:
            log.info("no_volumes_made", run_id=run_id, because="another_bundle")
            return False
        self._keep(run_id, wanted)
        try:
            self.api.volumes_request(run_id)
        except Superseded:  # erased, or its time was over, while they were made: nobody names the objects any more
            for key in all_volume_keys(run_id):
                self.store.delete(key)
            raise
        return True

    def _is_made(self, run_id: str) -> bool:
        if self.store.head(volumes_key(run_id)) is None:
            return False
        if not self.deface:
            return True
        try:
            return StoredVolumes.model_validate_json(self.store.get(volumes_key(run_id))).defaced
        except ValidationError:
            return False

    def _keep(self, run_id: str, wanted: VolumesRequest) -> None:
        with self.scratch.folder() as folder:
            unpack_working_copy(self.store, wanted.working_copy.key, wanted.working_copy.sha256, folder)
            made = self.make(folder, wanted.series, self._record(wanted.tensor))
        kept = []
        for name, content in made.items():
            stored = self.store.put(volume_key(run_id, name), content)
            kept.append(StoredVolume(name=name, size_bytes=len(content), sha256=stored.sha256))
        listed = StoredVolumes(volumes=tuple(kept), defaced=self.deface)
        self.store.put(volumes_key(run_id), listed.model_dump_json().encode())

    def _record(self, tensor: PreprocessedObject | None) -> TensorRecord | None:
        """Read the tensor; without one the head and its brain can be shown all the same."""
        try:
            return None if tensor is None else self.tensors.load(tensor)
        except StoreError:
            return None
