"""Codes of the head and of its cubes: what they know before the first step of training."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from med3d_export.networks import HeadStatistics, NetworkConfig, SymmetricMean, build_decoder, build_encoder
from med3d_export.networks.blocks import BlockGrid
from med3d_export.networks.half_box import HalfBox
from med3d_export.networks.whitening import principal_directions, whitening
from med3d_export.training import start_autoencoder
from rig.science.tiny_fits import fit, labelled, recipe, tensors

GRID = (32, 32, 16)
CHANNELS = {"encoder_channels": [4, 8, 8], "decoder_channels": [2, 4, 8]}


def config(**changed: object) -> NetworkConfig:
    return NetworkConfig.model_validate({**CHANNELS, "latent": 64, "linear_rank": 12, "local_codes": 4, **changed})


def noise_heads(count: int, seed: int) -> torch.Tensor:
    """Heads of smooth noise around 1."""
    chance = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, 1, 8, 8, 4, generator=chance)
    smooth = torch.nn.functional.interpolate(coarse, GRID, mode="trilinear")
    return 1.0 + 0.3 * smooth + 0.05 * torch.randn(count, 1, *GRID, generator=chance)


def striped_heads(count: int, seed: int) -> torch.Tensor:
    """Heads whose stripes are as strong as two factors say, one in front and one behind."""
    factors = torch.rand(count, 2, generator=torch.Generator().manual_seed(seed)) + 0.5
    stripes = torch.where(torch.arange(GRID[2]) % 8 < 4, 0.1, -0.1).expand(GRID)
    strength = factors.repeat_interleave(GRID[1] // 2, dim=1)[:, None, None, :, None]
    return 1.0 + strength * stripes


def latents_of(encoder, heads: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return SymmetricMean(encoder).eval()(heads)


def test_heads_that_the_start_has_not_seen_have_an_average_variance_of_one_in_every_kind_of_code():
    training, new = (noise_heads(120, seed) for seed in (1, 2))
    encoder = build_encoder(config(linear_rank=12, local_codes=16, latent=32), HeadStatistics.of(training))
    encoder.start_from(training, training[:0])
    latents = latents_of(encoder, new)
    for part in (latents[:, :12], latents[:, 12:28]):
        assert float(part.square().mean()) == pytest.approx(1.0, rel=0.25)
    assert float(latents[:, 28:].abs().max()) == 0.0


def test_codes_of_the_whole_head_remember_how_far_heads_spread_in_them_and_owe_nothing_to_copies():
    training = striped_heads(40, seed=1) + 0.01 * noise_heads(40, seed=2)
    heads = HeadStatistics.of(training)
    spreads, weights = [], []
    for varied in (training[:0], noise_heads(40, seed=3)):
        encoder = build_encoder(config(linear_rank=6, local_codes=8, latent=16), heads)
        encoder.start_from(training, varied)
        spreads.append(encoder.code_spreads())
        weights.append(encoder.linear.whole.weight.detach())
    torch.testing.assert_close(weights[0], weights[1])
    first = spreads[0]
    assert bool((first[:5] >= first[1:6]).all())
    assert float(first[:6].square().mean()) == pytest.approx(1.0, rel=1e-4)
    # Two factors make the stripes; the rest is noise.
    assert float(first[1]) > 2.0 * float(first[2])
    assert bool((first[6:] == 1.0).all())


def test_whitened_codes_have_unit_variance_and_those_that_never_vary_become_zero():
    chance = torch.Generator().manual_seed(1)
    codes = torch.randn(400, 3, generator=chance) * torch.tensor([0.01, 1.0, 50.0])
    codes = torch.cat([codes, torch.full((400, 1), 7.0)], dim=1)
    found = (codes - codes.mean(dim=0)) @ whitening(codes)
    torch.testing.assert_close(found.std(dim=0), torch.tensor([1.0, 1.0, 1.0, 0.0]), atol=0.02, rtol=0)


def test_principal_directions_are_those_of_a_singular_value_decomposition():
    rows = torch.randn(9, 30, generator=torch.Generator().manual_seed(2))
    directions, squares = principal_directions(rows, 4)
    _, singular, expected = torch.linalg.svd(rows, full_matrices=False)
    torch.testing.assert_close(squares, singular[:4].square(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close((directions * expected[:4]).sum(dim=1).abs(), torch.ones(4), atol=1e-4, rtol=0)


@given(
    sides=st.tuples(*[st.integers(3, 20)] * 3),
    size=st.integers(2, 9),
    spare=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_cubes_looked_at_and_laid_through_their_windows_give_the_inner_image_back(sides, size, spare, seed):
    step = size - min(spare, size // 2)
    grid = BlockGrid(HalfBox((20, 20, 20), tuple(slice(0, side) for side in sides)), size, step)
    image = torch.rand(2, 1, 20, 20, 20, generator=torch.Generator().manual_seed(seed))
    padded, window = grid.padded(image), grid.window()
    again = grid.join([grid.cube(padded, number) * window.square() for number in range(grid.number)])
    overlap = size - step
    inner = tuple(slice(overlap, max(overlap, side - overlap)) for side in sides)
    torch.testing.assert_close(again[:, :, *inner], image[:, :, *inner], atol=1e-5, rtol=0)
    assert all(float(again.narrow(axis + 2, side, 20 - side).abs().sum()) == 0 for axis, side in enumerate(sides))


def test_a_cube_without_codes_is_nothing_and_a_grid_of_nothing_is_an_error():
    grid = BlockGrid(HalfBox((8, 8, 8), (slice(0, 8),) * 3), 4, 4)
    only = grid.join([None] * 7 + [torch.ones(1, 64)])
    assert float(only.sum()) == 64
    assert float(only[:, :, 4:, 4:, 4:].sum()) == 64
    with pytest.raises(ValueError, match="no cube"):
        grid.join([None] * 8)


def test_local_codes_tell_a_lesion_on_one_side_from_one_on_the_other():
    training = noise_heads(40, seed=1)
    training[::2, :, 4:8, 12:18, 4:10] += 2.0
    training[1::2, :, 24:28, 12:18, 4:10] += 2.0
    encoder = build_encoder(config(linear_rank=4, local_codes=8, latent=12), HeadStatistics.of(training))
    encoder.start_from(training, training[:0])
    head = noise_heads(1, seed=5)
    head[:, :, 4:8, 12:18, 4:10] += 2.0
    one, other = latents_of(encoder, torch.cat([head, head.flip(2)]))
    torch.testing.assert_close(one[:4], other[:4], atol=1e-4, rtol=1e-4)
    assert float((one[4:] - other[4:]).norm()) > 2.0


def test_more_codes_than_directions_leave_the_last_ones_at_zero():
    training = noise_heads(3, seed=1)
    encoder = build_encoder(config(linear_rank=6, local_codes=40, latent=46), HeadStatistics.of(training))
    encoder.start_from(training, training[:0])
    assert bool(torch.isfinite(latents_of(encoder, noise_heads(2, seed=2))).all())


def test_the_decoder_starts_by_telling_new_heads_apart_by_their_latents():
    training, new = striped_heads(12, seed=1), striped_heads(5, seed=2)
    heads = HeadStatistics.of(training)
    section = config(linear_rank=4, local_codes=24, latent=28, cube_voxels=10, cube_step=8)
    encoder, decoder = build_encoder(section, heads), build_decoder(section, heads)
    encoder.start_from(training, training[:0])
    decoder.start_from(encoder, lambda: latents_of(encoder, training), training)
    with torch.no_grad():
        error = (decoder(latents_of(encoder, new)) - new).square().mean()
        of_the_mean_head = (heads.mean_head - new).square().mean()
    # The outermost voxels of the box fade with the windows; a brain does not reach them.
    assert error < 0.6 * of_the_mean_head


def test_what_starts_in_closed_form_stays_where_its_share_of_the_learning_rate_is_zero():
    changed = {}
    for share in (0.0, 1.0):
        network = {"linear_rank": 4, "local_codes": 4, "cube_voxels": 10, "cube_step": 8}
        made = recipe(network=network, optimiser={"linear_share": share})
        before = start_autoencoder(tensors(), labelled(), made, 1)
        after = fit(made)
        weights = [(one.encoder.linear.whole.weight, one.decoder.linear.bases) for one in (before, after)]
        changed[share] = [float((new - old).detach().abs().max()) for old, new in zip(*weights, strict=True)]
    assert changed[0.0] == pytest.approx([0.0, 0.0], abs=1e-6)
    assert min(changed[1.0]) > 1e-5
