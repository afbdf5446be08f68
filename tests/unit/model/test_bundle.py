"""The bundle that the project ships; nothing here needs torch."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from med3d_pipeline.bundle.bundle import REQUIRED, Bundle
from med3d_pipeline.bundle.reference_case import ReferenceCase
from med3d_pipeline.errors import BundleError
from med3d_pipeline.inference.prediction import SubjectAttributes
from med3d_pipeline.runtime.onnx_sessions import OnnxSession, SessionOptions, open_session
from med3d_pipeline.study.acquisition import Acquisition

SHIPPED = Path(__file__).parents[3] / "model_export" / "bundles" / "infovae-two-sites"


@pytest.fixture
def bundle_copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED, tmp_path / "bundle"))


def rewritten(folder: Path, **files: str) -> Path:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    manifest["files"] |= files
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def test_the_shipped_bundle_lists_every_file_it_holds_and_no_other():
    held = {path.relative_to(SHIPPED).as_posix() for path in SHIPPED.rglob("*") if path.is_file()}
    assert held - {"manifest.json", "manifest.json.sig"} == set(Bundle.open(SHIPPED).manifest.files)


def test_the_shipped_bundle_says_who_it_is_and_what_it_is_not():
    bundle = Bundle.open(SHIPPED)
    assert bundle.name == "infovae-two-sites"
    assert bundle.sdmt_is_demonstration
    assert "Not a medical device" in bundle.manifest.intended_use
    assert 0 < bundle.manifest.metrics["brain_age_mae"] < bundle.manifest.metrics["baseline_mean_only_mae"]


def test_the_shipped_bundle_fits_into_sixty_megabytes():
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 60 * 2**20


def test_the_shipped_bundle_reproduces_its_reference_case_here():
    report = Bundle.open(SHIPPED).run_reference_case()
    assert report.brain_age_years < 0.5


@pytest.mark.parametrize("name", ["encoder.onnx", "heads/brain_age.onnx", "template_mask.nii.gz", "docs/README.md"])
def test_one_altered_byte_is_found_and_its_file_named(bundle_copy, name):
    file = bundle_copy / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=name):
        Bundle.open(bundle_copy)


def test_a_missing_file_is_named(bundle_copy):
    (bundle_copy / "decoder.onnx").unlink()
    with pytest.raises(BundleError, match=r"decoder\.onnx"):
        Bundle.open(bundle_copy)


def test_a_manifest_that_leads_out_of_the_bundle_is_refused(bundle_copy, tmp_path):
    (tmp_path / "secret").write_bytes(b"")
    with pytest.raises(BundleError, match="no plain path"):
        Bundle.open(rewritten(bundle_copy, **{"../secret": "0" * 64}))


def test_a_link_that_leads_out_of_the_bundle_is_refused(bundle_copy, tmp_path):
    (tmp_path / "secret").write_bytes(b"")
    (bundle_copy / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(BundleError, match="leads out"):
        Bundle.open(rewritten(bundle_copy, link="0" * 64))


@pytest.mark.parametrize("name", REQUIRED)
def test_a_manifest_without_a_part_is_refused(bundle_copy, name):
    manifest = json.loads((bundle_copy / "manifest.json").read_text(encoding="utf-8"))
    del manifest["files"][name]
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(BundleError, match=name):
        Bundle.open(bundle_copy)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(tmp_path)


class PlayedGpu:
    """A session that computes on the CPU, calls itself a GPU and notes how many it was given at once."""

    providers, on_gpu = ("CUDAExecutionProvider",), True

    def __init__(self, session: OnnxSession, sizes: list[int]) -> None:
        self._session, self._sizes = session, sizes

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self._sizes.append(len(next(iter(inputs.values()))))
        return self._session.run(inputs)


class BundleOnGpu(Bundle):
    """Its networks compute on a GPU that is played."""

    def _session(self, name: str) -> PlayedGpu:
        sizes = self.__dict__.setdefault("sizes", {}).setdefault(name, [])
        return PlayedGpu(open_session(self.path / name, SessionOptions(provider="cpu")), sizes)


def test_encoder_and_decoder_run_in_the_batches_of_the_gpu_and_answer_as_without_one() -> None:
    bundle = BundleOnGpu.open(SHIPPED, verify=False, gpu_batch=2)
    tensors = np.stack([ReferenceCase.load(SHIPPED).tensor] * 3)
    subjects, scans = [SubjectAttributes()] * 3, [Acquisition()] * 3
    answers = bundle.predictor().predict(tensors, subjects, scans)
    assert bundle.sizes == {"encoder.onnx": [2, 2], "decoder.onnx": [2, 2]}
    (expected,) = Bundle.open(SHIPPED, "cpu", verify=False).predictor().predict(tensors[:1], subjects[:1], scans[:1])
    for answer in answers:
        assert answer.brain_age.estimate == pytest.approx(expected.brain_age.estimate, abs=1e-3)


def test_what_is_no_file_is_named_and_not_waited_for(bundle_copy):
    (bundle_copy / "encoder.onnx").unlink()
    os.mkfifo(bundle_copy / "encoder.onnx")
    with pytest.raises(BundleError, match=r"^encoder\.onnx of the bundle is no file$"):
        Bundle.open(bundle_copy)
    (bundle_copy / "manifest.json").unlink()
    os.mkfifo(bundle_copy / "manifest.json")
    with pytest.raises(BundleError, match=r"is no bundle: it has no file manifest\.json$"):
        Bundle.open(bundle_copy)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"format": 2, "parts": []}', "is of a format that this release does not read"),
        ("[]", "is none: Input should be an object"),
        ('{"name": "x"}', r"is none: version: Field required; .*; and \d+ more"),
        ("{", "is none: Invalid JSON: [^[]*$"),
    ],
)
def test_a_manifest_of_another_form_is_told_in_a_few_words(bundle_copy, text, said):
    (bundle_copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=f"^manifest\\.json of the bundle {said}"):
        Bundle.open(str(bundle_copy))
