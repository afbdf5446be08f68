"""What the encoder's linear path looks at: how much brightness varies within small windows."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from med3d_export.networks.half_box import HalfBox

GAIN = 2.0
"""Standard deviations of the training heads times this go into the hyperbolic tangent."""
FLOOR = 0.005
"""Added to the training heads' standard deviation, in the tensor's unit: flat places say nothing."""
LEAST_VARIANCE = 1e-6


class LocalContrast(nn.Module):
    """Standard deviation of brightness in every window of 2 x 2 x 2 voxels, as unlike the training heads' as it is.

    A window that holds one tissue is flat, one on a border is not: thinning cortex, opening sulci and growing
    ventricles move borders. Against the training heads' mean and spread in that place; the hyperbolic tangent keeps
    single windows from dominating. Then averages over three windows along each axis, at half resolution, of both sides.
    """

    middle: Tensor
    spread: Tensor

    def __init__(self, mean_head: Tensor) -> None:
        super().__init__()
        self.box = HalfBox.around(mean_head)
        windows = tuple(side.stop - side.start - 1 for side in self.box.sides)
        self.register_buffer("middle", torch.zeros(1, 1, *windows))
        self.register_buffer("spread", torch.ones(1, 1, *windows))
        x, y, z = ((count - 1) // 2 for count in windows)
        self._kept = -(-x // 2)
        self.size = math.prod((self._kept, y, z))

    def start_from(self, images: Tensor) -> None:
        """Take mean and spread of the training heads (N, 1, X, Y, Z)."""
        found = self._windows(images)
        middle = found.mean(dim=0, keepdim=True)
        spread = (found - middle).square().mean(dim=0, keepdim=True).sqrt()
        self.middle.copy_(_both_sides(middle))
        self.spread.copy_(_both_sides(spread) + FLOOR)

    def forward(self, tensor: Tensor) -> Tensor:
        """Return (N, size) of heads (N, 1, X, Y, Z); the same for a head and its mirror image."""
        unlike = (GAIN * (self._windows(tensor) - self.middle) / self.spread).tanh()
        # Three windows, two apart: symmetric on a grid with an odd number of windows, as pairs would not be.
        return _both_sides(functional.avg_pool3d(unlike, 3, stride=2))[:, :, : self._kept].flatten(1)

    def _windows(self, tensor: Tensor) -> Tensor:
        cut = self.box.cut(tensor)
        mean = functional.avg_pool3d(cut, 2, stride=1)
        variance = functional.avg_pool3d(cut.square(), 2, stride=1) - mean.square()
        return variance.clamp_min(LEAST_VARIANCE).sqrt()


def _both_sides(image: Tensor) -> Tensor:
    return 0.5 * (image + image.flip(2))
