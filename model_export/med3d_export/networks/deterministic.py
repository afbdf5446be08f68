"""The encoder as it is released."""

from torch import Tensor, nn

from med3d_export.networks.posterior import PosteriorEncoder


class SymmetricMean(nn.Module):
    """The posterior's mean, averaged over the tensor and its left-right mirror image.

    No noise is drawn, so the same tensor always gives the same latent. The variance has no part in it.
    """

    def __init__(self, encoder: PosteriorEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tensor: Tensor) -> Tensor:
        """Latents (N, latent)."""
        # The two views are averaged before the last layers, which are linear: half the work, the same mean.
        pairs = zip(self.encoder.views(tensor), self.encoder.views(tensor.flip(2)), strict=True)
        return self.encoder.mean_of(tuple(0.5 * (view + mirrored) for view, mirrored in pairs))
