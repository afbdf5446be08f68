"""What a viewer shows: the head with its values and its place, its brain, and what ageing changes, where the head lies."""

import gzip
from dataclasses import replace
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from structlog.testing import capture_logs

from med3d_client.worker import ApiError, ApiUnavailable, Superseded
from med3d_contract.volumes import StoredVolumes, VolumeName, all_volume_keys, volume_key, volumes_key
from med3d_contract.work import PreprocessedObject, VolumesRequest
from med3d_pipeline.errors import InferenceError, InputRefused
from med3d_pipeline.volume import Volume
from med3d_worker.heads.head_volumes import HeadVolumes, nifti_of_head
from med3d_worker.heads.tensors import TensorCache, TensorRecord
from med3d_worker.scratch import Scratch
from med3d_worker.stages.volumes_stage import VolumesStage
from rig.science.models import write_small_series
from rig.service.stores import MemoryStore
from rig.service.work import tar_of

BUNDLE = "b" * 64
GRID = np.diag([3.0, 3.0, 3.0, 1.0])
TO_NATIVE = np.array([[0, -1, 0, 5], [1, 0, 0, 6], [0, 0, 1, 7], [0, 0, 0, 1]], float)
RECORD = TensorRecord(np.ones((4, 5, 6), np.float32), TO_NATIVE, {})


class Preprocessor:
    """Takes the bright half of an image for the brain, or finds none."""

    tensor_grid = GRID
    template = SimpleNamespace(brain=Volume(np.linspace(0, 8, 27, dtype=np.float32).reshape(3, 3, 3), GRID))

    def __init__(self, *, finds=True):
        self.finds = finds

    def find_brain(self, volume):
        if not self.finds:
            raise InputRefused("not_a_head", "No brain was found.")
        mask = (volume.voxels > np.median(volume.voxels)).astype(np.uint8)
        return SimpleNamespace(mask=mask, black=SimpleNamespace(black=0.0))


class Explainer:
    """Adds the latent's one number everywhere; or fails as a decoder does."""

    def __init__(self, fault=None):
        self.fault = fault

    def latent(self, tensor):
        if self.fault:
            raise self.fault
        return tensor.mean(keepdims=True)[0, 0]

    def differences(self, latent, steps_years):
        return np.full((len(steps_years), 4, 5, 6), latent[0] / 100, np.float32)


def image_of(content):
    return nib.Nifti1Image.from_bytes(gzip.decompress(content))


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    write_small_series(folder / "series")
    return folder


def label_of(folder):
    from med3d_pipeline.study.study import read_study

    return read_study([folder]).series[0].label


def test_head_brain_change_and_template_lie_where_the_scanner_saw_them(series):
    made = HeadVolumes(Preprocessor(), Explainer())(series, label_of(series), RECORD)
    assert set(made) == set(VolumeName)
    head, brain, change, template = (image_of(made[name]) for name in VolumeName)
    assert head.shape == brain.shape
    np.testing.assert_allclose(head.affine, brain.affine)
    assert nib.aff2axcodes(head.affine) == ("R", "A", "S")
    values = head.get_fdata()
    assert 0 <= values.min() < head.header["cal_max"] <= values.max()
    np.testing.assert_allclose(change.affine, TO_NATIVE @ GRID)
    np.testing.assert_allclose(change.get_fdata(), 0.01)
    np.testing.assert_allclose(template.affine, TO_NATIVE @ GRID)
    assert (template.get_data_dtype(), template.get_fdata().max(), template.get_fdata()[1, 1, 1]) == (
        np.uint8,
        255,
        128,
    )


def test_a_head_without_a_brain_is_shown_all_the_same(series):
    made = HeadVolumes(Preprocessor(finds=False), None)(series, label_of(series), None)
    assert set(made) == {VolumeName.HEAD}


@pytest.mark.parametrize("finds", [True, False])
def test_a_head_leaves_without_its_face_where_that_is_set(series, finds):
    label = label_of(series)
    [whole, without] = (
        image_of(HeadVolumes(Preprocessor(finds=finds), None, deface)(series, label, RECORD)[VolumeName.HEAD])
        for deface in (False, True)
    )
    assert (without.get_fdata() <= whole.get_fdata()).all()
    assert (without.get_fdata() < whole.get_fdata()).any()
    is_even = bool(np.ptp(without.get_fdata()) == 0)
    assert is_even is not finds, "of a head without a brain nothing is left"


@pytest.mark.parametrize("explainer", [None, Explainer(InferenceError("no such age"))])
def test_without_an_explanation_no_change_is_shown(series, explainer):
    assert VolumeName.CHANGE not in HeadVolumes(Preprocessor(), explainer)(series, label_of(series), RECORD)


@pytest.mark.parametrize(
    ("values", "within"),
    [([0.0, 1000.0, 4095.0], 0), ([-1024.0, 3071.0, 0.0], 0), ([0.0, 0.25, 1.0], 1e-4), ([0.0, 60000.0, 5.0], 1.0),
     ([7.0, 7.0, 7.0], 0), ([7.25, 7.25, 7.25], 1e-4), ([np.nan, 2.0, np.inf], 2.0)],
)  # fmt: skip
def test_values_are_kept_exactly_where_they_are_whole_numbers(values, within):
    voxels = np.array(values, np.float32).reshape(3, 1, 1)
    shown = image_of(nifti_of_head(Volume(voxels, np.eye(4)), (0.0, 1.0)))
    assert shown.get_data_dtype() == np.int16
    expected = np.nan_to_num(voxels, nan=0.0, posinf=0.0)
    assert np.abs(shown.get_fdata() - expected).max() <= within


class Api:
    """Hands out one run; ``faults`` come in place of the answers that they stand for."""

    def __init__(self, request, *faults):
        self.request, self.faults = request, list(faults)

    def volumes_request(self, _run_id):
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault
        return self.request


class Makes:
    """Remembers what it was asked to make."""

    def __init__(self):
        self.asked = []

    def __call__(self, folder, label, record):
        self.asked.append((sorted(path.name for path in folder.iterdir()), label, record is not None))
        return {VolumeName.HEAD: b"head"}


def stage(tmp_path, *faults, bundle=BUNDLE, tensor="tensors/x.npz"):
    store = MemoryStore()
    copy = store.put("working/x.tar", tar_of({"000000.dcm": b"slice"}))
    tensors = TensorCache(store)
    kept = tensors.keep("tensors/x.npz", RECORD)
    request = VolumesRequest(
        bundle_digest=bundle,
        working_copy=PreprocessedObject(key=copy.key, sha256=copy.sha256),
        series="series 1",
        tensor=kept if tensor == kept.key else PreprocessedObject(key=tensor, sha256="0" * 64),
    )
    return VolumesStage(Api(request, *faults), store, Scratch(tmp_path), tensors, Makes(), BUNDLE), store


def test_volumes_are_made_once_of_the_series_that_was_analysed(tmp_path):
    make, store = stage(tmp_path)
    make("run-1")
    make("run-1")
    assert make.make.asked == [(["000000.dcm"], "series 1", True)]
    [listed] = StoredVolumes.model_validate_json(store.get(volumes_key("run-1"))).volumes
    assert (listed.name, listed.size_bytes) == (VolumeName.HEAD, 4)
    assert store.get(volume_key("run-1", VolumeName.HEAD), listed.sha256) == b"head"


def test_what_was_made_with_a_face_is_made_anew_where_none_is_to_be_seen(tmp_path):
    make, store = stage(tmp_path)
    make("run-1")
    without = replace(make, deface=True)
    without("run-1")
    without("run-1")
    assert len(make.make.asked) == 2
    assert StoredVolumes.model_validate_json(store.get(volumes_key("run-1"))).defaced


def test_a_tensor_that_is_gone_keeps_nobody_from_looking_at_the_head(tmp_path):
    make, _ = stage(tmp_path, tensor="tensors/gone.npz")
    make("run-1")
    assert make.make.asked == [(["000000.dcm"], "series 1", False)]


def test_a_run_of_another_bundle_is_left_to_others(tmp_path):
    make, store = stage(tmp_path, bundle="c" * 64)
    make("run-1")
    assert store.head(volumes_key("run-1")) is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [(Superseded("erased"), "no_volumes_made"), (ApiUnavailable("away"), "no_volumes_made"),
     (ApiError(403, "wrong_scope", "no"), "volumes_refused")],
)  # fmt: skip
def test_what_cannot_be_asked_is_left(tmp_path, fault, said):
    make, store = stage(tmp_path, fault)
    with capture_logs() as logs:
        make("run-1")
    assert store.head(volumes_key("run-1")) is None
    assert logs[0]["event"] == said


def test_what_was_erased_while_it_was_made_is_removed(tmp_path):
    make, store = stage(tmp_path, None, Superseded("erased"))
    make("run-1")
    assert not all_volume_keys("run-1") & set(store.objects)
