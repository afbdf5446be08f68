"""The bundle that the project ships; nothing here needs torch."""

import json
import shutil
from pathlib import Path

import pytest

from med3d_pipeline.bundle.bundle import REQUIRED, Bundle
from med3d_pipeline.errors import BundleError

SHIPPED = Path(__file__).parents[3] / "model_export" / "bundles" / "infovae-ixi-hh"


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
    assert bundle.name == "infovae-ixi-hh"
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
