"""What every test may rely on: markers by folder, and the public sample data."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
BY_FOLDER = ("unit", "integration", "e2e", "bench", "pages")

# How long an example takes says how busy the machine is, nothing of the code; pytest-timeout watches for hangs.
settings.register_profile("project", deadline=None)
settings.load_profile("project")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parts = item.path.relative_to(TESTS).parts
        if parts[0] in BY_FOLDER:
            item.add_marker(parts[0])
        if "export" in parts:
            item.add_marker("export")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of public sample data (``MED3D_TEST_DATA``, else ../shared/data beside the checkout)."""
    stated = os.environ.get("MED3D_TEST_DATA")
    folder = Path(stated) if stated else TESTS.parent.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the public sample data is not at {folder}; point MED3D_TEST_DATA at it")
    return folder
