"""Adding explanation.npz to a bundle: networks, heads, calibration and thresholds stay byte for byte."""

import shutil
from collections.abc import Callable
from pathlib import Path

from med3d_export.explaining.atlas import SUFFIX, labelled_rows, make_atlas
from med3d_export.explaining.usual_years import explainer_of, region_table
from med3d_export.releasing.new_bundle import new_bundle
from med3d_export.releasing.release import file_digests
from med3d_export.subjects.cohort import Cohort
from med3d_export.training import Tensors
from med3d_pipeline.bundle.bundle import Bundle, PreprocessingAssets
from med3d_pipeline.bundle.bundle_signature import SIGNATURE
from med3d_pipeline.explanation.region_table import FILE
from med3d_pipeline.inference.manifest import MANIFEST
from med3d_pipeline.runtime.onnx_sessions import SessionOptions

CARD_HEADING = "## Explanations"


def copy_with_regions(
    released: Path, version: str, folder: Path, cohort: Cohort, tensors: Tensors, label_maps: Path,
    on_done: Callable[[], object],
) -> Bundle:  # fmt: skip
    """Copy the bundle in ``released`` to ``folder`` as ``version`` with a table of regions; it is not signed.

    Raises ReleaseError where ``folder`` holds something, LabelMapError, BundleError.
    """
    with new_bundle(folder):
        _copy(Bundle.open(released), version, folder)
        return add_regions(folder, cohort, tensors, label_maps, on_done)


def _copy(bundle: Bundle, version: str, folder: Path) -> None:
    shutil.copytree(bundle.path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST, SIGNATURE, FILE))
    manifest = bundle.manifest.model_copy(update={"version": version, "files": file_digests(folder)})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    card = folder / "docs" / "README.md"
    heading, _, text = card.read_text(encoding="utf-8").partition("\n")
    card.write_text(f"{heading.replace(bundle.version, version)}\n{text}", encoding="utf-8")


def add_regions(
    folder: Path, cohort: Cohort, tensors: Tensors, label_maps: Path, on_done: Callable[[], object]
) -> Bundle:
    """Write the table of regions into the bundle in ``folder`` and return it opened; a signature is no longer valid.

    tensors (N, X, Y, Z) of the cohort's rows; ``on_done`` hears of each label map and each head. Raises LabelMapError
    where no map is there or one does not fit its head, BundleError where the bundle has no decoder.
    """
    # The digests of texts that were just changed are written below.
    bundle = Bundle.open(folder, provider="cpu", verify=False)
    explainer_of(bundle)
    labelled = labelled_rows(cohort.participant_ids.tolist(), label_maps)
    assets = PreprocessingAssets(folder, SessionOptions())
    heads = [(cohort.subjects[row].t1w, place, tensors[row]) for row, place in labelled.items()]
    atlas = make_atlas(heads, assets, on_done)
    region_table(bundle, atlas, tensors, cohort.ages_years, on_done).save(folder / FILE)
    _say_so(folder, len(labelled), bundle.manifest.training_data.licence)
    manifest = bundle.manifest.model_copy(update={"files": file_digests(folder)})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    (folder / SIGNATURE).unlink(missing_ok=True)
    opened = Bundle.open(folder)
    opened.run_reference_case()
    return opened


def _say_so(folder: Path, maps: int, licence: str) -> None:
    """Tell in card and notice what the file is and whose work it stands on; what said so before is replaced."""
    card, notice = folder / "docs" / "README.md", folder / "NOTICE"
    text = card.read_text(encoding="utf-8").partition(f"\n{CARD_HEADING}\n")[0].rstrip()
    card.write_text(f"{text}\n\n{CARD_HEADING}\n\n{_CARD.format(maps=maps)}", encoding="utf-8")
    said = notice.read_text(encoding="utf-8").partition(f"\n\n{FILE}:")[0].rstrip()
    notice.write_text(f"{said}\n\n{_NOTICE.format(maps=maps, licence=licence)}", encoding="utf-8")


_CARD = f"""{FILE} divides the model's grid into groups of regions, after DLMUSE label maps of {{maps}} training heads,
and says what each group usually does to the estimates of the training heads of an age. With it a head's gap is told by
region, and the ventricles are measured as the decoder makes the head older. What this rests on is measured by
`med3d-export explanations`; the project's figures stand in docs/model/explanations.md. It is what the model believes,
not what is so.
"""
_NOTICE = f"""{FILE}: groups of regions, averaged from the DLMUSE label maps (*{SUFFIX}) of {{maps}} training heads by
  CBICA, University of Pennsylvania (MUSE: Doshi et al., NeuroImage 2016), and what they say of those heads' ages.
  An adaptation of {{licence}} data, released under CC BY-SA 4.0.
"""
