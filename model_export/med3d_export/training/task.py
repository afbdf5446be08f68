"""One training step of an autoencoder, as Lightning wants it."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from med3d_export.augmentation import Augmentation
from med3d_export.config import OptimiserConfig, TrainingConfig
from med3d_export.networks import HeadStatistics, build_decoder, build_encoder
from med3d_export.objectives import BatchLoss, LatentBank, Penalty, Posterior, Seen, judge
from med3d_export.training.label_heads import LabelHeads
from med3d_export.training.randomness import Purpose, derived_seed, generator
from med3d_export.training.values import EpochReport, Targets, TrainingError

HELD_OUT_TOTAL = "held_out/total"
Batch = tuple[Tensor, Tensor, Tensor]


class AutoencoderTask(LightningModule):
    """Encoder, decoder and label heads with their objective, bank and loss curve."""

    def __init__(self, config: TrainingConfig, heads: HeadStatistics, targets: Targets, seed: int) -> None:
        super().__init__()
        self.config, self.seed = config, seed
        self.encoder, self.decoder = build_encoder(config.network, heads), build_decoder(config.network, heads)
        self.labels = LabelHeads(config.network.latent, targets, config.supervision.dropout)
        self.augmentation = Augmentation(config.augmentation)
        batch = min(config.optimiser.batch, len(targets.values))
        capacity = min(config.objective.bank, max(0, len(targets.values) - batch))
        self.bank = LatentBank(capacity, config.network.latent)
        self.curve: tuple[EpochReport, ...] = ()
        self.on_epoch: Callable[[EpochReport], None] | None = None
        self._sums, self._watched_sums = _Means(), _Means()

    def configure_optimizers(self) -> dict[str, Any]:
        """Return AdamW with a linear warm-up and a cosine to zero, stepped with the optimiser."""
        settings = self.config.optimiser
        linear = {id(parameter) for parameter in self._linear_parameters()}
        groups = [
            {"params": [p for p in self.parameters() if id(p) not in linear]},
            {"params": self._linear_parameters(), "lr": settings.linear_share * settings.learning_rate},
        ]
        optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        factor = warm_cosine(int(self.trainer.estimated_stepping_batches), settings)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _linear_parameters(self) -> list[nn.Parameter]:
        """Start what has a closed form."""
        return [*self.encoder.linear_parameters(), *self.decoder.linear_parameters()]

    def training_step(self, batch: Batch, _number: int) -> Tensor:
        """Return the objective on an augmented batch. Raises TrainingError where it is not finite."""
        images, labels, sites = batch
        step, rank = self.global_step, self.global_rank
        torch.manual_seed(derived_seed(self.seed, Purpose.STEP, step, rank))
        drawn = generator(self.seed, Purpose.AUGMENTATION, step, rank, images.device)
        images, partner, own = self.augmentation.mix(self.augmentation(images, drawn), drawn)
        judged, latent = self._judged(
            images, self.bank.latents, lambda mean: self.labels.penalties(mean, labels, sites, (partner, own))
        )
        if not math.isfinite(float(judged.total.detach())):
            raise TrainingError(
                "loss_not_finite", f"the loss is not finite in epoch {self.current_epoch + 1}; lower learning_rate"
            )
        self.bank.push(latent)
        self._sums.add(judged)
        return judged.total

    def configure_gradient_clipping(self, optimizer: torch.optim.Optimizer, *_: object, **__: object) -> None:
        """Clip by norm. Raises TrainingError before a step that would spoil the weights."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.config.optimiser.gradient_clip)
        # With float16 the scaler expects overflows and leaves out such a step itself.
        if self.config.hardware.precision != "16-mixed" and not math.isfinite(float(norm)):
            raise TrainingError(
                "loss_not_finite", f"a gradient is not finite in epoch {self.current_epoch + 1}; lower learning_rate"
            )

    def validation_step(self, batch: Batch, number: int) -> None:
        """Return the objective on subjects that are not trained on, without augmentation, labels or bank."""
        torch.manual_seed(derived_seed(self.seed, Purpose.HELD_OUT, number, self.global_rank))
        judged, latent = self._judged(batch[0], self.bank.latents[:0], lambda _: ())
        self._watched_sums.add(judged, len(latent))

    def on_validation_epoch_end(self) -> None:
        """Tell Lightning's early stop."""
        self.log(HELD_OUT_TOTAL, self.held_out_total(), sync_dist=True)

    def held_out_total(self) -> float:
        """Return the objective on the subjects set apart, in this epoch, in nats per voxel."""
        return self._watched_sums.mean()["total"]

    def on_train_epoch_end(self) -> None:
        """Add the epoch to the loss curve, before a checkpoint is written."""
        found, watched = self._reduced(self._sums.mean()), self._reduced(self._watched_sums.mean())
        self._sums, self._watched_sums = _Means(), _Means()
        report = EpochReport(self.current_epoch, found.pop("total"), found, watched)
        self.curve = (*self.curve, report)
        self.log_dict({"training/total": report.total} | {f"training/{name}": value for name, value in found.items()})
        self.log_dict({f"held_out/{name}": value for name, value in watched.items() if name != "total"})
        if self.on_epoch is not None:
            self.on_epoch(report)

    def __getstate__(self) -> dict[str, Any]:
        """Have no listener, for copies and other processes: nobody else reports to whoever listens here."""
        state: dict[str, Any] = super().__getstate__()
        return state | {"on_epoch": None}

    def get_extra_state(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside the weights."""
        return {"curve": [report.plain() for report in self.curve], "bank": self.bank.latents}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore it from a checkpoint."""
        self.curve = tuple(EpochReport(**report) for report in state["curve"])
        self.bank.latents = state["bank"]

    def _judged(
        self, images: Tensor, banked: Tensor, more: Callable[[Tensor], tuple[Penalty, ...]]
    ) -> tuple[BatchLoss, Tensor]:
        objective = self.config.objective
        posterior = Posterior(*self.encoder(images))
        latent = objective.latent_of(posterior)
        seen = Seen(
            images, self.decoder(latent), posterior, latent, banked.to(latent), tuple(self.decoder.parameters())
        )
        terms = (*self.config.reconstruction.penalties(seen), *more(posterior.mean))
        return judge(objective, seen, terms), latent.detach()

    def _reduced(self, means: dict[str, float]) -> dict[str, float]:
        """Return averages over all processes."""
        if self.trainer.world_size == 1:
            return means
        return {n: float(self.trainer.strategy.reduce(torch.tensor(v), reduce_op="mean")) for n, v in means.items()}


class _Means:
    """Sums of terms by name."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = defaultdict(float)
        self.count = 0

    def add(self, judged: BatchLoss, weight: int = 1) -> None:
        self.count += weight
        for name, value in ({"total": judged.total.detach()} | judged.terms).items():
            self.sums[name] += weight * float(value)

    def mean(self) -> dict[str, float]:
        return {name: value / self.count for name, value in self.sums.items()}


def warm_cosine(steps: int, settings: OptimiserConfig) -> Callable[[int], float]:
    """Return the factor on the learning rate at each of ``steps``: linear up, then a cosine to zero."""
    warmup = max(1, round(steps * settings.warmup_fraction))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor
