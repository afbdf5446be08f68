"""The part of a bundle that makes tensors: brain networks, template, preprocessing.json."""

from pathlib import Path

from med3d_export.brain_networks import export_brain_networks
from med3d_export.template import export_template
from med3d_pipeline.bundle import PreprocessingFile
from med3d_pipeline.spec import PreprocessSpec, QualityLimits


def write_assets(folder: Path) -> PreprocessingFile:
    """Write them into ``folder`` with the pipeline's own defaults; what is there is written again."""
    folder.mkdir(parents=True, exist_ok=True)
    export_brain_networks(folder)
    export_template(folder)
    file = PreprocessingFile(spec=PreprocessSpec(), quality_limits=QualityLimits())
    (folder / "preprocessing.json").write_text(file.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return file
