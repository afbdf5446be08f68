"""The texts that travel with a bundle: model card, licence and notices."""

import numpy as np

from med3d_export.config import PopulationConfig, TrainingConfig
from med3d_export.evaluation_config import EvaluationConfig
from med3d_export.releasing.manifest_metrics import NETWORK_SHARE
from med3d_export.subjects.cohort import Cohort
from med3d_export.subjects.folds import Split, leave_one_site_out, stratified_folds
from med3d_pipeline.inference.manifest import SIMULATED_LABELS

BUNDLE_LICENCE = "CC-BY-SA-4.0 (weights and latents); brain networks MIT; template: MNI terms; see NOTICE"
LIMITS = (
    "Calibrated on the training cohort's scanners and ages; elsewhere the interval need not hold, and it is said.",
    "The latent knows age, and little else has been tested. A brain age gap is no diagnosis.",
    "Not for children, for heads with large lesions or surgery, or for contrast-enhanced scans.",
)
SIMULATED_SDMT = (
    "The SDMT head learned from simulated labels: it demonstrates the path and says nothing about a person."
)

REPEATABILITY = """\
## Repeatability

How far the brain age of one person moves with noise, resolution and pose (SD within a head, ICC), and whether it moves
with the way a scan is written down, is measured once a bundle is released: `med3d-export repeatability`. The project's
figures stand in docs/model/repeatability.md, with the digest of the bundle that they were made with."""

UNKNOWN_SITES = """\
A scan of **another site, or of none that is told, is not corrected and is worse off than with a model that corrects
for none**: on phantoms of three sites, one left out at a time, the error rose from 7.94 to 11.05 years
(docs/model/harmonisation.md). Such an answer says `site_not_corrected` and asks for a person."""


OBJECTIVES = {
    "infovae": "InfoVAE (Zhao et al. 2019)",
    "vae": "VAE",
    "beta-vae": "Beta-VAE",
    "beta-tc-vae": "Beta-TC-VAE",
    "wae-mmd": "WAE-MMD",
    "rae-l2": "RAE-L2",
    "autoencoder": "Autoencoder",
}
"""What a model is called by the recipe's objective."""


def objective_name(config: TrainingConfig) -> str:
    """Return the objective's name without its paper."""
    return OBJECTIVES[config.objective.kind].partition(" (")[0]


def limits(sdmt_evidence: str) -> tuple[str, ...]:
    """Return what the bundle is not good for; a head on simulated labels is named."""
    return (*LIMITS, SIMULATED_SDMT) if sdmt_evidence == SIMULATED_LABELS else LIMITS


def licence_text(population: PopulationConfig) -> str:
    """Return the bundle's LICENSE."""
    return (
        "encoder.onnx, decoder.onnx, heads/ and latent_space.npz are licensed under Creative Commons\n"
        "Attribution-ShareAlike 4.0 International (https://creativecommons.org/licenses/by-sa/4.0/), a later version\n"
        "of "
        f"the licence of the data that they were trained on ({population.name}: {population.licence}).\n"
        "The other files have the terms that NOTICE states.\n"
    )


def notice_text(population: PopulationConfig) -> str:
    """Return the bundle's NOTICE: whose work each file stands on."""
    return f"""Training data: {population.name}. {population.description}
  {population.source}
  {population.licence}

brain_box.onnx, brain_mask.onnx: the two networks of deepbet, converted to ONNX.
  MIT License, Copyright (c) 2023 Medical Machine Learning Lab - University of Münster.
  Fisch et al., deepbet: Fast brain extraction of T1-weighted MRI using convolutional neural networks (2024).

template.nii.gz, template_mask.nii.gz: the MNI152 2009a T1 template, skull-stripped, as nilearn ships it.
  Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill
  University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose and
  without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and McGill
  University make no representations about the suitability of this software for any purpose. It is provided "as is"
  without express or implied warranty. The authors are not responsible for any data loss, equipment damage, property
  loss, or injury to subjects or patients resulting from the use or misuse of this software package.
  Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54 (2011).

reference_case/input.nii.gz: the average head that the pydeface wheel carries, resampled to 2 mm.
  MIT License, Copyright (c) 2015.
"""


def model_card(
    config: TrainingConfig, cohort: Cohort, metrics: dict[str, float], sdmt_evidence: str, minutes: float
) -> str:
    """Write docs/README.md of the bundle; ``metrics`` are those of the manifest."""
    parts = (
        _origin(config, cohort),
        _training(config, cohort, metrics, minutes),
        _cross_validation(config, cohort, metrics),
        _groups(metrics),
        _sites(config, cohort, metrics),
        _intervals_and_images(metrics),
        REPEATABILITY,
        _sdmt(sdmt_evidence, metrics),
        "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits(sdmt_evidence)),
    )
    return "\n\n".join(parts) + "\n"


def _origin(config: TrainingConfig, cohort: Cohort) -> str:
    ages, sexes, population = cohort.ages_years, cohort.sexes, config.population
    return f"""# {config.name} {config.version}

{OBJECTIVES[config.objective.kind]} with a {config.network.latent}-d latent, after InfoVAE-Med3D (arXiv 2510.00051). \
That paper
publishes no loss weights, kernel or splits: those here are our own choice. Support vector regressions
read the latent's mean. Research use only; not a medical device.

## Data

{population.description} {len(cohort)} scans of {len(set(cohort.participant_ids.tolist()))} subjects, {ages.min():.0f}
to {ages.max():.0f} years (mean {ages.mean():.1f}), {(sexes == "F").sum()} of women and {(sexes == "M").sum()} of men.
{population.source}; {population.licence}."""


def _training(config: TrainingConfig, cohort: Cohort, m: dict[str, float], minutes: float) -> str:
    objective = ", ".join(f"{name} = {value}" for name, value in config.objective.model_dump().items())
    fits = len(_split(config, cohort).folds) * config.evaluation.repeats + 1
    aside = ", without the age networks" if config.age_network is not None else ""
    return f"""## Training

Objective: {objective}. {config.optimiser.epochs} epochs of AdamW, averaged weights.
{_supervision(config, m)}
The released latent is the posterior's mean{_start(config)} All {fits} fits together took
{minutes:.0f} minutes{aside}."""


def _split(config: TrainingConfig, cohort: Cohort) -> Split:
    """Return outer folds as the run has them."""
    settings = config.evaluation
    if settings.split == "leave-one-site-out":
        return leave_one_site_out(cohort)
    return stratified_folds(cohort, settings.outer_folds, config.seed)


def _start(config: TrainingConfig) -> str:
    network = config.network
    if not network.linear_rank:
        return ", averaged over the head and its mirror image."
    codes = f"{network.linear_rank} whitened codes of the whole head"
    if network.local_codes:
        codes += f" and {network.local_codes} of its cubes"
    copies = network.start_copies
    of_cubes = f" and, for the cubes, {copies} varied copies of each" if network.local_codes and copies else ""
    return f""". Both networks start in closed form: {codes},
from the training heads{of_cubes}.{_copies_of_heads(config.evaluation)}"""


def _copies_of_heads(evaluation: EvaluationConfig) -> str:
    if not evaluation.head_copies:
        return ""
    copies = f"{evaluation.head_copies} varied copies of each head"
    if evaluation.head_copy_weight:
        return f" The support vector regressions learn from {copies}, too."
    return f" From {copies} the support vector regressions know what other scanners change, and hear it less."


def _cross_validation(config: TrainingConfig, cohort: Cohort, m: dict[str, float]) -> str:
    names = {
        "brain_age": "this model",
        "baseline_mean_only": "mean age only",
        "baseline_untrained_start": "this model before training",
        "baseline_voxel_pca_svr": "voxel PCA + SVR",
        "baseline_voxel_kernel_ridge": "linear kernel ridge on voxels",
        "baseline_volume_ridge": "ridge on regional volumes of a segmentation",
        "brain_age_corrected": "this model, bias-corrected",
    }
    rows = "\n".join(_row(name, prefix, m) for prefix, name in names.items() if f"{prefix}_mae" in m)
    return f"""## Cross-validation

{_split(config, cohort).description}, {config.evaluation.repeats} times with
folds and seeds of their own. In every fold encoder, scaler and SVR are fitted anew; no subject is tested by a model
that has seen it. Baselines on the same tensors and folds. Years, means over the repeats:

| | MAE | RMSE | r | R2 | slope of the gap on age |
|---|---|---|---|---|---|
{rows}

95 % interval of the first row's MAE over subjects: {m["brain_age_mae_lower_95"]:.2f} to
{m["brain_age_mae_upper_95"]:.2f}. Two methods as alike as the baselines that read the same voxels cannot be told apart
with this cohort where their MAE differs by less than {m["detectable_difference_years"]:.2f} years; others need more.
The bias-corrected row takes out what age alone explains of the gap
(coefficients from each fold's training subjects). It needs
the true age and must not be compared with the rows above it."""


def _groups(m: dict[str, float]) -> str:
    prefix = "brain_age_mae_"
    skipped = {"lower_95", "upper_95", "varied_copies"}
    found = {key.removeprefix(prefix): value for key, value in m.items() if key.startswith(prefix)}
    rows = "\n".join(f"| {_group(name)} | {value:.2f} |" for name, value in found.items() if name not in skipped)
    shares = (
        f"""

Varied copies of held-out heads, as other scanners might have shown them (the recipe's augmentation): MAE
{m["brain_age_mae_varied_copies"]:.2f} years."""
        if "brain_age_mae_varied_copies" in m
        else ""
    )
    return f"""## By age, sex and site

| | MAE, years |
|---|---|
{rows}{shares}{_biases(m)}"""


def _biases(m: dict[str, float]) -> str:
    prefix = "brain_age_bias_site_"
    found = [f"{key.removeprefix(prefix)} {value:+.1f}" for key, value in m.items() if key.startswith(prefix)]
    return f"\n\nMean of estimate minus age, years, by site: {', '.join(found)}." if found else ""


def _group(name: str) -> str:
    if name.startswith("site_"):
        return name.removeprefix("site_")
    return name.replace("_", " ") + (" years" if "_to_" in name else "")


def _sites(config: TrainingConfig, cohort: Cohort, m: dict[str, float]) -> str:
    """Tell whether there is a correction for sites, which ones it knows, and what it does to held-out scans."""
    names, counts = np.unique(cohort.sites, return_counts=True)
    scans = ", ".join(f"{name} ({count} scans)" for name, count in zip(names, counts, strict=True))
    if config.evaluation.harmonisation == "none":
        return f"## Sites\n\nTrained at: {scans}. There is **no correction for sites**.{_site_in_latent(m)}"
    left_out = config.evaluation.split == "leave-one-site-out"
    known = (
        "one site left out at a time, so not corrected" if left_out else "held-out scans, corrected by training ones"
    )
    rows = [("brain age, MAE in years", m["uncorrected_brain_age_mae"], m["brain_age_mae"])]
    if "uncorrected_site_accuracy" in m:
        name = f"site read out of the latent, balanced accuracy (a guess gets {m['site_accuracy_guessing']:.2f})"
        rows.append((name, m["uncorrected_site_accuracy"], m["site_accuracy"]))
    cells = "\n".join(f"| {name} | {without:.2f} | {corrected:.2f} |" for name, without, corrected in rows)
    return f"""## Sites

**Corrected for sites**: what each adds to the latent (ComBat's shift, Johnson et al. 2007) is taken out before heads
and maps. Known, and spelt so: {scans}.

| {known} | without | with the correction |
|---|---|---|
{cells}

{UNKNOWN_SITES}"""


def _site_in_latent(m: dict[str, float]) -> str:
    if "site_accuracy" not in m:
        return ""
    found, guessing = m["site_accuracy"], m["site_accuracy_guessing"]
    seen = f"balanced accuracy of {found:.2f} (a guess: {guessing:.2f})"
    return f"\nA scan's site is read out of held-out latents with a {seen}."


def _intervals_and_images(m: dict[str, float]) -> str:
    auc = f" Sex from the latent: AUC {m['sex_auc']:.2f}." if "sex_auc" in m else ""
    return f"""## Intervals

+/- {m["interval_half_width_years"]:.1f} years (conformal, out-of-fold residuals). Stated level
{m["coverage_level"]:.2f}, measured {m["coverage"]:.3f} (95 % Clopper-Pearson {m["coverage_lower_95"]:.3f} to
{m["coverage_upper_95"]:.3f}). The folds' models saw fewer subjects than the released one.

## Heads unlike the training heads

The limits on the latent's distance come from held-out subjects. They send {m["false_review_rate"]:.1%} of good held-out
heads to review (at most {m["false_review_rate_upper"]:.1%} with 97.5 % confidence) and refuse
{m["false_refusal_rate"]:.1%} (at most {m["false_refusal_rate_upper"]:.1%}).

## Reconstruction and latent

Held-out heads: SSIM {m["ssim_brain"]:.3f} and PSNR {m["psnr_brain"]:.2f} dB inside the brain, {m["ssim_whole"]:.3f} and
{m["psnr_whole"]:.2f} dB over the whole volume. The median head keeps {m["reconstruction_error_share"]:.0%} of
the mean head's squared error (100 % or more: the decoder shows no more than the mean head does).{auc}"""


def _sdmt(evidence: str, m: dict[str, float]) -> str:
    said = "**simulated labels**, a demonstration" if evidence == SIMULATED_LABELS else evidence
    return f"""## SDMT

Labels: {said}. Out of fold r {m["sdmt_r"]:.2f}, MAE {m["sdmt_mae"]:.1f} points; age and sex alone:
r {m["sdmt_baseline_age_sex_r"]:.2f}, MAE {m["sdmt_baseline_age_sex_mae"]:.1f} points."""


def _row(name: str, prefix: str, metrics: dict[str, float]) -> str:
    values = [metrics[f"{prefix}_{key}"] for key in ("mae", "rmse", "r", "r2", "gap_slope")]
    return f"| {name} | {values[0]:.2f} | {values[1]:.2f} | {values[2]:.2f} | {values[3]:.2f} | {values[4]:.2f} |"


def _supervision(config: TrainingConfig, m: dict[str, float]) -> str:
    weights = {
        name.removesuffix("_weight"): value
        for name, value in config.supervision.model_dump().items()
        if name.endswith("_weight") and value
    }
    adversary = weights.pop("site_adversary", 0.0)
    hidden = f" A head that learns the site (weight {adversary:g}) has it hide the site." if adversary else ""
    terms = " and ".join(f"{name.replace('_', ' ')} (weight {value:g})" for name, value in weights.items())
    thrown = f"heads that are thrown away learn {terms} of the training subjects"
    if config.age_network is not None:
        also = f"\nIts other numbers are semi-supervised, too: {thrown}." if weights else ""
        return (
            f"The encoder is semi-supervised: the last number of its latent is the mean age that\n"
            f"{config.age_network.members} small convolutional networks tell, which learned the ages of the training "
            f"subjects under strong variation.\nOf a training subject the heads hear the age that a network tells "
            f"which had not seen that subject. The decoder sees none of it.{_share(m)}{also}{hidden}"
        )
    if not weights:
        return f"No label reached the encoder: it is unsupervised.{hidden}"
    return f"The encoder is semi-supervised: {thrown}.{hidden}"


def _share(m: dict[str, float]) -> str:
    if NETWORK_SHARE not in m:
        return ""
    return (
        f"\nAn estimated age is {m[NETWORK_SHARE]:.0%} theirs; the rest is the regression's on the other numbers. The "
        "share is what fits the training\nsubjects best, each as a network and a regression tell it that had not "
        "learned from it."
    )
