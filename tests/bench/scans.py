"""The scans that the benchmarks run on, and the options that they share."""

import argparse
import os
from pathlib import Path

from med3d_pipeline.bundle.bundle import Bundle, PreprocessingAssets
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.runtime.onnx_sessions import SessionOptions
from med3d_pipeline.study.study import load_series, read_study, select_series
from med3d_pipeline.volume import Volume
from rig.science import heads

MPRAGE = "dicom/siemens_trio_study/t1_MPRAGEcr_noGRAPPA_19"
ENHANCED = "dicom/siemens_enhanced_multiframe/5_anat-T1w_acq-tfl"
HEAD_WITH_MASK = "nifti/head_with_mask/Scan1_T1.nii.gz"


def options(description: str) -> argparse.ArgumentParser:
    """Where data and bundle lie, and how to compute."""
    parser = argparse.ArgumentParser(description=description)
    beside = Path(__file__).parents[3] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MED3D_TEST_DATA", beside)))
    parser.add_argument("--bundle", type=Path, help="default: the bundle of the checkout")
    parser.add_argument("--provider", default="auto", choices=["auto", "openvino", "cpu", "cuda"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    return parser


def preprocessor(given: argparse.Namespace) -> Preprocessor:
    """The preprocessor of the bundle, or of a folder that holds its assets only."""
    return PreprocessingAssets(bundle_path(given), SessionOptions(given.provider, given.threads)).preprocessor()


def bundle_path(given: argparse.Namespace) -> Path:
    return given.bundle or Bundle.default_path()


def series(folder: Path) -> Volume:
    """The T1-weighted series of a study, as the pipeline reads it."""
    study = read_study([folder])
    return load_series(study, select_series(study).chosen).volume


def several_heads(data: Path) -> dict[str, Volume]:
    """Heads of four scanners and three voxel sizes."""
    ixi = sorted((data / "ixi_hh" / "t1w").glob("*.nii.gz"))
    found = {
        "MPRAGE, 1 mm": series(data / MPRAGE),
        "head_with_mask, 1.05 to 1.2 mm": heads.read_head(data / HEAD_WITH_MASK),
        "enhanced multi-frame, 2 mm": series(data / ENHANCED),
    }
    found |= {f"ixi_hh number {n}, 2 mm": heads.read_head(ixi[n]) for n in (0, 45, 90, 135)}
    return found
