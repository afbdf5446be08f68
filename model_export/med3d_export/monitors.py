"""Whether a latent is healthy: is it used, does it look like the prior, does noise matter.

All of it on subjects that the fit has not seen.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from med3d_export.objectives import maximum_mean_discrepancy
from med3d_export.objectives.kernels import KERNELS, KernelName
from med3d_export.training import FittedAutoencoder, Tensors

Floats = npt.NDArray[np.float64]
ACTIVE_VARIANCE = 0.01
"""A unit is active where its mean varies more than this over subjects (Burda et al., ICLR 2016)."""
NULL_DRAWS = 200


@dataclass(frozen=True, eq=False)
class PosteriorMonitors:
    """Of N held-out subjects and d dimensions.

    mean_variance (d,): variance of the posterior's mean over subjects. kl_nats (d,): average KL to the prior. mean (d,)
    and spectrum (min(N - 1, d),): of the aggregated posterior, N draws of it; the spectrum falls, and expected_spectrum
    is that of N draws from the prior. mmd: by kernel name; null_mmd: 95th percentile of what N draws from the prior
    give. error_from_mean, error_from_draw (N,): mean squared error of the reconstruction from the mean and from a draw,
    in units of the tensor squared; error_of_mean_head (N,): of the training heads' mean in its place.
    """

    mean_variance: Floats
    kl_nats: Floats
    mean: Floats
    spectrum: Floats
    expected_spectrum: Floats
    kernels: npt.NDArray[np.str_]
    mmd: Floats
    null_mmd: Floats
    error_from_mean: Floats
    error_from_draw: Floats
    error_of_mean_head: Floats

    @property
    def active_units(self) -> int:
        """Dimensions whose mean varies over subjects."""
        return int((self.mean_variance > ACTIVE_VARIANCE).sum())

    def numbers(self) -> dict[str, float]:
        """Return the figures of a report, flat."""
        found = {
            "active_units": float(self.active_units),
            "latent_dimension": float(len(self.mean)),
            "kl_nats": float(self.kl_nats.sum()),
            "dimensions_above_a_tenth_of_a_nat": float((self.kl_nats > 0.1).sum()),
            "aggregated_mean_length": float(np.linalg.norm(self.mean)),
            "aggregated_variance": float(self.spectrum.sum() / len(self.mean)),
            "effective_dimensions": float(self.spectrum.sum() ** 2 / np.square(self.spectrum).sum()),
            "prior_effective_dimensions": float(
                self.expected_spectrum.sum() ** 2 / np.square(self.expected_spectrum).sum()
            ),
            "error_share_from_mean": float(np.median(self.error_from_mean / self.error_of_mean_head)),
            "error_share_from_draw": float(np.median(self.error_from_draw / self.error_of_mean_head)),
        }
        for name, value, null in zip(self.kernels.tolist(), self.mmd, self.null_mmd, strict=True):
            found[f"mmd_{name}"] = float(value)
            found[f"mmd_{name}_of_the_prior_95"] = float(null)
            found[f"mmd_{name}_over_that"] = float(value / null)
        return found

    def save(self, path: Path) -> None:
        """Write an .npz of plain arrays."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return what ``save`` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{field.name: stored[field.name] for field in fields(cls)})


def observe_posterior(fitted: FittedAutoencoder, held_out: Tensors, seed: int) -> PosteriorMonitors:
    """Ask a fit about tensors (N, X, Y, Z) that it has not seen; N is at least 2. The seed decides the noise."""
    if len(held_out) < 2:
        raise ValueError(f"{len(held_out)} held-out subjects have no spectrum: at least 2 are needed")
    posterior = fitted.posterior(held_out)
    drawn, prior = np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2])
    mean = posterior.mean.numpy().astype(np.float64)
    deviation = np.exp(0.5 * posterior.log_variance.numpy().astype(np.float64))
    sample = mean + deviation * drawn.standard_normal(mean.shape)
    from_mean = fitted.reconstruct(mean.astype(np.float32))
    from_draw = fitted.reconstruct(sample.astype(np.float32))
    mean_head = fitted.encoder.mean_head[0].numpy()
    nulls = np.array([[_mmd(name, prior.standard_normal(mean.shape)) for name in KERNELS] for _ in range(NULL_DRAWS)])
    return PosteriorMonitors(
        mean_variance=mean.var(axis=0),
        kl_nats=posterior.kl_per_dimension().mean(dim=0).numpy().astype(np.float64),
        mean=sample.mean(axis=0),
        spectrum=_spectrum(sample),
        expected_spectrum=np.mean([_spectrum(prior.standard_normal(mean.shape)) for _ in range(20)], axis=0),
        kernels=np.array(list(KERNELS)),
        mmd=np.array([_mmd(name, sample) for name in KERNELS]),
        null_mmd=np.percentile(nulls, 95, axis=0),
        error_from_mean=_error(from_mean, held_out),
        error_from_draw=_error(from_draw, held_out),
        error_of_mean_head=_error(np.broadcast_to(mean_head, held_out.shape), held_out),
    )


def _mmd(kernel: KernelName, latents: Floats) -> float:
    given = torch.from_numpy(latents)
    return float(maximum_mean_discrepancy(given, given[:0], KERNELS[kernel]))


def _spectrum(latents: Floats) -> Floats:
    """Return variances along the principal axes, falling."""
    singular = np.linalg.svd(latents - latents.mean(axis=0), compute_uv=False)
    return np.asarray(np.square(singular[: min(len(latents) - 1, latents.shape[1])]) / (len(latents) - 1))


def _error(reconstructed: Tensors, tensors: Tensors) -> Floats:
    return np.asarray(np.square(reconstructed - tensors).mean(axis=(1, 2, 3)), dtype=np.float64)
