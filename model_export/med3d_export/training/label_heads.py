"""Linear heads on the latent's mean that learn labels of training subjects; thrown away after training."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from med3d_export.objectives import Penalty
from med3d_export.training.values import NO_SITE, Targets


class _Reversed(torch.autograd.Function):
    """Identity whose gradient is turned round (Ganin et al., JMLR 2016)."""

    @staticmethod
    def forward(_context: object, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(_context: object, gradient: Tensor) -> Tensor:
        return -gradient


class LabelHeads(nn.Module):
    """Targets by regression or logistic regression, and the site by an adversary: the encoder is pushed to hide it."""

    def __init__(self, latent: int, targets: Targets, dropout: float) -> None:
        super().__init__()
        self.logistic = [loss == "logistic" for loss in targets.losses]
        self.register_buffer("weights", torch.from_numpy(targets.weights), persistent=False)
        count = len(targets.losses)
        self.to_targets = nn.Sequential(nn.Dropout(dropout), nn.Linear(latent, count)) if count else None
        self.site_weight = targets.site_weight
        sites = int(targets.sites.max(initial=NO_SITE)) + 1
        self.to_site = nn.Linear(latent, sites) if self.site_weight and sites > 1 else None

    def penalties(self, mean: Tensor, labels: Tensor, sites: Tensor, mix: tuple[Tensor, Tensor]) -> tuple[Penalty, ...]:
        """Weights are per voxel.

        labels: (N, T), NaN where unknown. sites: (N,). mix: each subject's partner (N,) and own share (N,) in its
        image.
        """
        partner, own = mix
        found = []
        if self.to_targets is not None:
            share = own[:, None]
            blended = share * labels + (1.0 - share) * labels[partner]
            found.append(Penalty("supervised", self._label_loss(self.to_targets(mean), blended), 1.0))
        if self.to_site is not None:
            scores = self.to_site(_Reversed.apply(mean))
            each = own * _site_loss(scores, sites) + (1.0 - own) * _site_loss(scores, sites[partner])
            found.append(Penalty("site", each.mean(), self.site_weight))
        return tuple(found)

    def _label_loss(self, predicted: Tensor, labels: Tensor) -> Tensor:
        known = labels.isfinite()
        labels = labels.nan_to_num()
        squared = (predicted - labels).square()
        logistic = functional.binary_cross_entropy_with_logits(predicted, labels.clamp(0, 1), reduction="none")
        chosen = torch.tensor(self.logistic, device=labels.device)
        each = torch.where(known, torch.where(chosen, logistic, squared), torch.zeros((), device=labels.device))
        return (each.sum(0) / known.sum(0).clamp_min(1) * self.weights).sum()


def _site_loss(scores: Tensor, sites: Tensor) -> Tensor:
    return functional.cross_entropy(scores, sites, reduction="none", ignore_index=NO_SITE)
