"""Group normalisation for export, whose result depends neither on the provider nor on the number of threads.

ONNX of opset 17 knows no group norm: torch writes it as an instance norm over one long axis, which some providers sum
up one number after the other in float32 (see docs/decisions/0020). Means axis after axis add a few hundred at a time.
"""

import copy

from torch import Tensor, nn


class AxisWiseGroupNorm(nn.Module):
    """What ``norm`` computes on (N, C, X, Y, Z), by means along one axis at a time."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.epsilon = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, tensor: Tensor) -> Tensor:
        """Return the same shape."""
        grouped = tensor.reshape(tensor.shape[0], self.groups, -1, *tensor.shape[3:])
        centred = grouped - _mean(grouped)
        normalised = centred / (_mean(centred * centred) + self.epsilon).sqrt()
        shape = (1, -1, 1, 1, 1)
        return normalised.reshape(tensor.shape) * self.weight.reshape(shape) + self.bias.reshape(shape)


def _mean(values: Tensor) -> Tensor:
    """Take the mean over the last three axes. The factors are exact.

    They stand there because OpenVINO merges means that follow.
    """
    along_z = 2.0 * values.mean(4, keepdim=True)
    along_y = 0.5 * along_z.mean(3, keepdim=True)
    return along_y.mean(2, keepdim=True)


def spell_out_group_norms(network: nn.Module) -> nn.Module:
    """Return a copy of ``network`` in which every GroupNorm is an AxisWiseGroupNorm."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, AxisWiseGroupNorm(child))
    return network
