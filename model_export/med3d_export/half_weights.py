"""Large weights as 16-bit floats hold them: what a bundle stores."""

import torch
from torch import nn

LEAST_HALVED = 1024
"""Weights of fewer numbers than this are not worth storing with 16 bits."""


def round_to_half(network: nn.Module) -> set[str]:
    """Round the large weights of ``network`` to what 16 bits hold, and return their names."""
    large = {
        name: values
        for name, values in network.state_dict().items()
        if values.dtype == torch.float32 and values.numel() >= LEAST_HALVED
    }
    with torch.no_grad():
        for values in large.values():
            values.copy_(values.half().float())
    return set(large)
