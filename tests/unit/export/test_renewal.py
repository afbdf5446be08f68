"""A released bundle under new preprocessing: what was learned stays, byte for byte."""

import json
import shutil
from pathlib import Path

import pytest

from med3d_export.releasing.new_bundle import ReleaseError
from med3d_export.releasing.renewal import renew_bundle
from med3d_pipeline.bundle.bundle import Bundle
from med3d_pipeline.errors import BundleError
from med3d_pipeline.preprocessing.spec import QualityLimits


@pytest.fixture(scope="module")
def renewed(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return renew_bundle(Bundle.default_path(), "9.9.9", tmp_path_factory.mktemp("renewed"))


def test_weights_and_calibration_stay_and_the_limits_are_this_versions(renewed: Bundle) -> None:
    released = Bundle.open(Bundle.default_path())
    before, after = released.manifest.files, renewed.manifest.files
    assert before.keys() == after.keys()
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {
        "configs/metadata.json", "docs/README.md", "preprocessing.json", "reference_case/expected.npz",
    }  # fmt: skip
    assert "9.9.9" in (renewed.path / "docs" / "README.md").read_text().splitlines()[0]
    assert json.loads((renewed.path / "configs" / "metadata.json").read_text())["version"] == "9.9.9"
    assert renewed.version == "9.9.9"
    assert renewed.quality_limits == QualityLimits()
    assert renewed.spec == released.spec
    assert renewed.digest != released.digest


def test_the_renewed_bundle_reproduces_itself(renewed: Bundle) -> None:
    report = Bundle.open(renewed.path).run_reference_case()
    assert report.brain_age_years < 0.05


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ReleaseError):
        renew_bundle(Bundle.default_path(), "9.9.9", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_damaged_bundle_is_not_renewed(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(Bundle.default_path(), damaged)
    (damaged / "latent_space.npz").write_bytes(b"something else")
    with pytest.raises(BundleError, match=r"latent_space\.npz"):
        renew_bundle(damaged, "9.9.9", tmp_path / "out")
