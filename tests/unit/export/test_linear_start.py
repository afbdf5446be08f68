"""What the linear paths know before the first step of training."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from med3d_export.networks import HeadStatistics, NetworkConfig, SymmetricMean, build_decoder, build_encoder
from med3d_export.networks.half_box import HalfBox
from med3d_export.networks.ridge import fit_ridge, ridge_at

GRID = (32, 32, 16)
CHANNELS = {"encoder_channels": [4, 8, 8], "decoder_channels": [2, 4, 8]}


def config(**changed: object) -> NetworkConfig:
    return NetworkConfig.model_validate({**CHANNELS, "latent": 64, "linear_rank": 40, **changed})


def smooth_heads(count: int, seed: int, noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Heads of two smooth factors each, the same left and right, and the factors (N, 2)."""
    chance = torch.Generator().manual_seed(seed)
    factors = torch.rand(count, 2, generator=chance) - 0.5
    slopes = torch.linspace(-1, 1, GRID[1])[:, None], torch.linspace(-1, 1, GRID[2])[None]
    planes = sum(factors[:, at, None, None] * slopes[at] for at in range(2))
    heads = 1.0 + 0.2 * planes[:, None, None].expand(-1, 1, *GRID)
    return heads + noise * torch.randn(heads.shape, generator=chance), factors


def centred(labels: torch.Tensor) -> torch.Tensor:
    return labels - labels.mean(dim=0)


def test_a_ridge_estimate_of_a_row_that_was_not_there_is_what_a_fit_without_it_gives():
    chance = np.random.default_rng(3)
    rows, labels = chance.normal(size=(9, 20)), chance.normal(size=(9, 2))
    left, singular, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    found = ridge_at(*map(torch.from_numpy, (left[:, :8], singular[:8], labels - labels.mean(axis=0))), penalty=2.5)
    for row in range(9):
        others = np.arange(9) != row
        expected = Ridge(alpha=2.5).fit(rows[others], labels[others]).predict(rows[[row]])[0] - labels.mean(axis=0)
        np.testing.assert_allclose(found.unseen[row].numpy(), expected, atol=1e-9)


def test_labels_that_the_rows_say_nothing_of_are_hardly_estimated_at_all():
    chance = torch.Generator().manual_seed(1)
    left = torch.linalg.qr(centred(torch.randn(60, 40, generator=chance)))[0]
    labels = centred(torch.randn(60, 30, generator=chance))
    assert fit_ridge(left, torch.ones(40), labels).seen.var() < 0.05 * labels.var()


def test_the_half_box_gives_back_what_is_smooth_and_the_same_left_and_right():
    heads, _ = smooth_heads(2, seed=0)
    box = HalfBox.around(heads.mean(dim=(0, 1)))
    again = box.unfold(box.fold(box.cut(heads[:1])))
    torch.testing.assert_close(again, heads[:1], atol=0.02, rtol=0)


def test_outside_the_half_box_there_is_nothing():
    mean_head = torch.zeros(GRID)
    mean_head[8:20, 10:20, 4:9] = 1.0
    box = HalfBox.around(mean_head)
    image = box.unfold(torch.ones(1, box.size))
    held = torch.nonzero(image[0, 0]).T
    assert [(int(axis.min()), int(axis.max()) + 1) for axis in held] == [(8, 24), (10, 20), (4, 10)]


def test_new_heads_that_are_alike_in_the_labels_are_nearer_where_labels_have_a_share_of_the_start():
    training, factors = smooth_heads(30, seed=1, noise=1.0)
    new, of_new = smooth_heads(30, seed=2, noise=1.0)
    found = []
    for share in (0.0, 0.6):
        encoder = build_encoder(config(label_share=share), HeadStatistics.of(training))
        encoder.start_from(training, centred(factors))
        with torch.no_grad():
            found.append(agreement(SymmetricMean(encoder).eval()(new), of_new))
    without, with_labels = found
    assert with_labels > without + 0.05


def test_training_heads_as_unseen_know_no_more_of_random_labels_than_new_heads_do():
    training, _ = smooth_heads(30, seed=1, noise=0.3)
    labels = centred(torch.randn(30, 3, generator=torch.Generator().manual_seed(5)))
    encoder = build_encoder(config(label_share=0.9), HeadStatistics.of(training))
    encoder.start_from(training, labels)
    with torch.no_grad():
        seen = SymmetricMean(encoder).eval()(training)
    assert agreement(seen, labels) > 0.3
    assert agreement(seen + encoder.as_unseen, labels) < 0.5 * agreement(seen, labels)


def agreement(latents: torch.Tensor, labels: torch.Tensor) -> float:
    """How alike the subjects that are near each other in the latent are in the labels (kernel alignment)."""
    one, other = (centred(rows) @ centred(rows).T for rows in (latents, labels))
    return float((one * other).sum() / one.norm() / other.norm())


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_the_latent_starts_with_an_average_variance_of_one_half(share):
    training, factors = smooth_heads(30, seed=1, noise=0.3)
    encoder = build_encoder(config(label_share=share, latent=96), HeadStatistics.of(training))
    encoder.start_from(training, centred(factors))
    with torch.no_grad():
        latents = SymmetricMean(encoder).eval()(training) + encoder.as_unseen
    assert float((latents - latents.mean(dim=0)).square().sum(dim=1).mean()) / 96 == pytest.approx(0.5, rel=0.25)


def test_the_decoder_starts_by_telling_new_heads_apart_as_far_as_they_are_linear_in_the_latent():
    training, new = smooth_heads(12, seed=1)[0], smooth_heads(5, seed=2)[0]
    heads = HeadStatistics.of(training)
    section = config(linear_rank=4, linear_decoder_rank=3)
    encoder, decoder = build_encoder(section, heads), build_decoder(section, heads)
    encoder.start_from(training, torch.zeros(12, 0))
    encode = SymmetricMean(encoder).eval()
    with torch.no_grad():
        decoder.start_from(encode(training), training)
        error = (decoder(encode(new)) - new).square().mean()
        of_the_mean_head = (heads.mean_head - new).square().mean()
    assert error < 0.15 * of_the_mean_head
