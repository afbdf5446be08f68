"""The encoder on one head: the bundle's ONNX file by our provider beside the same network in torch, eager and compiled.

    PYTHONPATH=tests python -m bench.bench_encoder [--rounds 40] [--threads 2] [--bundle DIR]

The bundle holds no torch weights, so the torch network is built anew with the shapes of its encoder.onnx: the same
operations on the same sizes, other numbers. The convolutions of both must have as many parameters; where the linear
path of an older bundle has another size than today's, the difference is said.
"""

import math
import statistics

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from bench.measuring import machine, seconds, spread, table
from bench.scans import bundle_path, options
from med3d_export.networks import HeadStatistics, NetworkConfig, SymmetricMean, build_encoder
from med3d_pipeline.bundle.bundle import Bundle

WARM_UP = 5
AIM = 2.0


def released(path):
    """Weights of an encoder.onnx by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


def torch_twin(weights):
    """The deterministic encoder in torch, of the sizes that ``weights`` have."""
    halvings = [w for n, w in weights.items() if n.endswith(".conv.weight") and w.shape[0] != w.shape[1]]
    latent = weights["encoder.to_mean.weight"].shape[0]
    ranks = [w.shape[0] for n, w in weights.items() if "MatMul" in n and w.ndim == 2 and w.shape[1] == latent]
    channels = tuple(w.shape[0] for w in halvings)
    config = NetworkConfig(
        encoder_channels=channels, decoder_channels=channels, linear_rank=ranks[0] if ranks else 0, latent=latent
    )
    heads = HeadStatistics(
        torch.from_numpy(weights["encoder.mean_head"].copy())[0, 0], float(weights["encoder.spread"])
    )
    return SymmetricMean(build_encoder(config, heads)).eval()


def count(weights, part):
    return sum(math.prod(w.shape) for name, w in weights.items() if part in name)


def main():
    given = options(__doc__ or "")
    given.set_defaults(rounds=40)
    chosen = given.parse_args()
    torch.set_num_threads(chosen.threads)
    bundle = Bundle.open(bundle_path(chosen), chosen.provider, chosen.threads)
    weights = released(bundle_path(chosen) / "encoder.onnx")
    eager = torch_twin(weights)
    twin = {name: w for name, w in eager.state_dict().items() if "log_variance" not in name}
    assert count(weights, ".conv.") == count(twin, ".conv."), "not the same network"
    counted = count(weights, ""), count(twin, "")
    compiled = torch.compile(eager)
    tensor = np.random.default_rng(1).random(bundle.spec.shape, dtype=np.float32)
    example = torch.from_numpy(tensor)[None, None]
    ways = {
        f"ours, {bundle.providers[0]}": lambda: bundle.latent(tensor),
        "torch eager": lambda: eager(example),
        "torch.compile": lambda: compiled(example),
    }
    took = {name: [] for name in ways}
    with torch.inference_mode():
        for number in range(WARM_UP + chosen.rounds):
            for name, way in ways.items():  # in turn, so that a change of the machine's load meets all
                measured = seconds(way) * 1000
                if number >= WARM_UP:
                    took[name].append(measured)
    ours = statistics.median(next(iter(took.values())))
    rows = [
        (name, spread(found), f"{statistics.median(found) / ours:.1f}x", f"{AIM:g}x" if name == "torch eager" else "")
        for name, found in took.items()
    ]
    shape = " x ".join(map(str, bundle.spec.shape))
    print(
        f"One tensor of {shape}, bundle {bundle.name} {bundle.version}, {counted[0] / 1e6:.1f} million numbers ({counted[1] / 1e6:.1f} in torch),"
    )
    print(f"{chosen.threads} threads, {chosen.rounds} rounds in turn; milliseconds, median and range.\n")
    print(table(("way", "ms", "of ours", "aim"), rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
