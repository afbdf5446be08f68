"""The same heads as other scanners might have shown them: the recipe's augmentation, drawn once per copy.

Heads of the model that learn from such copies beside the true ones depend less on one scanner; asked about copies of
subjects that they have not seen, they show how much they still do.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from med3d_export.augmentation import Augmentation, vary_some_at_a_time
from med3d_export.augmentation_config import AugmentationConfig
from med3d_export.training import Tensors

Copies = npt.NDArray[np.float32]
"""(C, N, d) latents: of C copies of N heads."""


class Encoder(Protocol):
    """What gives ``dimension`` numbers of a head."""

    @property
    def dimension(self) -> int:
        """How many numbers."""

    def encode(self, tensors: Tensors) -> npt.NDArray[np.float32]:
        """Return numbers (N, dimension) of tensors (N, X, Y, Z)."""


def encode_copies(
    encoder: Encoder, tensors: Tensors, augmentation: AugmentationConfig, count: int, seed: int
) -> Copies:
    """Return latents of ``count`` varied copies of ``tensors`` (N, X, Y, Z); the same seed gives the same copies."""
    generator = torch.Generator().manual_seed(seed)
    made = [encoder.encode(vary(tensors, augmentation, generator)) for _ in range(count)]
    return np.stack(made) if made else np.empty((0, len(tensors), encoder.dimension), dtype=np.float32)


def vary(tensors: Tensors, augmentation: AugmentationConfig, generator: torch.Generator) -> Tensors:
    """Return one varied copy of each of ``tensors``, nobody mixed with anybody."""
    images = torch.from_numpy(tensors)[:, None]
    varied: Tensors = vary_some_at_a_time(images, Augmentation(augmentation), generator)[:, 0].numpy()
    return varied
