"""Healthy heads of a made-up site, and the calibration that comes of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from med3d_pipeline.calibration.fitting import Bearings, CalibrationHead, fit_site
from med3d_pipeline.calibration.site_calibration import BundleName, SiteCalibration
from med3d_pipeline.inference.latent_space import LatentSpace
from med3d_pipeline.inference.manifest import DecisionLimits
from med3d_pipeline.inference.prediction import Sighting
from rig.science.predictions import DIMENSION, LIMITS, Scanner, latent_space

DIGEST = "d" * 64
CREATED = datetime.now(UTC).date() - timedelta(days=30)
PRISMA = Scanner(3.0, "Siemens", "Prisma")


def bearings(space: LatentSpace | None = None, limits: DecisionLimits = LIMITS) -> Bearings:
    """The bundle of rig.science.predictions."""
    return Bearings(BundleName(name="bundle", version="1", digest=DIGEST), space or latent_space(), limits)


def site_heads(
    count: int = 20,
    *,
    offset: float = 6.0,
    noise: float = 0.0,
    ages: tuple[float, float] = (20.0, 60.0),
    slope: float = 1.0,
    shift: Sequence[float] = (3.0, 0, 0, 0),
    scanner: Scanner = PRISMA,
    seed: int = 0,
) -> list[CalibrationHead]:
    """Heads whose estimates are slope (age - middle) + middle + offset + noise, in latents about ``shift``."""
    rng = np.random.default_rng(seed)
    known = np.linspace(ages[0], ages[1], count)
    middle = known.mean()
    estimates = middle + slope * (known - middle) + offset + noise * rng.standard_normal(count)
    latents = np.asarray(shift, np.float32) + 0.3 * rng.standard_normal((count, DIMENSION)).astype(np.float32)
    return [
        CalibrationHead(Sighting(latent, float(estimate), 0.1 + 0.01 * rng.random()), float(age), scanner)
        for latent, estimate, age in zip(latents, estimates, known, strict=True)
    ]


def calibration(
    heads: Sequence[CalibrationHead] | None = None, site: str = "Ward 3", **options: Any
) -> SiteCalibration:
    """A fitted calibration of ``site``."""
    return fit_site(heads or site_heads(), site, bearings(), CREATED, **options).calibration


def of_scanners(heads: Sequence[CalibrationHead], *scanners: Scanner) -> list[CalibrationHead]:
    """The heads, acquired on ``scanners`` in turn."""
    return [replace(head, acquisition=scanners[number % len(scanners)]) for number, head in enumerate(heads)]
