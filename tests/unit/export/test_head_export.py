"""Heads as ONNX files."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR

from med3d_export.releasing.onnx_export import check_head, export_head

pytestmark = pytest.mark.export


def fitted():
    rng = np.random.default_rng(0)
    latents = rng.normal(size=(40, 8)).astype(np.float32)
    return make_pipeline(StandardScaler(), SVR()).fit(latents, latents[:, 0] * 10), latents


def exported(folder, hash_seed):
    """The bytes that a process of its own writes: sets are ordered differently in each."""
    code = (
        "import sys; sys.path.insert(0, 'tests/unit/export'); from pathlib import Path; import test_head_export as t;"
        "t.export_head(t.fitted()[0], 8, Path(sys.argv[1]))"
    )
    path = folder / hash_seed / "brain_age.onnx"
    subprocess.run([sys.executable, "-c", code, path], check=True, env=os.environ | {"PYTHONHASHSEED": hash_seed})
    return path.read_bytes()


def test_the_same_head_makes_the_same_file_each_time(tmp_path):
    assert len({exported(tmp_path, hash_seed) for hash_seed in "12"}) == 1


def test_an_exported_head_estimates_what_the_fitted_one_does(tmp_path):
    head, latents = fitted()
    export_head(head, 8, tmp_path / "heads" / "brain_age.onnx")
    assert check_head(head, tmp_path / "heads" / "brain_age.onnx", latents) < 0.01
