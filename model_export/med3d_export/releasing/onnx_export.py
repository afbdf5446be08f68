"""Networks and heads as ONNX files that ONNX Runtime 1.24 reads, each checked against what it was made from."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.pipeline import Pipeline

from med3d_export.half_weights import LEAST_HALVED
from med3d_export.training import FittedAutoencoder, Tensors
from med3d_pipeline.runtime.onnx_sessions import SessionOptions, open_session

OPSET = 17
NETWORK_TOLERANCE = 1e-4
"""Largest difference from torch, relative to the largest value: floats differ between kernels, networks must not."""
HEAD_TOLERANCE_YEARS = 0.01


class ParityError(Exception):
    """An exported file does not compute what training computed; the message says by how much."""


def export_autoencoder(fitted: FittedAutoencoder, folder: Path, *, half_weights: bool = False) -> None:
    """Write encoder.onnx (``tensor`` to ``latent``) and decoder.onnx (``latent`` to ``tensor``), batch size free.

    half_weights: large ones as 16-bit floats, which loses nothing of what FittedAutoencoder.in_half gives.
    """
    latents = torch.zeros(2, fitted.dimension)
    with torch.no_grad():
        tensors = torch.zeros_like(fitted.latent_decoder()(latents))
    _export_torch(fitted.deterministic_encoder(), tensors, folder / "encoder.onnx", "tensor", "latent")
    _export_torch(fitted.latent_decoder(), latents, folder / "decoder.onnx", "latent", "tensor")
    if half_weights:
        store_in_half(folder / "encoder.onnx")
        store_in_half(folder / "decoder.onnx")


def _export_torch(network: torch.nn.Module, example: torch.Tensor, path: Path, taken: str, given: str) -> None:
    batch = {0: "batch"}
    torch.onnx.export(
        network,
        (example,),
        str(path),
        input_names=[taken],
        output_names=[given],
        dynamic_axes={taken: batch, given: batch},
        opset_version=OPSET,
        dynamo=False,
        external_data=False,
    )


def store_in_half(path: Path) -> None:
    """Keep large weights of the file as 16-bit floats, half the bytes; whoever opens it widens them once.

    Weights that 16 bits hold exactly (FittedAutoencoder.in_half) come back as they were.
    """
    model = onnx.load(path)
    graph, casts = model.graph, []
    for weight in graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.size >= LEAST_HALVED:
            name = weight.name
            weight.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [weight.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def export_head(head: Pipeline, dimension: int, path: Path) -> None:
    """Write one head, scaler included: ``latent`` (N, d) float32 to ``estimate`` (N, 1) float32.

    The same head makes the same bytes, so that a bundle made again has the same digests.
    """
    taken = [("latent", FloatTensorType([None, dimension]))]
    operators = {"": OPSET, "ai.onnx.ml": 3}
    model: Any = convert_sklearn(head, name=path.stem, initial_types=taken, target_opset=operators)
    _rename_output(model, "estimate")
    in_order = sorted(model.opset_import, key=lambda one: one.domain)  # the converter has them in a set
    del model.opset_import[:]
    model.opset_import.extend(in_order)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())


def _rename_output(model: Any, name: str) -> None:
    old = model.graph.output[0].name
    for node in model.graph.node:
        node.output[:] = [name if output == old else output for output in node.output]
    model.graph.output[0].name = name


def check_autoencoder(fitted: FittedAutoencoder, folder: Path, tensors: Tensors) -> float:
    """Return worst relative difference of both networks from torch on real ``tensors`` (N, X, Y, Z).

    Raises ParityError above NETWORK_TOLERANCE.
    """
    options = SessionOptions(provider="cpu")
    latents = fitted.encode(tensors)
    found = open_session(folder / "encoder.onnx", options).run({"tensor": np.ascontiguousarray(tensors[:, None])})
    images = open_session(folder / "decoder.onnx", options).run({"latent": latents})
    differences = {
        "encoder.onnx": _relative(found["latent"], latents),
        "decoder.onnx": _relative(images["tensor"][:, 0], fitted.reconstruct(latents)),
    }
    for name, difference in differences.items():
        if not difference < NETWORK_TOLERANCE:
            raise ParityError(f"{name} differs from torch by {difference:.2g} of its largest value")
    return max(differences.values())


def check_head(head: Pipeline, path: Path, latents: npt.NDArray[np.float32]) -> float:
    """Return worst absolute difference of a head from scikit-learn on ``latents`` (N, d), in its unit.

    Raises ParityError above HEAD_TOLERANCE_YEARS.
    """
    found = open_session(path, SessionOptions(provider="cpu")).run({"latent": latents})["estimate"].reshape(-1)
    difference = float(np.abs(found - head.predict(latents.astype(np.float64))).max())
    if not difference < HEAD_TOLERANCE_YEARS:
        raise ParityError(f"{path.name} differs from scikit-learn by {difference:.2g}")
    return difference


def check_chain(fitted: FittedAutoencoder, head: Pipeline, folder: Path, name: str, tensors: Tensors) -> float:
    """Return worst difference of encoder.onnx and then the head ``name`` from torch and then scikit-learn, in its unit.

    Asked of real ``tensors`` (N, X, Y, Z). Raises ParityError above HEAD_TOLERANCE_YEARS.
    """
    options = SessionOptions(provider="cpu")
    images = np.ascontiguousarray(tensors[:, None])
    latents = open_session(folder / "encoder.onnx", options).run({"tensor": images})["latent"]
    found = open_session(folder / "heads" / name, options).run({"latent": latents})["estimate"].reshape(-1)
    expected = head.predict(fitted.encode(tensors).astype(np.float64))
    difference = float(np.abs(found - expected).max())
    if not difference < HEAD_TOLERANCE_YEARS:
        raise ParityError(f"encoder.onnx and {name} together differ from torch and scikit-learn by {difference:.2g}")
    return difference


def _relative(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())
