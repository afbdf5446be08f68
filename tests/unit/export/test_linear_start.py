"""What the linear paths know before the first step of training."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from med3d_export.networks import HeadStatistics, NetworkConfig, SymmetricMean, build_decoder, build_encoder
from med3d_export.networks.half_box import HalfBox
from med3d_export.networks.local_contrast import LocalContrast
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


def striped_heads(count: int, seed: int) -> torch.Tensor:
    """Heads whose stripes are as strong as two factors say, one in front and one behind."""
    factors = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) + 0.5
    stripes = torch.where(torch.arange(GRID[2]) % 8 < 4, 0.1, -0.1).expand(GRID)
    strength = factors.repeat_interleave(GRID[1] // 2, dim=1)[:, None, None, :, None]
    return 1.0 + strength * stripes


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


def test_the_latent_starts_with_an_average_variance_of_one_half():
    training, _ = smooth_heads(30, seed=1, noise=0.3)
    encoder = build_encoder(config(latent=96), HeadStatistics.of(training))
    encoder.start_from(training, training[:0])
    with torch.no_grad():
        latents = SymmetricMean(encoder).eval()(training)
    assert float((latents - latents.mean(dim=0)).square().sum(dim=1).mean()) / 96 == pytest.approx(0.5, rel=0.05)


def test_local_contrast_stands_out_where_a_border_has_moved_and_is_about_zero_on_average_over_the_training_heads():
    chance = torch.Generator().manual_seed(4)
    training = 1.0 + 0.02 * torch.randn(20, 1, *GRID, generator=chance)
    contrast = LocalContrast(training.mean(dim=(0, 1)))
    contrast.start_from(training)
    moved = torch.ones(1, 1, *GRID)
    moved[..., :8, :] = 0.3  # a border between the planes 7 and 8
    found = contrast(moved).reshape(-1, 15, 7)
    assert float(contrast(training).mean(dim=0).abs().max()) < 0.6
    # Windows 6, 7 and 8: the one in the middle holds the border. All others are flat, where training heads have noise.
    assert found[:, 3].min() > found[:, 8:].max() + 0.5


def test_the_decoder_starts_by_telling_new_heads_apart_by_their_latents():
    training, new = striped_heads(12, seed=1), striped_heads(5, seed=2)
    heads = HeadStatistics.of(training)
    section = config(linear_rank=4, linear_decoder_rank=3)
    encoder, decoder = build_encoder(section, heads), build_decoder(section, heads)
    encoder.start_from(training, training[:0])
    encode = SymmetricMean(encoder).eval()
    with torch.no_grad():
        decoder.start_from(encoder, lambda: encode(training), training)
        error = (decoder(encode(new)) - new).square().mean()
        of_the_mean_head = (heads.mean_head - new).square().mean()
    # The hyperbolic tangent bends what would be straight, and half the grid blunts the stripes' edges.
    assert error < 0.6 * of_the_mean_head
