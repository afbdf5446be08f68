"""Large weights as 16-bit floats: what a bundle stores."""

import numpy as np
import onnx
import pytest
import torch

from med3d_export.half_weights import LEAST_HALVED
from med3d_export.releasing.onnx_export import check_autoencoder, export_autoencoder
from med3d_export.training import FittedAutoencoder, start_autoencoder
from rig.science.tiny_fits import labelled, recipe, tensors

pytestmark = [
    pytest.mark.export,
    pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*legacy TorchScript-based ONNX export:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore:ONNX export mode is set to:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*Constant folding:UserWarning"),
]


def started() -> FittedAutoencoder:
    network = {"linear_rank": 4, "local_codes": 4, "cube_voxels": 10, "cube_step": 8}
    return start_autoencoder(tensors(), labelled(), recipe(network=network), seed=1)


def test_rounded_weights_leave_the_original_alone_and_are_what_16_bits_hold():
    fitted = started()
    before = fitted.encode(tensors())
    halved = fitted.in_half()
    assert np.array_equal(fitted.encode(tensors()), before)
    for values in halved.encoder.state_dict().values():
        if values.dtype == torch.float32 and values.numel() >= LEAST_HALVED:
            assert torch.equal(values.half().float(), values)
    assert np.abs(halved.encode(tensors()) - before).max() < 0.02 * np.abs(before).max()


def test_files_hold_large_weights_with_16_bits_and_compute_what_the_rounded_networks_do(tmp_path):
    halved = started().in_half()
    export_autoencoder(halved, tmp_path, half_weights=True)
    assert check_autoencoder(halved, tmp_path, tensors()[:3]) < 1e-4
    for name in ("encoder.onnx", "decoder.onnx"):
        weights = onnx.load(tmp_path / name).graph.initializer
        kinds = {weight.data_type for weight in weights if np.prod(weight.dims) >= LEAST_HALVED}
        assert kinds == {onnx.TensorProto.FLOAT16}
