"""Chance as a function of seed, step and purpose: nothing to keep in a checkpoint, nothing to lose by a resume."""

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What the numbers are drawn for; each has a stream of its own."""

    ORDER = 1
    STEP = 2
    AUGMENTATION = 3
    HELD_OUT = 4
    SET_APART = 5
    START = 6


def derived_seed(seed: int, purpose: Purpose, step: int = 0, rank: int = 0) -> int:
    """Return a seed for ``purpose`` at ``step`` (or epoch) in process ``rank``, within 63 bits."""
    state = np.random.SeedSequence([seed, int(purpose), step, rank]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(seed: int, purpose: Purpose, step: int, rank: int, device: torch.device) -> torch.Generator:
    """Return a torch generator on ``device``."""
    return torch.Generator(device).manual_seed(derived_seed(seed, purpose, step, rank))
