import math

import pytest
import torch
from pydantic import ValidationError

from med3d_export.config import ObjectiveConfig
from med3d_export.mmd import LatentBank, inverse_multiquadric, maximum_mean_discrepancy
from med3d_export.objective import ObjectiveWeights, infovae_objective, kl_nats, reconstruction_nats

DIMENSION = 512


def draws(count: int, seed: int, width: float = 1.0) -> torch.Tensor:
    return width * torch.randn(count, DIMENSION, generator=torch.Generator().manual_seed(seed))


def discrepancy(latents: torch.Tensor, seed: int = 0) -> float:
    return float(maximum_mean_discrepancy(latents, torch.empty(0, DIMENSION), draws(256, 1000 + seed)))


def test_the_kernel_sees_collapse_and_half_width_at_512_dimensions_far_above_its_noise():
    noise = [abs(discrepancy(draws(64, seed), seed)) for seed in range(8)]
    collapsed = discrepancy(draws(64, 1, width=0.0))
    halved = discrepancy(draws(64, 2, width=0.5))
    assert halved > 5 * max(noise)
    assert collapsed > 5 * max(noise)


def test_the_often_copied_kernel_sees_neither():
    def flat(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return torch.exp(-torch.cdist(left, right).square() / DIMENSION**2)

    def squared(latents: torch.Tensor, prior: torch.Tensor) -> float:
        own, other = flat(latents, latents), flat(prior, prior)
        n, m = len(latents), len(prior)
        within = (own.sum() - n) / (n * (n - 1)) + (other.sum() - m) / (m * (m - 1))
        return float(within - 2 * flat(latents, prior).mean())

    collapsed = squared(draws(64, 1, width=0.0), draws(256, 3))
    assert abs(collapsed) < 1e-4


def test_the_kernel_is_one_for_equal_latents_and_falls_with_distance():
    latents = draws(3, 5)
    kernel = inverse_multiquadric(latents, latents)
    torch.testing.assert_close(kernel.diagonal(), torch.ones(3), atol=1e-3, rtol=0)
    far = inverse_multiquadric(torch.zeros(1, DIMENSION), torch.full((1, DIMENSION), 10.0))
    assert float(far) < float(kernel[0, 1])


def test_a_batch_of_one_learns_from_the_bank_and_only_itself_gets_a_gradient():
    latent = draws(1, 7, width=0.1).requires_grad_()
    banked = draws(32, 8, width=0.1).requires_grad_()
    bank = LatentBank(64, DIMENSION)
    bank.push(banked)
    maximum_mean_discrepancy(latent, bank.latents, draws(16, 9)).backward()
    assert latent.grad is not None
    assert latent.grad.abs().sum() > 0
    assert banked.grad is None


def test_a_batch_of_one_with_an_empty_bank_is_finite():
    assert math.isfinite(discrepancy(draws(1, 1)))


def test_the_bank_forgets_the_oldest():
    bank = LatentBank(3, 1)
    bank.push(torch.tensor([[1.0], [2.0]]))
    bank.push(torch.tensor([[3.0], [4.0]]))
    assert bank.latents.flatten().tolist() == [2.0, 3.0, 4.0]
    empty = LatentBank(0, 1)
    empty.push(torch.ones(2, 1))
    assert len(empty.latents) == 0


@pytest.mark.parametrize(("a", "l"), [(0.0, 0.5), (0.5, 0.4), (1.0, -0.1)])
def test_weights_that_would_reward_leaving_the_prior_are_refused(a, l):  # noqa: E741
    with pytest.raises(ValueError, match="at least 1"):
        ObjectiveWeights(a=a, l=l, decoder_sd=1.0)
    with pytest.raises(ValidationError, match="at least 1"):
        ObjectiveConfig(a=a, l=l, decoder_sd=1.0)


def test_a_zero_and_l_one_is_the_vae_and_a_one_leaves_mmd_alone():
    vae = ObjectiveWeights(a=0.0, l=1.0, decoder_sd=1.0)
    assert (vae.kl_weight, vae.mmd_weight) == (1.0, 0.0)
    wae = ObjectiveWeights(a=1.0, l=10.0, decoder_sd=1.0)
    assert (wae.kl_weight, wae.mmd_weight) == (0.0, 10.0)


def test_the_reductions_are_sums_over_voxels_and_dimensions_and_means_over_the_batch():
    tensor = torch.zeros(2, 1, 2, 2, 2)
    assert float(reconstruction_nats(tensor, tensor + 0.2, decoder_sd=0.1)) == pytest.approx(8 * 0.04 / 0.02)
    assert float(kl_nats(torch.ones(2, 4), torch.zeros(2, 4))) == pytest.approx(2.0)


def test_the_total_is_the_weighted_sum_per_voxel():
    tensor, mean = torch.zeros(2, 1, 2, 2, 2), torch.full((2, 4), 0.5)
    weights = ObjectiveWeights(a=0.25, l=3.0, decoder_sd=0.5)
    terms = infovae_objective(tensor, tensor + 1, mean, torch.zeros(2, 4), mean, LatentBank(4, 4), weights)
    expected = terms.reconstruction + 0.75 * terms.kl + 2.25 * terms.mmd
    assert float(terms.total) == pytest.approx(float(expected) / 8)
