"""Fit the InfoVAE on the tensors of training subjects."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from med3d_export.augmentation import Augmentation
from med3d_export.config import TrainingConfig
from med3d_export.mmd import LatentBank
from med3d_export.networks import Decoder, Encoder, SymmetricMean
from med3d_export.objective import ObjectiveTerms, ObjectiveWeights, infovae_objective

Tensors = npt.NDArray[np.float32]
"""(N, X, Y, Z) float32 on the preprocessing grid."""


class TrainingError(Exception):
    """Training cannot go on; the message says at which epoch and why."""


@dataclass(frozen=True)
class EpochReport:
    """Averages over one epoch, for the progress bar and the loss curve."""

    epoch: int
    total: float
    reconstruction: float
    kl: float
    mmd: float
    supervised: float


class InfoVae(nn.Module):
    """Encoder, decoder and the linear heads of the semi-supervision (none of which is released)."""

    def __init__(self, config: TrainingConfig, mean_head: Tensor, spread: float, targets: int) -> None:
        super().__init__()
        network = config.network
        self.encoder = Encoder(mean_head, spread, network.encoder_channels, network.linear_rank, network.latent)
        self.decoder = Decoder(mean_head, spread, network.decoder_channels, network.latent)
        self.supervised = nn.Sequential(nn.Dropout(config.supervision.dropout), nn.Linear(network.latent, targets))


@dataclass(frozen=True)
class FittedInfoVae:
    """The averaged weights after training, in eval mode, and the loss curve."""

    encoder: Encoder
    decoder: Decoder
    curve: tuple[EpochReport, ...]

    def encode(self, tensors: Tensors, batch: int = 16) -> npt.NDArray[np.float32]:
        """Deterministic latents (N, latent) float32, as the released encoder gives them."""
        mean = SymmetricMean(self.encoder).eval()
        with torch.no_grad():
            parts = [mean(torch.from_numpy(part)[:, None]) for part in _batches(tensors, batch)]
        latents: npt.NDArray[np.float32] = torch.cat(parts).numpy()
        return latents

    def reconstruct(self, latents: npt.NDArray[np.float32], batch: int = 16) -> Tensors:
        """Tensors (N, X, Y, Z) float32 that the decoder gives for latents (N, latent)."""
        with torch.no_grad():
            parts = [self.decoder(torch.from_numpy(part))[:, 0] for part in _batches(latents, batch)]
        tensors: Tensors = torch.cat(parts).numpy()
        return tensors


def _batches(array: npt.NDArray[np.float32], batch: int) -> list[npt.NDArray[np.float32]]:
    return [np.ascontiguousarray(array[start : start + batch]) for start in range(0, len(array), batch)]


Weights = dict[str, dict[str, npt.NDArray[np.float32]]]
"""Of ``encoder`` and ``decoder``: parameter and buffer name to values."""


def weights_of(fitted: FittedInfoVae) -> Weights:
    """The weights as plain arrays, to be stored or sent to another process."""
    parts: dict[str, nn.Module] = {"encoder": fitted.encoder, "decoder": fitted.decoder}
    return {part: {n: v.numpy().copy() for n, v in net.state_dict().items()} for part, net in parts.items()}


def rebuild(weights: Weights, config: TrainingConfig, curve: tuple[EpochReport, ...] = ()) -> FittedInfoVae:
    """The networks that ``weights_of`` took apart; ``config`` is the one that they were trained with."""
    mean_head = torch.from_numpy(weights["encoder"]["mean_head"][0, 0])
    spread, network = float(weights["encoder"]["spread"]), config.network
    encoder = Encoder(mean_head, spread, network.encoder_channels, network.linear_rank, network.latent)
    decoder = Decoder(mean_head, spread, network.decoder_channels, network.latent)
    encoder.load_state_dict({name: torch.from_numpy(value) for name, value in weights["encoder"].items()})
    decoder.load_state_dict({name: torch.from_numpy(value) for name, value in weights["decoder"].items()})
    return FittedInfoVae(encoder.eval(), decoder.eval(), curve)


@dataclass(frozen=True)
class Targets:
    """Standardised labels for the semi-supervision: (N, T) float32, NaN where a subject has none; weights (T,)."""

    values: npt.NDArray[np.float32]
    weights: npt.NDArray[np.float32]


def fit_infovae(
    tensors: Tensors,
    targets: Targets,
    config: TrainingConfig,
    seed: int,
    on_epoch: Callable[[EpochReport], None] = lambda _: None,
) -> FittedInfoVae:
    """Train from scratch on ``tensors`` and return the exponential moving average of the weights.

    The same seed, data and thread count give the same weights on the same machine. Raises TrainingError where the
    loss is not finite.
    """
    model, images = _start(tensors, targets, config, seed)
    fit = _Fit(model, images, targets, config, seed)
    curve = []
    for epoch in range(config.optimiser.epochs):
        report = fit.run_epoch(epoch)
        if not math.isfinite(report.total):
            raise TrainingError(f"the loss is not finite in epoch {epoch + 1}; lower the learning rate")
        curve.append(report)
        on_epoch(report)
    averaged = copy.deepcopy(fit.average.module).eval()
    return FittedInfoVae(averaged.encoder, averaged.decoder, tuple(curve))


def start_infovae(tensors: Tensors, targets: Targets, config: TrainingConfig, seed: int) -> FittedInfoVae:
    """The networks before the first step: the linear path at the principal components, the other path at zero."""
    model, _ = _start(tensors, targets, config, seed)
    return FittedInfoVae(model.encoder.eval(), model.decoder.eval(), ())


def _start(tensors: Tensors, targets: Targets, config: TrainingConfig, seed: int) -> tuple[InfoVae, Tensor]:
    torch.manual_seed(seed)
    torch.set_num_threads(config.threads)
    images = torch.from_numpy(tensors)[:, None]
    # Channels last halves the time of a step on CPUs; the values are the same.
    layout = torch.channels_last_3d
    mean_head = images.mean(dim=(0, 1))
    mean_head = 0.5 * (mean_head + mean_head.flip(0))
    spread = float((images[:, 0] - mean_head).std())
    model = InfoVae(config, mean_head, spread, targets.values.shape[1]).to(memory_format=layout)
    model.encoder.linear.start_from(model.encoder.difference(images))
    return model, images.to(memory_format=layout)


class _Fit:
    """What lives from step to step: optimiser, schedule, moving average, bank, generators."""

    def __init__(self, model: InfoVae, images: Tensor, targets: Targets, config: TrainingConfig, seed: int) -> None:
        self.model, self.images, self.config = model, images, config
        self.labels = torch.from_numpy(targets.values)
        self.label_weights = torch.from_numpy(targets.weights)
        settings = config.optimiser
        self.optimiser = torch.optim.AdamW(
            model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        steps_per_epoch = max(1, len(images) // settings.batch)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimiser, _warm_cosine(steps_per_epoch * settings.epochs, settings.warmup_fraction)
        )
        self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay))
        capacity = min(config.objective.bank, max(0, len(images) - settings.batch))
        self.bank = LatentBank(capacity, config.network.latent)
        self.weights = ObjectiveWeights(config.objective.a, config.objective.l, config.objective.decoder_sd)
        self.augmentation = Augmentation(config.augmentation, seed)
        self.order = torch.Generator().manual_seed(seed)

    def run_epoch(self, epoch: int) -> EpochReport:
        self.model.train()
        batch = min(self.config.optimiser.batch, len(self.images))
        order = torch.randperm(len(self.images), generator=self.order)
        # The last, smaller batch is left out: each subject has its turn in another epoch.
        chunks = [order[start : start + batch] for start in range(0, len(order) - batch + 1, batch)]
        sums = np.zeros(5)
        for chunk in chunks:
            terms, supervised = self.step(chunk)
            sums += [float(t) for t in (terms.total, terms.reconstruction, terms.kl, terms.mmd, supervised)]
        return EpochReport(epoch, *(sums / len(chunks)).tolist())

    def step(self, chunk: Tensor) -> tuple[ObjectiveTerms, Tensor]:
        tensor, partner, own = self.augmentation.mix(self.augmentation(self.images[chunk]))
        labels = self.labels[chunk]
        labels = own[:, None] * labels + (1.0 - own[:, None]) * labels[partner]
        mean, log_variance = self.model.encoder(tensor)
        sample = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        terms = infovae_objective(
            tensor, self.model.decoder(sample), mean, log_variance, sample, self.bank, self.weights
        )
        supervised = self._supervised_loss(self.model.supervised(mean), labels)
        self.optimiser.zero_grad(set_to_none=True)
        (terms.total + supervised).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimiser.gradient_clip)
        self.optimiser.step()
        self.schedule.step()
        self.average.update_parameters(self.model)
        return terms, supervised

    def _supervised_loss(self, predicted: Tensor, labels: Tensor) -> Tensor:
        known = labels.isfinite()
        squared = torch.where(known, predicted - labels.nan_to_num(), torch.zeros(())).square()
        per_target = squared.sum(0) / known.sum(0).clamp_min(1)
        return (per_target * self.label_weights).sum()


def _warm_cosine(steps: int, warmup_fraction: float) -> Callable[[int], float]:
    warmup = max(1, round(steps * warmup_fraction))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor
