"""What a fit leaves: networks in eval mode, and their weights as plain arrays."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from med3d_export.age_network.network import AgeCode
from med3d_export.config import TrainingConfig
from med3d_export.half_weights import round_to_half
from med3d_export.networks import HeadStatistics, SymmetricMean, build_decoder, build_encoder
from med3d_export.networks.latent_decoder import LatentDecoder
from med3d_export.networks.posterior import PosteriorEncoder
from med3d_export.objectives import Posterior
from med3d_export.training.values import EpochReport, Tensors

Latents = npt.NDArray[np.float32]
Weights = dict[str, dict[str, npt.NDArray[np.float32]]]
"""Of ``encoder`` and ``decoder``: parameter and buffer name to values."""


@dataclass(frozen=True)
class FittedAutoencoder:
    """The averaged weights after training, in eval mode, and the loss curve.

    age: the supervised number that stands beside the latent, its last; the decoder does not see it.
    """

    encoder: PosteriorEncoder
    decoder: LatentDecoder
    curve: tuple[EpochReport, ...]
    age: AgeCode | None = None

    @property
    def dimension(self) -> int:
        """How many numbers ``encode`` gives of a head."""
        return self.encoder.latent + (self.age is not None)

    def with_age(self, age: AgeCode | None) -> "FittedAutoencoder":
        """Return the same with a supervised number beside the latent."""
        return replace(self, age=age)

    def deterministic_encoder(self) -> nn.Module:
        """Return what is released: (N, 1, X, Y, Z) to latents (N, dimension)."""
        latent = SymmetricMean(self.encoder)
        return (latent if self.age is None else _Beside(latent, self.age)).eval()

    def latent_decoder(self) -> nn.Module:
        """Return what is released: latents (N, dimension) to (N, 1, X, Y, Z)."""
        return self.decoder if self.age is None else _OfFirst(self.decoder, self.encoder.latent).eval()

    def in_half(self) -> "FittedAutoencoder":
        """Return the same with large weights as 16-bit floats hold them: what a bundle stores."""
        networks = copy.deepcopy((self.encoder, self.decoder))
        for network in networks:
            round_to_half(network)
        return FittedAutoencoder(*networks, self.curve, self.age)

    def code_spreads(self) -> npt.NDArray[np.float64]:
        """Return (latent,) how much each number of the encoder's latent should count where heads are compared."""
        spreads: npt.NDArray[np.float64] = self.encoder.code_spreads().double().numpy()
        return spreads

    def encode(self, tensors: Tensors, batch: int = 16) -> Latents:
        """Return deterministic latents (N, dimension) float32, as the released encoder gives them."""
        network = self.deterministic_encoder()
        return _in_batches(tensors, batch, lambda part: network(part[:, None]))

    def posterior(self, tensors: Tensors, batch: int = 16) -> Posterior:
        """Encode the tensors (N, X, Y, Z) as they are: mean and log variance, each (N, latent), no mirror image."""
        joined = _in_batches(tensors, batch, lambda part: torch.cat(self.encoder(part[:, None]), dim=1))
        mean, log_variance = torch.from_numpy(joined).chunk(2, dim=1)
        return Posterior(mean, log_variance)

    def reconstruct(self, latents: Latents, batch: int = 16) -> Tensors:
        """Return tensors (N, X, Y, Z) float32 that the decoder gives for latents (N, dimension)."""
        return _in_batches(latents[:, : self.encoder.latent], batch, lambda part: self.decoder(part)[:, 0])

    def sample(self, count: int, seed: int) -> Tensors:
        """Return heads (count, X, Y, Z) that the decoder gives for draws from the prior."""
        drawn = np.random.default_rng(seed).standard_normal((count, self.encoder.latent))
        return self.reconstruct(drawn.astype(np.float32))


class _Beside(nn.Module):
    """The latent and beside it the age code."""

    def __init__(self, latent: nn.Module, age: nn.Module) -> None:
        super().__init__()
        self.latent, self.age = latent, age

    def forward(self, tensor: Tensor) -> Tensor:
        return torch.cat([self.latent(tensor), self.age(tensor)], dim=1)


class _OfFirst(nn.Module):
    """A decoder that is given more numbers than it knows: it takes the first."""

    def __init__(self, decoder: nn.Module, latent: int) -> None:
        super().__init__()
        self.decoder, self.latent = decoder, latent

    def forward(self, latents: Tensor) -> Tensor:
        image: Tensor = self.decoder(latents[:, : self.latent])
        return image


def _in_batches(array: npt.NDArray[np.float32], batch: int, network: Callable[[Tensor], Tensor]) -> Tensors:
    starts = range(0, len(array), batch)
    with torch.no_grad():
        parts = [network(torch.from_numpy(np.ascontiguousarray(array[start : start + batch]))) for start in starts]
    joined: Tensors = torch.cat(parts).contiguous().numpy()
    return joined


def weights_of(fitted: FittedAutoencoder) -> Weights:
    """Return the weights as plain arrays, to be stored or sent to another process."""
    parts: dict[str, nn.Module] = {"encoder": fitted.encoder, "decoder": fitted.decoder}
    return {part: {n: v.numpy().copy() for n, v in net.state_dict().items()} for part, net in parts.items()}


def rebuild(weights: Weights, config: TrainingConfig, curve: tuple[EpochReport, ...] = ()) -> FittedAutoencoder:
    """Return the networks that ``weights_of`` took apart; ``config`` is the one that they were trained with."""
    own = weights["encoder"]
    heads = HeadStatistics(torch.from_numpy(own["mean_head"][0, 0]), float(own["spread"]))
    encoder, decoder = build_encoder(config.network, heads), build_decoder(config.network, heads)
    for network, part in ((encoder, "encoder"), (decoder, "decoder")):
        network.load_state_dict({name: torch.from_numpy(value) for name, value in weights[part].items()})
        # As in training: the layout in memory decides which of two equally right roundings comes out.
        network.to(memory_format=torch.channels_last_3d)
    return FittedAutoencoder(encoder.eval(), decoder.eval(), curve)
