"""Groups of regions from label maps, and what is usual at an age."""

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from med3d_export.explaining.atlas import SUFFIX, LabelMapError, _likeliest, _read, labelled_rows
from med3d_export.explaining.region_groups import GROUPS, group_of_labels
from med3d_export.explaining.trial import ExplanationTrial, Growth, RegionScore, _beside_age, measure_growth
from med3d_export.explaining.usual_years import with_usual_years
from med3d_export.main import app
from med3d_export.report.explanation_report import explanation_text
from med3d_pipeline.explanation.region_table import VENTRICLES, RegionTable

NAMES = list(GROUPS)


def table(labels):
    count = len(NAMES)
    nothing = np.zeros(count)
    return RegionTable(np.array(NAMES), labels, nothing, nothing, nothing, np.array(50.0), np.array(0.5))


def save(path, voxels, affine=None):
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def test_no_label_belongs_to_two_groups_and_both_sides_belong_to_one():
    labels = [label for group in GROUPS.values() for label in group]
    assert len(labels) == len(set(labels))
    groups = group_of_labels()
    assert groups[51] == groups[52] == NAMES.index(VENTRICLES) + 1
    assert groups[142] == groups[143] == NAMES.index("frontal cortex") + 1
    assert groups[[0, 1, 46, 69]].max() == 0


def test_rows_are_found_by_the_participants_name(tmp_path):
    (tmp_path / f"b{SUFFIX}").touch()
    assert labelled_rows(["a", "b"], tmp_path) == {1: tmp_path / f"b{SUFFIX}"}
    with pytest.raises(LabelMapError, match=r"no participant .* PARTICIPANT_DLMUSE\.nii\.gz"):
        labelled_rows(["c"], tmp_path)
    with pytest.raises(LabelMapError, match="b has 2 scans"):
        labelled_rows(["b", "a", "b"], tmp_path)


def test_a_map_on_another_grid_is_refused_by_its_name(tmp_path):
    head = save(tmp_path / "head.nii.gz", np.ones((4, 4, 4), np.float32))
    turned = save(tmp_path / f"b{SUFFIX}", np.ones((4, 4, 4), np.uint8), np.diag([2.0, 2, 2, 1]))
    with pytest.raises(LabelMapError, match="b_DLMUSE"):
        _read(head, turned)


def test_a_map_with_other_numbers_is_refused(tmp_path):
    head = save(tmp_path / "head.nii.gz", np.ones((4, 4, 4), np.float32))
    with pytest.raises(LabelMapError, match="DLMUSE's own numbers"):
        _read(head, save(tmp_path / f"b{SUFFIX}", np.full((4, 4, 4), 1024, np.int16)))


def test_brain_of_no_group_is_brain_all_the_same(tmp_path):
    head = save(tmp_path / "head.nii.gz", np.ones((4, 4, 4), np.float32))
    voxels = np.zeros((4, 4, 4), np.uint8)
    voxels[0], voxels[1] = 51, 46
    _, groups = _read(head, save(tmp_path / f"b{SUFFIX}", voxels))
    assert groups.voxels[0].max() == NAMES.index(VENTRICLES) + 1
    assert groups.voxels[1].min() == len(NAMES) + 1
    assert groups.voxels[2].max() == 0


def test_the_likeliest_group_has_a_voxel_but_ventricles_reach_as_far_as_they_may():
    shares = np.zeros((len(NAMES), 4, 1, 1))
    shares[NAMES.index("white matter"), :3, 0, 0] = (0.95, 0.8, 0.6)
    shares[NAMES.index(VENTRICLES), 1, 0, 0] = 0.15
    labels = _likeliest(shares)[:, 0, 0]
    white, ventricles = NAMES.index("white matter") + 1, NAMES.index(VENTRICLES) + 1
    assert labels.tolist() == [white, ventricles, white, white]  # the last has none, and takes its neighbour's


def test_slopes_are_drawn_to_what_heads_show_that_the_model_has_not_seen():
    ages = np.array([20.0, 40.0, 60.0, 80.0])
    effects = np.zeros((4, len(NAMES)))
    effects[:, 0], effects[:, 1] = 0.6 * (ages - 50), 0.3 * (ages - 50) + np.array([1.0, -1.0, -1.0, 1.0])
    found = with_usual_years(table(np.ones((1, 1, 1), np.uint8)), effects, ages, held_out_slope=0.6)
    assert found.slopes[:2] == pytest.approx([0.4, 0.2])
    assert found.slopes.sum() == pytest.approx(0.6)
    assert found.spreads[0] == pytest.approx(0.0, abs=1e-9)
    assert found.spreads[1] > 1.0


class Growing:
    """Draws one more fluid voxel every five years, in a row of voxels of which the first are the core."""

    def latent(self, tensor):
        return tensor.reshape(-1)

    def differences(self, latent, steps):
        drawn = np.zeros((len(steps), len(latent), 1, 1), np.float32)
        for number, step in enumerate(steps):
            drawn[number, 5 + round(step / 5), 0, 0] = -1.0
            drawn[number, 1 : 5 + round(step / 5), 0, 0] = -1.0
        return drawn


def test_growth_counts_heads_that_grow_at_every_step():
    tensors = np.ones((3, 12, 1, 1), np.float32)
    tensors[:, 0] = 0.1
    labels = np.full((12, 1, 1), NAMES.index(VENTRICLES) + 1, np.uint8)
    found = measure_growth(Growing(), table(labels), tensors, np.array([20.0, 40.0, 60.0]), voxel_ml=2.0)
    assert found.growing_share == 1.0
    assert found.drawn_ml == pytest.approx(4.0)
    assert found.cohort_ml == pytest.approx(0.0, abs=1e-9)
    assert found.core_change == pytest.approx(0.0)
    assert found.is_as_aimed


def test_what_age_explains_is_taken_out():
    ages = np.array([20.0, 30.0, 40.0])
    np.testing.assert_allclose(_beside_age((2 * ages + 1)[:, None], ages), 0.0, atol=1e-9)


@pytest.mark.parametrize(("share", "word"), [(0.95, "reached"), (0.5, "**missed**")])
def test_the_page_says_whether_the_aim_was_reached(share, word):
    growth = Growth(190, share, 1.8, 4.6, -0.03)
    trial = ExplanationTrial(
        "b 1", "0" * 64, growth, (RegionScore("white matter", 2.0, 1.0, (0.1, -0.3)),), 1.0, 3.5, 24
    )
    text = explanation_text(trial)
    assert f"({word})" in text
    assert "| white matter | +2.00 | 1.00 | -0.10 (-0.30 to +0.10) |" in text


def test_a_private_release_takes_no_label_maps(tmp_path):
    (tmp_path / "c.toml").write_text("")
    given = ["--config", str(tmp_path / "c.toml"), "--data", str(tmp_path), "--run", str(tmp_path), "--out"]
    result = CliRunner().invoke(
        app, ["release", *given, str(tmp_path / "o"), "--private", "--label-maps", str(tmp_path)]
    )
    assert isinstance(result.exception, LabelMapError)
