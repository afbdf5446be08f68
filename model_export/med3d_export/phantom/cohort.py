"""A phantom cohort as files that everything else takes for a normal cohort, or as tensors at once."""

import csv
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np

from med3d_export.phantom.anatomy import GRID_MM, PhantomAnatomy
from med3d_export.phantom.factors import PhantomDesign, PhantomFactors
from med3d_export.phantom.heads import phantom_head
from med3d_export.subjects.cohort import Cohort, CohortSubject
from med3d_export.training.values import Tensors
from med3d_pipeline.preprocessing.alignment.template import Template, grid_affine
from med3d_pipeline.preprocessing.intensity import scale_robustly
from med3d_pipeline.preprocessing.resampling import prefilter, resample, sample_linear
from med3d_pipeline.preprocessing.spec import PreprocessSpec
from med3d_pipeline.volume import Volume

FACTORS_CSV = "factors.csv"
BRIGHTEST = 20000


def person_name(person: int) -> str:
    """Return what the manifest calls a phantom."""
    return f"phantom-{person + 1:05d}"


def phantom_cohort(factors: PhantomFactors, folder: Path) -> Cohort:
    """Return the people, with the files that ``write_phantom_cohort`` writes below ``folder``."""
    rows = zip(factors.ages_years, factors.sexes, factors.sites, factors.sdmt, strict=True)
    return Cohort(
        tuple(
            CohortSubject(
                row=person + 2,
                participant_id=person_name(person),
                age_years=float(age),
                sex=str(sex),
                site=str(site),
                t1w=folder / "t1w" / f"{person_name(person)}_T1w.nii.gz",
                scanner=f"phantom {site}",
                sdmt=float(sdmt),
            )
            for person, (age, sex, site, sdmt) in enumerate(rows)
        )
    )


def write_phantom_cohort(
    factors: PhantomFactors, template: Template, folder: Path, seed: int, design: PhantomDesign
) -> Path:
    """Write participants.csv, factors.csv (the truth) and one NIfTI per person; returns the manifest."""
    anatomy, cohort = PhantomAnatomy.of(template), phantom_cohort(factors, folder)
    (folder / "t1w").mkdir(parents=True, exist_ok=True)
    manifest = folder / "participants.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("participant_id", "age", "sex", "site", "scanner", "sdmt", "t1w"))
        for s in cohort.subjects:
            said = (f"{s.age_years:.3f}", s.sex, s.site, s.scanner, f"{s.sdmt:.2f}")
            table.writerow((s.participant_id, *said, s.t1w.relative_to(folder).as_posix()))
    with (folder / FACTORS_CSV).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        columns = factors.columns()
        table.writerow(("participant_id", *columns))
        for person, values in enumerate(zip(*columns.values(), strict=True)):
            table.writerow((person_name(person), *values))
    for person, subject in enumerate(cohort.subjects):
        _write(phantom_head(anatomy, factors, person, design, seed), subject.t1w)
    return manifest


def _write(head: Volume, path: Path) -> None:
    voxels = np.round(np.clip(head.voxels, 0, 1.6) * BRIGHTEST).astype(np.int16)
    # No time stamp: the same factors give the same bytes.
    with gzip.GzipFile(path, "wb", mtime=0) as stream:
        stream.write(nib.Nifti1Image(voxels, head.affine).to_bytes())


def phantom_tensors(
    factors: PhantomFactors, template: Template, spec: PreprocessSpec, seed: int, design: PhantomDesign
) -> Tensors:
    """Return (N, X, Y, Z) float32 on the spec's grid, as after an extraction and a registration without any error.

    The pipeline's own prefilter, resampling and brightness; seconds where the whole preprocessing takes minutes.
    """
    # What the spec's grid could not show need not be made.
    anatomy = PhantomAnatomy.of(template, max(GRID_MM, spec.spacing_mm / 2))
    grid = grid_affine(template, spec)
    made = []
    for person in range(len(factors)):
        head = phantom_head(anatomy, factors, person, design, seed)
        brain = anatomy.volume((head.voxels > 0).astype(np.float32))
        width = spec.prefilter_fwhm * spec.spacing_mm
        voxels = resample(prefilter(head, width), spec.shape, grid, np.eye(4))
        share = sample_linear(prefilter(brain, width), spec.shape, grid, np.eye(4))
        made.append(scale_robustly(voxels, share, spec.intensity))
    return np.stack(made)
