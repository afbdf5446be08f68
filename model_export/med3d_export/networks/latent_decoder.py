"""What every decoder is: from latents to heads, by how they differ from the average one."""

from torch import Tensor

from med3d_export.networks.difference import Difference


class LatentDecoder(Difference):
    """From latents (N, latent) to tensors (N, 1, X, Y, Z)."""

    def start_from(self, latents: Tensor, images: Tensor) -> None:
        """Set the weights by the training heads (N, 1, X, Y, Z) and their latents (N, latent) where it can."""
