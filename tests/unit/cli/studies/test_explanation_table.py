import json

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from med3d_cli.errors import CommandError
from med3d_cli.studies.explanation_table import explanation_table
from med3d_cli.studies.kept_explanation import DIFFERENCE, NUMBERS, keep_difference, keep_explanation
from med3d_contract.explanations import (
    Explanation,
    ExplanationPicture,
    RegionShare,
    RegionShares,
    StoredExplanation,
    VentricleVolumes,
)
from med3d_pipeline.preprocessing.preprocess import Preprocessed

SHARES = RegionShares(
    age_years=61.0,
    total_years=4.0,
    rest_years=0.5,
    regions=(
        RegionShare(region="cerebellum", years=0.7, usual_spread_years=1.1),
        RegionShare(region="white matter", years=2.8, usual_spread_years=1.9),
    ),
)
FOUND = Explanation(step_years=10.0, shares=SHARES, ventricles_ml=VentricleVolumes(younger=20, now=22, older=25))
PICTURE = ExplanationPicture(width=1, height=1, png_base64="iVBORw0KGgoA")


def printed(found):
    console = Console(record=True, width=100)
    console.print(explanation_table(found))
    return console.export_text()


def test_the_region_that_matters_most_comes_first_and_the_gap_last():
    text = printed(FOUND)
    places = [
        text.index(word) for word in ("white matter", "cerebellum", "no region alone", "gap", "ventricles, this head")
    ]
    assert places == sorted(places)
    assert "+2.8" in text
    assert "61.0 years" in text
    assert "research use" in " ".join(text.split())


def test_without_an_age_it_says_what_the_head_is_held_against():
    text = printed(FOUND.model_copy(update={"shares": SHARES.model_copy(update={"age_years": None})}))
    assert "none is known" in text


def test_a_bundle_without_a_table_of_regions_says_so():
    assert "holds no table of regions" in printed(Explanation(step_years=10.0, shares=None, ventricles_ml=None))


def test_picture_and_numbers_are_written(tmp_path):
    picture = keep_explanation(StoredExplanation(explanation=FOUND, picture=PICTURE), tmp_path / "made" / "0001")
    assert picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert json.loads((picture.parent / NUMBERS).read_text())["shares"]["total_years"] == 4.0


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(CommandError, match="taken"):
        keep_explanation(StoredExplanation(explanation=FOUND, picture=PICTURE), tmp_path / "taken" / "0001")


def test_the_difference_comes_back_where_the_scan_has_it(tmp_path):
    """A scanner that lies 6 mm further to the left, with voxels of 1.5 mm for the tensor's 3 mm."""
    difference = np.zeros((8, 8, 8), np.float32)
    difference[4, 4, 4] = 1.0
    shifted = np.eye(4)
    shifted[0, 3] = -6.0
    images = Preprocessed(
        tensor=difference,
        tensor_affine=np.diag([3.0, 3.0, 3.0, 1.0]),
        template_to_native=shifted,
        brain_mask=np.ones((16, 16, 16), np.uint8),
        native_affine=np.diag([1.5, 1.5, 1.5, 1.0]),
        measures={},
        timings_s={},
    )
    keep_difference(difference, images, tmp_path)
    native = nib.load(tmp_path / DIFFERENCE).get_fdata()
    assert np.unravel_index(native.argmax(), native.shape) == (4, 8, 8)  # at 6 mm for 12, at 12 mm
    assert native.max() == pytest.approx(1.0, abs=1e-5)
