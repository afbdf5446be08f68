"""Healthy heads of a made-up site, and the calibration that comes of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from med3d_pipeline.calibration.fitting import Bearings, CalibrationHead, fit_site
from med3d_pipeline.calibration.site_calibration import BundleName
from med3d_pipeline.inference.prediction import Sighting
from rig.science.predictions import DIMENSION, LIMITS, Scanner, latent_space

DIGEST = "d" * 64
CREATED = datetime.now(UTC).date() - timedelta(days=30)
PRISMA = Scanner(3.0, "Siemens", "Prisma")


def bearings(space=None, limits=LIMITS):
    """The bundle of rig.science.predictions."""
    return Bearings(BundleName(name="bundle", version="1", digest=DIGEST), space or latent_space(), limits)


def site_heads(
    count=20, *, offset=6.0, noise=0.0, ages=(20.0, 60.0), slope=1.0, shift=(3.0, 0, 0, 0), scanner=PRISMA, seed=0
):
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


def calibration(heads=None, site="Ward 3", **options):
    """A fitted calibration of ``site``."""
    return fit_site(heads or site_heads(), site, bearings(), CREATED, **options).calibration


def of_scanners(heads, *scanners):
    """The heads, acquired on ``scanners`` in turn."""
    return [replace(head, acquisition=scanners[number % len(scanners)]) for number, head in enumerate(heads)]
