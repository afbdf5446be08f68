"""Fits of a tiny network on 16 x 16 x 16 tensors: seconds each, with the real Lightning trainer."""

import multiprocessing

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from med3d_export.cross_validation import checked_weights
from med3d_export.training import (
    EpochReport,
    FittedAutoencoder,
    TrainingError,
    fit_autoencoder,
    rebuild,
    start_autoencoder,
    weights_of,
)
from med3d_export.training.batches import EpochOrder, set_apart
from med3d_export.training.label_heads import LabelHeads
from rig.science.tiny_fits import SUBJECTS, fit, fit_on_a_small_disk, labelled, people, recipe, tensors


def same_weights(one: FittedAutoencoder, other: FittedAutoencoder) -> bool:
    first, second = weights_of(one), weights_of(other)
    return all(np.array_equal(first[part][name], second[part][name]) for part in first for name in first[part])


class PulledPlugError(Exception):
    """What stands for a power cut."""


def pull_the_plug_in(epoch: int):
    def on_epoch(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise PulledPlugError

    return on_epoch


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"optimiser": {"held_out_fraction": 0.25, "patience": 3}},
        {"objective": {"kind": "beta-tc-vae", "beta": 4.0, "decoder_sd": 0.1}, "augmentation": {"mixup": 0.3}},
        {"supervision": {"dropout": 0.5}, "network": {"checkpointing": "activations"}},
    ],
    ids=["infovae", "early stop", "beta-tc-vae with mixup", "dropout, recomputed"],
)
def test_a_fit_that_was_cut_short_goes_on_to_the_same_curve_and_weights_bit_for_bit(tmp_path, sections):
    config = recipe(**sections)
    whole = fit(config)
    with pytest.raises(PulledPlugError):
        fit(config, tmp_path, pull_the_plug_in(2))
    resumed_epochs = []
    resumed = fit(config, tmp_path, lambda report: resumed_epochs.append(report.epoch))
    assert resumed_epochs == [2, 3]
    assert resumed.curve == whole.curve
    assert same_weights(resumed, whole)
    again = fit(config, tmp_path, pull_the_plug_in(0))
    assert again.curve == whole.curve
    assert same_weights(again, whole)


def test_the_seed_decides_everything():
    config = recipe()
    first, again, other = fit(config), fit(config), fit(config, seed=2)
    assert first.curve == again.curve
    assert same_weights(first, again)
    assert not same_weights(first, other)


@pytest.mark.parametrize("changed", [{"seed": 2}, {"config": recipe(optimiser={"learning_rate": 2e-3})}])
def test_a_folder_of_another_recipe_or_seed_is_refused_and_left_as_it_is(tmp_path, changed):
    fit(recipe(), tmp_path)
    before = (tmp_path / "fitted.pt").read_bytes()
    with pytest.raises(TrainingError, match=r"checkpoint_mismatch: .* another folder"):
        fit(changed.get("config", recipe()), tmp_path, seed=changed.get("seed", 1))
    assert (tmp_path / "fitted.pt").read_bytes() == before


@pytest.mark.parametrize("learning_rate", [1e30])
def test_a_loss_that_is_not_finite_ends_with_the_last_good_checkpoint(tmp_path, learning_rate):
    wrong = recipe(optimiser={"learning_rate": learning_rate, "warmup_fraction": 0.9, "weight_decay": 0.0})
    with pytest.raises(TrainingError, match=r"loss_not_finite: .* lower learning_rate") as caught:
        fit(wrong, tmp_path)
    if caught.value.checkpoint is not None:
        stored = torch.load(caught.value.checkpoint, weights_only=True)
        assert all(value.isfinite().all() for value in stored["state_dict"].values() if torch.is_tensor(value))


def test_a_tensor_that_is_not_finite_is_named_before_anything_is_trained():
    spoilt = tensors()
    spoilt[3, 0, 0, 0] = np.nan
    with pytest.raises(TrainingError, match="bad_tensors: the tensors at places 3 hold"):
        fit_autoencoder(spoilt, labelled(), recipe(), 1)


def test_a_full_disk_ends_with_the_last_good_checkpoint_which_can_be_gone_on_from(tmp_path):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=fit_on_a_small_disk, args=(tmp_path, answers))
    child.start()
    code, said, checkpoint = answers.get(timeout=120)
    child.join(30)
    assert code == "disk_full"
    assert "there is no room for a checkpoint of" in said
    assert "last.ckpt holds the last good epoch" in said
    assert checkpoint == tmp_path / "last.ckpt"
    assert not list(tmp_path.glob("*.part"))
    assert fit(recipe(), tmp_path).curve == fit(recipe()).curve


def test_full_memory_says_what_to_lower_and_keeps_the_last_good_checkpoint(tmp_path):
    def greedy(report: EpochReport) -> None:
        if report.epoch == 1:
            torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(TrainingError, match=r"out_of_memory: .* lower batch") as caught:
        fit(recipe(), tmp_path, greedy)
    assert caught.value.checkpoint == tmp_path / "last.ckpt"
    assert fit(recipe(), tmp_path).curve == fit(recipe()).curve


def test_other_faults_pass_as_they_are():
    def broken(_report: EpochReport) -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fit(recipe(), on_epoch=broken)


def test_the_fit_learns_and_its_curve_names_every_term():
    fitted = fit(recipe(optimiser={"epochs": 12}, supervision={"dropout": 0.0}))
    first, last = fitted.curve[0], fitted.curve[-1]
    assert last.total < first.total
    assert set(last.terms) == {"reconstruction", "kl", "mmd", "supervised", "site"}
    assert last.supervised < first.supervised
    assert EpochReport(**last.plain()) == last


def test_the_adversary_learns_the_site_while_the_encoder_learns_to_hide_it():
    torch.manual_seed(0)
    heads = LabelHeads(8, labelled(), dropout=0.0)
    mean, sites = torch.randn(SUBJECTS, 8, requires_grad=True), torch.arange(SUBJECTS) % 2
    alone = (torch.arange(SUBJECTS), torch.ones(SUBJECTS))
    labels = torch.from_numpy(labelled().values)
    *_, site = heads.penalties(mean, labels, sites, alone)
    site.value.backward()
    expected = torch.nn.functional.cross_entropy(heads.to_site(mean), sites)
    hides, learns = torch.autograd.grad(expected, [mean, heads.to_site.weight])
    torch.testing.assert_close(mean.grad, -hides)
    torch.testing.assert_close(heads.to_site.weight.grad, learns)


def test_an_early_stop_leaves_the_best_epochs_weights():
    config = recipe(optimiser={"epochs": 30, "held_out_fraction": 0.25, "patience": 2, "learning_rate": 3e-2})
    fitted = fit(config)
    watched = [report.held_out["total"] for report in fitted.curve]
    assert len(watched) < 30
    assert np.argmin(watched) == len(watched) - 3
    shorter = fit(recipe(optimiser={"epochs": 30, "held_out_fraction": 0.25, "learning_rate": 3e-2}))
    assert not same_weights(fitted, shorter)


def test_patience_without_anybody_to_watch_is_refused():
    with pytest.raises(ValidationError, match="set held_out_fraction above 0"):
        recipe(optimiser={"patience": 2})


def test_subjects_set_apart_are_whole_subjects():
    subjects = np.repeat(people(10), 3)
    own, watched = set_apart(subjects, 0.3, seed=4)
    assert len(set(subjects[watched])) == 3
    assert not set(subjects[own]) & set(subjects[watched])
    assert sorted([*own, *watched]) == list(range(30))
    assert len(set_apart(subjects, 0.0, seed=4)[1]) == 0


def test_processes_share_an_epoch_without_meeting_and_each_epoch_has_an_order_of_its_own():
    orders = [EpochOrder(11, seed=1, process=process, processes=2) for process in (0, 1)]
    drawn = []
    for epoch in (0, 1):
        for order in orders:
            order.set_epoch(epoch)
        shares = [list(order) for order in orders]
        assert [len(share) for share in shares] == [5, 5]
        assert not set(shares[0]) & set(shares[1])
        drawn.append(shares)
    assert drawn[0] != drawn[1]


def test_two_processes_train_one_model():
    config = recipe(hardware={"devices": 2, "strategy": "ddp_spawn"}, optimiser={"epochs": 2, "batch": 2})
    fitted = fit(config)
    assert len(fitted.curve) == 2
    assert np.isfinite(fitted.encode(tensors())).all()
    assert not same_weights(fitted, start_autoencoder(tensors(), labelled(), config, 1))


def test_bfloat16_trains_to_about_the_same_curve():
    exact, rounded = fit(recipe()), fit(recipe(hardware={"precision": "bf16-mixed"}))
    assert rounded.curve[-1].total == pytest.approx(exact.curve[-1].total, rel=0.05)
    assert rounded.curve != exact.curve


def test_tensorboard_gets_every_epoch(tmp_path):
    fitted = fit(recipe(), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    totals = [event.value for event in events.Scalars("training/total")]
    np.testing.assert_allclose(totals, [report.total for report in fitted.curve], rtol=1e-6)


@pytest.mark.parametrize("kind", ["convolutions", "components", "cubes"])
def test_weights_as_arrays_make_the_same_networks_again(kind):
    codes = {
        "convolutions": {"linear_rank": 0},
        "components": {"linear_rank": 4},
        # As many cubes and such an average that 0.9 * 7 + 0.1 * 7 is a little less than the seventh cube's number.
        "cubes": {"linear_rank": 4, "local_codes": 40, "latent": 44, "cube_voxels": 8, "cube_step": 6},
    }
    config = recipe(network=codes[kind], optimiser={"ema_decay": 0.9})
    fitted = fit(config)
    again = rebuild(weights_of(fitted), config, fitted.curve)
    np.testing.assert_array_equal(again.encode(tensors()), fitted.encode(tensors()))
    latents = fitted.encode(tensors())
    np.testing.assert_array_equal(again.reconstruct(latents), fitted.reconstruct(latents))


def test_weights_that_do_not_make_the_fitted_networks_again_are_not_kept():
    config = recipe(network={"linear_rank": 4, "local_codes": 8, "latent": 12, "cube_voxels": 10, "cube_step": 6})
    fitted = fit(config)
    assert checked_weights(fitted, config, tensors()[:1]).keys() == {"encoder", "decoder"}
    rows = fitted.encoder.linear.local.rows
    first, second = list(rows)[:2]
    rows[first], rows[second] = rows[second], rows[first]
    with pytest.raises(TrainingError, match="weights_differ"):
        checked_weights(fitted, config, tensors()[:1])


def test_a_fit_encodes_reconstructs_and_samples():
    fitted = fit(recipe())
    assert fitted.posterior(tensors()).mean.shape == (SUBJECTS, 8)
    assert fitted.reconstruct(fitted.encode(tensors())).shape == (SUBJECTS, 16, 16, 16)
    assert fitted.sample(2, seed=3).shape == (2, 16, 16, 16)
    np.testing.assert_array_equal(fitted.sample(2, seed=3), fitted.sample(2, seed=3))
    flipped = np.ascontiguousarray(tensors()[:, ::-1])
    np.testing.assert_allclose(fitted.encode(flipped), fitted.encode(tensors()), atol=1e-5)
