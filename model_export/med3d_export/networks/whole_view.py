"""What the linear path looks at of the head as a whole: local contrast and brightness, the same left and right."""

import torch
from torch import Tensor, nn

from med3d_export.networks.half_box import HalfBox
from med3d_export.networks.local_contrast import LocalContrast

BATCH = 32


class WholeView(nn.Module):
    """Local contrast and, at half resolution, brightness; both with the same say: an average square of 1 each.

    Contrast says where borders lie, brightness how tissues look; together they hold up under another scanner's
    sharpness and brightness better than either.
    """

    shares: Tensor

    def __init__(self, mean_head: Tensor) -> None:
        super().__init__()
        self.contrast = LocalContrast(mean_head)
        self.box = HalfBox.around(mean_head)
        self.size = self.contrast.size + self.box.size
        self.register_buffer("shares", torch.ones(2))

    def start_from(self, images: Tensor) -> None:
        """Take the place's statistics and both shares from the training heads (N, 1, X, Y, Z)."""
        self.contrast.start_from(images)
        self.shares.fill_(1.0)
        found = self.of(images)
        for at, part in enumerate(found.split([self.contrast.size, self.box.size], dim=1)):
            spread = (part - part.mean(dim=0)).square().sum(dim=1).mean().sqrt()
            self.shares[at] = 1.0 / spread.clamp_min(1e-12)

    def forward(self, tensor: Tensor) -> Tensor:
        """(N, size) of heads (N, 1, X, Y, Z); the same for a head and its mirror image."""
        brightness = self.box.fold(self.box.cut(tensor))
        return torch.cat([self.shares[0] * self.contrast(tensor), self.shares[1] * brightness], dim=1)

    def of(self, images: Tensor) -> Tensor:
        """The same of many heads, some at a time and without gradients."""
        with torch.no_grad():
            return torch.cat([self(part) for part in images.split(BATCH)])
