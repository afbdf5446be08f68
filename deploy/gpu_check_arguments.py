"""What gpu_check.py may be asked for. What it may not is told at once, not after minutes on the device."""

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from gpu_check_encoding import BATCHES

from med3d_pipeline.runtime.onnx_sessions import PROVIDER_KEYS

T = TypeVar("T")
PARTS = ("device", "workers", "memory")
PROVIDERS = ("auto", *PROVIDER_KEYS)
LEAST_LIMIT_BYTES = 2**28
"""Of MED3D_GPU_MEM_LIMIT_BYTES."""


def read_arguments(arguments: Sequence[str] | None, said: str | None) -> argparse.Namespace:
    """Return what the command line asks for, which begins its help with what is ``said``. Ends the process else."""
    given = argparse.ArgumentParser(description=said)
    some, any_number = partial(_whole_number, 1), partial(_whole_number, 0)
    given.add_argument(
        "--provider", type=partial(_by_commas, partial(_one_of, PROVIDERS)), default="cuda,tensorrt",
        help="by commas; those after the first where they are",
    )  # fmt: skip
    given.add_argument("--device", type=any_number, default=0)
    given.add_argument(
        "--heads", type=any_number, default=200, help="from working copies to answers; 0 leaves them out"
    )
    given.add_argument("--studies", type=_heads_in, help="folder of NIfTI heads in place of the bundle's own")
    given.add_argument(
        "--workers", type=partial(_by_commas, some), default=_some_workers(), help="that share the device, by commas"
    )
    given.add_argument(
        "--mem-limit", type=partial(_whole_number, LEAST_LIMIT_BYTES),
        help="of each of their sessions, bytes: MED3D_GPU_MEM_LIMIT_BYTES",
    )  # fmt: skip
    sizes = ",".join(map(str, BATCHES))
    given.add_argument("--batches", type=partial(_by_commas, some), default=sizes, help="sizes by commas")
    given.add_argument("--threads", type=some, default=8, help="of what runs alone; the workers have one each")
    given.add_argument(
        "--parts", type=partial(_by_commas, partial(_one_of, PARTS)), default=",".join(PARTS),
        help="by commas; a table takes the first two",
    )  # fmt: skip
    given.add_argument("--table", type=Path, default=Path("gpu-costs.json"), help="for med3d capacity --measured")
    given.add_argument("--report", type=Path, default=Path("gpu-check.md"), help="all that was found, as tables")
    return given.parse_args(arguments)


def _some_workers() -> str:
    """Try one worker, one for each core, and some between."""
    cores = len(os.sched_getaffinity(0))
    return ",".join(map(str, sorted({1, max(1, cores // 4), max(1, cores // 2), cores})))


def _by_commas(one: Callable[[str], T], said: str) -> tuple[T, ...]:
    return tuple(one(word.strip()) for word in said.split(","))


def _one_of(known: Sequence[str], said: str) -> str:
    if said not in known:
        raise argparse.ArgumentTypeError(f"{said!r} is none of {', '.join(known)}")
    return said


def _whole_number(least: int, said: str) -> int:
    if not (said.isascii() and said.isdecimal() and int(said) >= least):
        raise argparse.ArgumentTypeError(f"{said!r} is no number from {least}")
    return int(said)


def _heads_in(said: str) -> list[Path]:
    found = sorted((*Path(said).glob("*.nii"), *Path(said).glob("*.nii.gz")))
    if not found:
        raise argparse.ArgumentTypeError(f"{said} holds no NIfTI")
    return found
