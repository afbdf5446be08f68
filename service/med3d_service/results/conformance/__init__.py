"""What the service says of itself to who connects it: a DICOM conformance statement, and what of IHE it is."""

from collections.abc import Mapping
from pathlib import Path

from med3d_service.results.conformance.integration import integration_statement
from med3d_service.results.conformance.statement import conformance_statement


def statements() -> Mapping[str, str]:
    """Write both statements; by the names of their pages."""
    return {"conformance.md": conformance_statement(), "ihe.md": integration_statement()}


def write_statements(folder: Path) -> None:
    """Leave both pages in ``folder``. Raises OSError."""
    for name, text in statements().items():
        (folder / name).write_text(text, encoding="utf-8")
