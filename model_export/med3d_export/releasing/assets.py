"""The part of a bundle that makes tensors: brain networks, template, preprocessing.json."""

from pathlib import Path

from med3d_export.config import GridConfig
from med3d_export.releasing.brain_networks import export_brain_networks
from med3d_export.releasing.template import export_template
from med3d_pipeline.bundle.bundle import PreprocessingFile
from med3d_pipeline.preprocessing.spec import PreprocessSpec, QualityLimits


def grid_spec(grid: GridConfig) -> PreprocessSpec:
    """Return the pipeline's own defaults on the recipe's grid."""
    return PreprocessSpec(shape=grid.shape, spacing_mm=grid.spacing_mm, working_grid_mm=grid.working_grid_mm)


def write_assets(folder: Path, grid: GridConfig) -> PreprocessingFile:
    """Write them into ``folder`` for the recipe's grid; what is there is written again."""
    folder.mkdir(parents=True, exist_ok=True)
    export_brain_networks(folder)
    export_template(folder)
    file = PreprocessingFile(spec=grid_spec(grid), quality_limits=QualityLimits())
    (folder / "preprocessing.json").write_text(file.model_dump_json(indent=2) + "\n", encoding="utf-8")
    return file
