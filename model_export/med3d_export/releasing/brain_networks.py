"""The two brain extraction networks of the MIT-licensed ``deepbet`` wheel, exported to ONNX.

deepbet (L. Fisch et al., "deepbet: Fast brain extraction of T1-weighted MRI using Convolutional Neural Networks",
Computers in Biology and Medicine 179 (2024) 108845) ships two LinkNet-like networks as TorchScript: one finds the box
around the brain in the whole image on 128 x 128 x 128 voxels, the other finds the brain in that box on 256 x 256 x 256.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import onnx
import torch

from med3d_export.half_weights import round_to_half
from med3d_export.releasing.instance_norm import spell_out_instance_norms
from med3d_export.releasing.onnx_export import store_in_half
from med3d_pipeline.runtime.onnx_sessions import SessionOptions, open_session

BOX_NETWORK = "brain_box.onnx"
MASK_NETWORK = "brain_mask.onnx"
OPSET = 17
PARITY_TOLERANCE = 1e-3
"""Largest difference in probability that ONNX Runtime may show from torch in float64 on the parity input."""

_TORCHSCRIPT_FILES: Mapping[str, str] = {
    BOX_NETWORK: "data/models/bbox_model.pt",
    MASK_NETWORK: "data/models/model.pt",
}
# Multiples of 32 that differ per axis, so that a fixed or transposed axis cannot pass.
_PARITY_SHAPE = (96, 64, 128)


@dataclass(frozen=True)
class ExportedNetwork:
    """One exported network and how well it agrees with torch."""

    path: Path
    source: str
    licence: str
    worst_difference: float


class _BrainProbability(torch.nn.Module):
    """The network's second softmax channel: the probability of brain, (1, 1, X, Y, Z)."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image)[:, 1:2]


def export_brain_networks(folder: Path) -> tuple[ExportedNetwork, ...]:
    """Write brain_box.onnx and brain_mask.onnx into ``folder`` and check each against torch.

    Both take ``image`` (1, 1, X, Y, Z) float32 with axes that are multiples of 32 and give ``brain`` of the same shape:
    the probability of brain. Raises RuntimeError when ONNX Runtime and torch differ by more than PARITY_TOLERANCE.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wheel = distribution("deepbet")
    exported = []
    for name, torchscript in _TORCHSCRIPT_FILES.items():
        network = torch.jit.load(str(wheel.locate_file(torchscript)), map_location="cpu")
        # The exporter takes a module that holds a TorchScript one only when it is scripted as a whole.
        probability = torch.jit.script(_BrainProbability(network).eval())
        round_to_half(probability)
        path = folder / name
        _export(probability, path)
        onnx.save(spell_out_instance_norms(onnx.load(str(path))), str(path))
        store_in_half(path)
        difference = _worst_difference(probability, path)
        if difference > PARITY_TOLERANCE:
            raise RuntimeError(f"{name} differs from torch by {difference:.2g} in probability")
        source = f"deepbet {wheel.version}, {torchscript}"
        exported.append(ExportedNetwork(path, source, licence="MIT", worst_difference=difference))
    return tuple(exported)


def _export(probability: torch.nn.Module, path: Path) -> None:
    spatial = {2: "x", 3: "y", 4: "z"}
    # The exporter built on torch.export cannot take a TorchScript module, so the older one it is.
    torch.onnx.export(
        probability,
        (torch.zeros(1, 1, 64, 64, 64),),
        str(path),
        input_names=["image"],
        output_names=["brain"],
        dynamic_axes={"image": spatial, "brain": spatial},
        opset_version=OPSET,
        dynamo=False,
    )


def _worst_difference(probability: torch.nn.Module, path: Path) -> float:
    image = np.random.default_rng(20).normal(0.449, 0.226, (1, 1, *_PARITY_SHAPE)).astype(np.float32)
    with torch.no_grad():
        expected = probability.double()(torch.from_numpy(image).double()).numpy()
    found = open_session(path, SessionOptions(provider="cpu")).run({"image": image})["brain"]
    return float(np.abs(expected - found).max())
