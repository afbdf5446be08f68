"""configs/metadata.json as the MONAI bundle convention wants it."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from med3d_export.config import TrainingConfig
from med3d_export.releasing.model_card import objective_name


def monai_metadata(config: TrainingConfig, grid_shape: Sequence[int]) -> dict[str, Any]:
    """Describe the data format of encoder.onnx and decoder.onnx, and what they were made with."""
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": "MR",
        "num_channels": 1,
        "spatial_shape": list(grid_shape),
        "dtype": "float32",
        "value_range": [0, 1.25],
        "is_patch_data": False,
        "channel_def": {"0": "T1w, brain only"},
    }
    numbers = {"0": "posterior mean"}
    if config.age_network is not None:
        numbers[str(config.latent_dimension - 1)] = "the age networks' age, in units of the training ages' deviation"
    latent = {
        "type": "tuples",
        "format": "latent",
        "num_channels": config.latent_dimension,
        "spatial_shape": [],
        "dtype": "float32",
        "value_range": [],
        "is_patch_data": False,
        "channel_def": numbers,
    }
    return {
        "schema": "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json",
        "version": config.version,
        "changelog": {config.version: "trained by med3d-export"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch"),
        "numpy_version": version("numpy"),
        "required_packages_version": {"onnxruntime": "1.24"},
        "name": config.name,
        "task": f"Brain age from a latent; objective: {objective_name(config)}",
        "description": "Encoder, decoder and heads as ONNX; preprocessing.json says how the input is made",
        "authors": "InfoVAE-Med3D",
        "copyright": "See LICENSE and NOTICE in this bundle",
        "data_source": config.population.source,
        "data_type": "nifti",
        "image_classes": "T1-weighted head MRI, brain extracted, in template space",
        "intended_use": "Research; not a medical device",
        "network_data_format": {
            "inputs": {"tensor": image},
            "outputs": {"latent": latent},
        },
    }
