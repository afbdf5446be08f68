"""What every decoder is: from latents to heads, by how they differ from the average one."""

from collections.abc import Callable

from torch import Tensor

from med3d_export.networks.difference import Difference
from med3d_export.networks.posterior import PosteriorEncoder


class LatentDecoder(Difference):
    """From latents (N, latent) to tensors (N, 1, X, Y, Z)."""

    def start_from(self, encoder: PosteriorEncoder, encode: Callable[[], Tensor], images: Tensor) -> None:
        """Set the weights where it can: by the encoder, or the training heads (N, 1, X, Y, Z) and their latents.

        ``encode`` gives these (N, latent); not every decoder asks for them.
        """
