"""A synthetic cohort: the MNI template deformed smoothly, with ventricles that grow with a made-up age."""

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from med3d_export.cohort import Cohort, CohortSubject
from med3d_pipeline.resampling import prefilter, resample
from med3d_pipeline.spec import PreprocessSpec
from med3d_pipeline.template import Template, grid_affine


def phantom_cohort(count: int, seed: int) -> Cohort:
    """Subjects aged 20 to 80; no files behind them."""
    rng = np.random.default_rng(seed)
    ages = rng.permutation(np.linspace(20, 80, count))
    return Cohort(
        tuple(
            CohortSubject(row, f"phantom-{row}", float(age), "FM"[row % 2], "phantom", Path("none"))
            for row, age in enumerate(ages, start=2)
        )
    )


def phantom_tensors(cohort: Cohort, template: Template, spec: PreprocessSpec, seed: int) -> np.ndarray:
    """(N, X, Y, Z) float32: the template pushed outwards from its middle by up to 4 mm with age, and at random by 1 mm."""
    rng = np.random.default_rng(seed)
    grid = grid_affine(template, spec)
    head = resample(prefilter(template.brain, spec.spacing_mm), spec.shape, grid, np.eye(4))
    indices = np.stack(np.meshgrid(*map(np.arange, spec.shape), indexing="ij")).astype(float)
    offset = indices - (np.array(spec.shape)[:, None, None, None] - 1) / 2
    radius = np.sqrt((offset**2).sum(axis=0)) + 1e-6
    outwards = offset / radius * np.exp(-((radius - 5.0) ** 2) / 18.0)
    tensors = []
    for subject in cohort.subjects:
        own = np.stack([gaussian_filter(rng.normal(size=spec.shape), 4.0) for _ in range(3)])
        own *= (1.0 / spec.spacing_mm) / own.std()
        push = (subject.age_years - 20.0) / 60.0 * 4.0 / spec.spacing_mm
        tensors.append(map_coordinates(head, indices - push * outwards + own, order=1))
    return np.clip(np.stack(tensors), 0, 1.25).astype(np.float32)
