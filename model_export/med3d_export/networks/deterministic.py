"""The encoder as it is released."""

from torch import Tensor, nn

from med3d_export.networks.posterior import PosteriorEncoder


class SymmetricMean(nn.Module):
    """The posterior's mean, its convolutional features averaged over the tensor and its left-right mirror image.

    No noise is drawn, so the same tensor always gives the same latent. The variance has no part in it. What the linear
    path sees is the same for both images, or tells their sides apart and stays as it is.
    """

    def __init__(self, encoder: PosteriorEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, tensor: Tensor) -> Tensor:
        """Return latents (N, latent)."""
        # Averaged before the last layers, which are linear: half the work, the same mean.
        features, *others = self.encoder.views(tensor)
        mirrored, *_ = self.encoder.views(tensor.flip(2))
        return self.encoder.mean_of((0.5 * (features + mirrored), *others))
