"""What the speed costs: affine and tensor against a slow reference, and what ought to change nothing.

PYTHONPATH=tests python -m bench.bench_accuracy [--skip-reference]
"""

import time

import numpy as np

from bench.measuring import BENCHMARKS, offer_to_write, publish, table
from bench.scans import options, preprocessor, several_heads
from bench.slow_reference import normalised_rmse, slow_reference, worst_corner_mm
from med3d_pipeline.preprocessing.alignment.registration import AffineRegistration
from med3d_pipeline.preprocessing.bias_field import correct_bias_field
from med3d_pipeline.preprocessing.itk_threads import itk_threads
from med3d_pipeline.preprocessing.preprocess import Preprocessed, Preprocessor
from med3d_pipeline.preprocessing.spec import RegistrationLevel
from med3d_pipeline.volume import Volume
from rig.science import heads

AFFINE_AIM_MM, TENSOR_AIM, HALF_AIM = 0.5, 0.02, 0.01


def against_reference(name: str, head: Volume, made: Preprocessed, preprocess: Preprocessor) -> tuple[str, ...]:
    start = time.perf_counter()
    slow = slow_reference(preprocess, head)
    took = time.perf_counter() - start
    with itk_threads(preprocess.threads):
        corrected = correct_bias_field(preprocess.views(preprocess.find_brain(head)), preprocess.spec.bias_field)
        brain = Volume(corrected[0].head.voxels * corrected[0].share.voxels, corrected[0].head.affine)
        finer = finer_registration(preprocess)(brain).template_to_native
    tensors = [
        made.tensor,
        preprocess.tensor(slow.corrected, preprocess.tensor_grid, made.template_to_native),
        preprocess.tensor(corrected, preprocess.tensor_grid, slow.template_to_native),
        preprocess.tensor(corrected, preprocess.tensor_grid, finer),
    ]
    apart = [
        worst_corner_mm(one, slow.template_to_native, preprocess.template) for one in (made.template_to_native, finer)
    ]
    ours, own_alignment, own_field, by_finer = (f"{100 * normalised_rmse(one, slow.tensor):.2f}" for one in tensors)
    return name, f"{apart[0]:.2f}", ours, own_alignment, own_field, f"{apart[1]:.2f}", by_finer, f"{took:.0f}"


def finer_registration(preprocess: Preprocessor) -> AffineRegistration:
    """The spec's registration with one more level: what a finer one would bring."""
    spec = preprocess.spec.registration
    last = RegistrationLevel(model="affine", grid_mm=2.0, blur_mm=0.9, iterations=20)
    return AffineRegistration(preprocess.template, spec.model_copy(update={"levels": (*spec.levels, last)}))


def against_itself(name: str, head: Volume, made: Preprocessed, preprocess: Preprocessor) -> tuple[str, ...]:
    turned = preprocess(heads.stored_otherwise(head, (2, 0, 1), (True, False, True)))
    again = preprocess(head)
    halves = "too coarse to halve"
    odd = halves
    if max(head.spacing_mm) < 1.5:
        half = preprocess(heads.averaged_by_two(head))
        halves = f"{100 * normalised_rmse(half.tensor, made.tensor):.2f}"
        shifted = preprocess(heads.averaged_by_two(without_first_voxels(head)))
        odd = f"{100 * normalised_rmse(shifted.tensor, made.tensor):.2f}"
    same = "identical" if again.digest() == made.digest() else "DIFFERS"
    flipped = f"{100 * normalised_rmse(turned.tensor, made.tensor):.4f}"
    return name, same, flipped, halves, odd


def without_first_voxels(head: Volume) -> Volume:
    """``head`` less one voxel at each low end, so that blocks of two are other pairs than before."""
    affine = head.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.ones(3)
    return Volume(voxels=head.voxels[1:, 1:, 1:], affine=affine)


def main() -> None:
    parser = options(__doc__ or "")
    parser.add_argument(
        "--skip-reference", action="store_true", help="the slow reference takes a minute or so per head"
    )
    offer_to_write(parser)
    given = parser.parse_args()
    preprocess = preprocessor(given)
    found = several_heads(given.data)
    made = {name: preprocess(head) for name, head in found.items()}
    text = ""
    if not given.skip_reference:
        rows = [against_reference(name, head, made[name], preprocess) for name, head in found.items()]
        heading = (
            "head", "affine, worst corner of the brain, mm", "tensor, normalised RMSE, %",
            "with the reference's bias field", "with its alignment", "affine with a last level of 2 mm",
            "tensor with that", "reference took, s",
        )  # fmt: skip
        aims = f"affine within {AFFINE_AIM_MM:g} mm, tensor within {100 * TENSOR_AIM:g} %"
        text = f"Against the slow reference (aims: {aims}):\n\n{table(heading, rows)}\n\n"
    rows = [against_itself(name, head, made[name], preprocess) for name, head in found.items()]
    heading = ("head", "run again", "axes permuted and flipped", "its 2 x 2 x 2 average", "one voxel later")
    text += (
        f"Against itself, normalised RMSE in % (aim for the averages: {100 * HALF_AIM:g} %):\n\n{table(heading, rows)}"
    )
    publish("accuracy", text, BENCHMARKS, write=given.write and not given.skip_reference)


if __name__ == "__main__":
    main()
