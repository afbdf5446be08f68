"""Numbers that each speak of one cube of the head: principal components of overlapping cubes, left and right apart."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from med3d_export.networks.blocks import BlockGrid
from med3d_export.networks.config import NetworkConfig
from med3d_export.networks.half_box import HalfBox
from med3d_export.networks.whitening import fit_for_unseen, principal_directions, whitening

MOST_OF_A_CUBE = 64


class CubeBases(nn.Module):
    """Directions (K, voxels of a cube), their windows included; ``cube_of`` (K,) says which cube each is of, rising."""

    cube_of: Tensor

    def __init__(self, mean_head: Tensor, config: NetworkConfig) -> None:
        super().__init__()
        self.grid = BlockGrid(HalfBox.around(mean_head), config.cube_voxels, config.cube_step)
        self.bases = nn.Parameter(0.01 * torch.randn(config.local_codes, self.grid.voxels))
        self.register_buffer("cube_of", torch.zeros(config.local_codes, dtype=torch.long))
        self.rows: dict[int, slice] = {0: slice(0, config.local_codes)}
        self.register_load_state_dict_post_hook(_find_rows)

    def take(self, bases: Tensor, cube_of: Tensor) -> None:
        """Hold these directions."""
        self.bases.copy_(bases)
        self.cube_of.copy_(cube_of)
        _find_rows(self)


def _find_rows(module: nn.Module, _: object = None) -> None:
    """Tell which rows are of which cube, as plain numbers: an exported graph holds no search."""
    assert isinstance(module, CubeBases)
    numbers, counts = torch.unique_consecutive(module.cube_of, return_counts=True)
    ends = counts.cumsum(0).tolist()
    starts = [0, *ends[:-1]]
    module.rows = {int(n): slice(start, end) for n, start, end in zip(numbers.tolist(), starts, ends, strict=True)}


class LocalCodes(CubeBases):
    """Encodes differences from the mean head by cubes; numbers are given out where they explain most."""

    def __init__(self, mean_head: Tensor, config: NetworkConfig) -> None:
        super().__init__(mean_head, config)
        self.to_latent = nn.Linear(config.local_codes, config.local_codes)

    def forward(self, difference: Tensor) -> Tensor:
        """Return codes (N, K) of differences (N, 1, X, Y, Z), not whitened yet."""
        padded = self.grid.padded(difference)
        return torch.cat([self.grid.cube(padded, n) @ self.bases[rows].T for n, rows in self.rows.items()], dim=1)

    def start_from(self, heads: Tensor, varied: Tensor) -> None:
        """Take components and whitening from the differences (N, 1, X, Y, Z) of heads and of their varied copies."""
        with torch.no_grad():
            fit_for_unseen(self._fitted, self.to_latent, heads, varied)

    def encode(self, differences: Tensor) -> Tensor:
        """Return latents (M, K) of many differences, some at a time."""
        latents: Tensor = self.to_latent(self._codes_of(differences))
        return latents

    def _fitted(self, heads: Tensor, varied: Tensor) -> Callable[[Tensor], Tensor]:
        self.take(*self._components(torch.cat([heads, varied])))
        codes = self._codes_of(heads)
        turned = whitening(codes)
        self.to_latent.weight.copy_(turned.T)
        self.to_latent.bias.copy_(-codes.mean(dim=0) @ turned)
        return self.encode

    def _components(self, differences: Tensor) -> tuple[Tensor, Tensor]:
        """Return the K directions of all cubes that explain most of the squared differences, by cube."""
        count, window = len(self.bases), self.grid.window()
        padded = self.grid.padded(differences)
        found = [
            principal_directions(self.grid.cube(padded, number) * window, MOST_OF_A_CUBE)
            for number in range(self.grid.number)
        ]
        squares = torch.cat([of_cube for _, of_cube in found])
        cube_of = torch.cat([torch.full((len(of_cube),), number) for number, (_, of_cube) in enumerate(found)])
        kept = squares.argsort(descending=True, stable=True)[:count].sort().values
        bases = torch.cat([directions for directions, _ in found])[kept] * window
        # With fewer directions than codes the last codes are 0 for every head.
        missing = count - len(kept)
        last = cube_of[kept[-1:]].repeat(missing)
        return torch.cat([bases, bases.new_zeros(missing, bases.shape[1])]), torch.cat([cube_of[kept], last])

    def _codes_of(self, differences: Tensor) -> Tensor:
        return torch.cat([self(part) for part in differences.split(32)])


class LocalReconstruction(CubeBases):
    """The way back from local codes to differences from the mean head."""

    def __init__(self, mean_head: Tensor, config: NetworkConfig) -> None:
        super().__init__(mean_head, config)
        self.from_latent = nn.Linear(config.local_codes, config.local_codes)
        self.own = slice(config.linear_rank, config.linear_rank + config.local_codes)

    def forward(self, latents: Tensor) -> Tensor:
        """Return differences (N, 1, X, Y, Z) by the whitened local codes among latents (N, latent)."""
        codes = self.from_latent(latents[:, self.own])
        cubes = [
            codes[:, self.rows[n]] @ self.bases[self.rows[n]] if n in self.rows else None
            for n in range(self.grid.number)
        ]
        return self.grid.join(cubes)

    def start_from(self, local: LocalCodes) -> None:
        """Undo what ``local`` does."""
        with torch.no_grad():
            self.take(local.bases, local.cube_of)
            back = torch.linalg.pinv(local.to_latent.weight.double()).to(local.bases.dtype)
            self.from_latent.weight.copy_(back)
            self.from_latent.bias.copy_(-back @ local.to_latent.bias)
