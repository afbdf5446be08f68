"""What is to be fitted, as one file that travels to a machine with a GPU: heads, ages, and the parts of each fit."""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from med3d_export.age_network.config import AgeNetworkConfig
from med3d_export.whole_files import write_whole


@dataclass(frozen=True, eq=False)
class AgeFit:
    """The heads ``rows`` (n,) of one fit, and which ``parts`` (n,), 0 to members - 1, each belongs to."""

    name: str
    seed: int
    rows: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64]

    def learned_by(self, member: int) -> npt.NDArray[np.int64]:
        """Return rows of all parts but the member's own."""
        learned: npt.NDArray[np.int64] = self.rows[self.parts != member]
        return learned

    def unseen_by(self, member: int) -> npt.NDArray[np.int64]:
        """Return rows of the member's own part."""
        unseen: npt.NDArray[np.int64] = self.rows[self.parts == member]
        return unseen


@dataclass(frozen=True, eq=False)
class AgePlan:
    """tensors: (N, X, Y, Z) float16; ages: (N,) years; sites: (N,)."""

    config: AgeNetworkConfig
    tensors: npt.NDArray[np.float16]
    ages: npt.NDArray[np.float64]
    sites: npt.NDArray[np.str_]
    fits: tuple[AgeFit, ...]

    def digest(self, fit: AgeFit) -> str:
        """Return what decides the members of ``fit``, as a sha256: heads, ages, sites, parts, seeds and the recipe."""
        said = hashlib.sha256(self.copies_digest.encode())
        said.update(self.config.model_dump_json(exclude={"code_weight"}).encode())
        said.update(json.dumps([fit.seed, self.sites.tolist()]).encode())
        for array in (self.ages, fit.rows, fit.parts):
            said.update(np.ascontiguousarray(array).tobytes())
        return said.hexdigest()

    @cached_property
    def copies_digest(self) -> str:
        """What decides the varied copies of the heads, as a sha256."""
        said = hashlib.sha256(np.ascontiguousarray(self.tensors).data)
        said.update(self.config.model_dump_json(include={"augmentation", "copies", "margin"}).encode())
        said.update(json.dumps([self.fits[0].seed, self.tensors.shape]).encode())
        return said.hexdigest()

    def save(self, path: Path) -> None:
        """Write one npz without pickle; it appears whole or not at all."""
        listed = [{"name": fit.name, "seed": fit.seed} for fit in self.fits]
        arrays: dict[str, Any] = {
            "config": np.array(self.config.model_dump_json()),
            "fits": np.array(json.dumps(listed)),
            "tensors": self.tensors,
            "ages": self.ages,
            "sites": self.sites,
        }
        for fit in self.fits:
            arrays |= {f"{fit.name}.rows": fit.rows, f"{fit.name}.parts": fit.parts}
        write_whole(path, lambda stream: np.savez_compressed(stream, allow_pickle=False, **arrays))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote. Raises OSError, KeyError or ValueError where the file is not whole."""
        with np.load(path, allow_pickle=False) as stored:
            fits = tuple(
                AgeFit(one["name"], one["seed"], stored[f"{one['name']}.rows"], stored[f"{one['name']}.parts"])
                for one in json.loads(str(stored["fits"]))
            )
            config = AgeNetworkConfig.model_validate_json(str(stored["config"]))
            return cls(config, stored["tensors"], stored["ages"], stored["sites"], fits)
