"""The texts that travel with a bundle: model card, licence and notices."""

from med3d_export.cohort import Cohort
from med3d_export.config import PopulationConfig, TrainingConfig

BUNDLE_LICENCE = "CC-BY-SA-4.0 (weights and latents); brain networks MIT; template: MNI terms; see NOTICE"
LIMITS = (
    "Trained and calibrated on healthy adults of one scanner; elsewhere the interval need not hold, and it is said.",
    "The SDMT head learned from simulated labels: it demonstrates the path and says nothing about a person.",
    "The latent knows age, and little else has been tested. A brain age gap is no diagnosis.",
    "Not for children, for heads with large lesions or surgery, or for contrast-enhanced scans.",
)


def licence_text(population: PopulationConfig) -> str:
    """The bundle's LICENSE."""
    return (
        "encoder.onnx, decoder.onnx, heads/ and latent_space.npz are licensed under Creative Commons\n"
        "Attribution-ShareAlike 4.0 International (https://creativecommons.org/licenses/by-sa/4.0/), a later version\n"
        "of "
        f"the licence of the data that they were trained on ({population.name}: {population.licence}).\n"
        "The other files have the terms that NOTICE states.\n"
    )


def notice_text(population: PopulationConfig) -> str:
    """The bundle's NOTICE: whose work each file stands on."""
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


def model_card(config: TrainingConfig, cohort: Cohort, metrics: dict[str, float], minutes: float) -> str:
    """docs/README.md of the bundle."""
    ages, sexes, m = cohort.ages_years, cohort.sexes, metrics
    limits = "\n".join(f"- {limit}" for limit in LIMITS)
    weights = f"a = {config.objective.a:g}, l = {config.objective.l:g}, decoder SD {config.objective.decoder_sd:g}"
    schedule = f"latent bank of {config.objective.bank}; {config.optimiser.epochs} epochs of AdamW, averaged weights"
    measured = (
        f"{m['coverage']:.3f} (95 % Clopper-Pearson {m['coverage_lower_95']:.3f} to {m['coverage_upper_95']:.3f})"
    )
    return f"""# {config.name} {config.version}

InfoVAE (Zhao et al. 2019) with a {config.network.latent}-d latent, after InfoVAE-Med3D (arXiv 2510.00051). That paper
publishes no loss weights, kernel or splits: those here are our own choice. Support vector regressions
read the latent's mean. Research use only; not a medical device.

## Data

{config.population.description} {len(cohort)} subjects, {ages.min():.0f} to {ages.max():.0f} years (mean
{ages.mean():.1f}), {(sexes == "F").sum()} women, {(sexes == "M").sum()} men. {config.population.source};
{config.population.licence}.

## Training

`recon + (1 - a) KL + (a + l - 1) MMD` with {weights},
multi-scale inverse multiquadric kernel, {schedule}.
{_supervision(config)}
The posterior's mean is the sum of a residual convolutional path and a linear path that starts at the principal
components of the fit's own training heads; the released latent is that mean, averaged over the head and its mirror
image. All {config.evaluation.outer_folds + 1} fits together took {minutes:.0f} minutes.

## Cross-validation

{config.evaluation.outer_folds} outer folds, stratified by age and sex. In every fold encoder, scaler
and SVR are fitted anew; no subject is tested by a model that has seen it. Years:

| | MAE | RMSE | r | R2 | slope of the gap on age |
|---|---|---|---|---|---|
{_row("this model", "brain_age", m)}
{_row("mean age only", "baseline_mean_only", m)}
{_row("this model before training: its linear path alone", "baseline_untrained_start", m)}
{_row("linear kernel ridge on the same tensors' voxels, same folds", "baseline_voxel_kernel_ridge", m)}
{_row("this model, bias-corrected", "brain_age_corrected", m)}

The last row takes out what age alone explains of the gap (coefficients from the other folds). It needs the true age and
must not be compared with the rows above it.

Intervals: +/- {m["interval_half_width_years"]:.1f} years (split conformal, out-of-fold residuals). Stated level
{m["coverage_level"]:.2f}, measured {measured}. The folds' models saw a fifth fewer subjects than the released one.

Reconstruction: the median held-out head keeps {m["reconstruction_error_share"]:.0%} of the mean head's squared error
(100 % or more: the decoder shows no more than the mean head does).

SDMT (**simulated labels**, a demonstration): out-of-fold r {m["sdmt_simulated_r"]:.2f} with the simulated scores, MAE
{m["sdmt_simulated_mae"]:.1f} points.

## Limits

{limits}
"""


def _row(name: str, prefix: str, metrics: dict[str, float]) -> str:
    values = [metrics[f"{prefix}_{key}"] for key in ("mae", "rmse", "r", "r2", "gap_slope")]
    return f"| {name} | {values[0]:.2f} | {values[1]:.2f} | {values[2]:.2f} | {values[3]:.2f} | {values[4]:.2f} |"


def _supervision(config: TrainingConfig) -> str:
    supervision = config.supervision
    terms = []
    if supervision.age_weight > 0:
        terms.append(f"age (weight {supervision.age_weight:g})")
    if supervision.volumes_weight > 0:
        terms.append(f"regional brain volumes (weight {supervision.volumes_weight:g})")
    if not terms:
        return "No label reached the encoder: it is unsupervised."
    return (
        "The encoder is semi-supervised: a linear head on the latent's mean learns\n"
        f"{' and '.join(terms)} of the training subjects and is thrown away afterwards."
    )
