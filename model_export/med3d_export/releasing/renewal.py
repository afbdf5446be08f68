"""A released bundle with its weights as they are, under this version's preprocessing and quality limits."""

import json
import shutil
from pathlib import Path

from med3d_export.releasing.new_bundle import new_bundle
from med3d_export.releasing.release import file_digests, write_reference_case
from med3d_pipeline.bundle.bundle import Bundle, PreprocessingFile
from med3d_pipeline.bundle.bundle_signature import SIGNATURE
from med3d_pipeline.inference.manifest import MANIFEST
from med3d_pipeline.preprocessing.spec import NUMERICS_VERSION, QualityLimits
from med3d_pipeline.runtime.onnx_sessions import SessionOptions


def renew_bundle(released: Path, version: str, folder: Path) -> Bundle:
    """Copy the bundle in ``released`` to ``folder`` as ``version`` and return it opened; it is not signed.

    Networks, heads and calibration stay byte for byte. The quality limits are this version's; the reference case is
    run anew, because the preprocessing gives other tensors. What that does to estimates is measured by ``promote``.

    Raises ReleaseError where ``folder`` holds something, BundleError where ``released`` is damaged.
    """
    with new_bundle(folder):
        return _renewed(Bundle.open(released), version, folder)


def _renewed(bundle: Bundle, version: str, folder: Path) -> Bundle:
    shutil.copytree(bundle.path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST, SIGNATURE))
    preprocessing = PreprocessingFile(spec=bundle.spec, quality_limits=QualityLimits())
    (folder / "preprocessing.json").write_text(preprocessing.model_dump_json(indent=2) + "\n", encoding="utf-8")
    _say_renewed(folder, bundle, version)
    manifest = bundle.manifest.model_copy(update={"version": version})
    write_reference_case(Bundle(folder, manifest, SessionOptions(provider="cpu")))
    manifest = manifest.model_copy(update={"files": file_digests(folder)})
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    renewed = Bundle.open(folder)
    renewed.run_reference_case()
    return renewed


def _say_renewed(folder: Path, released: Bundle, version: str) -> None:
    """Tell in the model card and in MONAI's metadata whose weights these are, and what the figures were measured on."""
    told = (
        f"The weights of {released.version} under preprocessing with numerics {NUMERICS_VERSION}; "
        f"the figures were measured with {released.version}'s own preprocessing."
    )
    card = folder / "docs" / "README.md"
    heading, _, text = card.read_text(encoding="utf-8").partition("\n")
    renewed = heading.replace(released.version, version)
    card.write_text(f"{renewed}\n\n{told}\n{text}", encoding="utf-8")
    path = folder / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata |= {"version": version, "changelog": metadata["changelog"] | {version: told}}
    path.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
