"""What every test may rely on: markers by folder, and the public sample data."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings

TESTS = Path(__file__).parent
BY_FOLDER = ("unit", "integration", "e2e", "bench", "pages")
IN_ONE_PROCESS = ("tests/pages/",)
"""Folders whose files share what takes long to start."""

LONGEST_FIRST = (
    "test_bids_app.py",
    "test_in_a_browser.py",
    "test_orthanc_and_back.py",
    "test_deliveries.py",
    "test_pacs_pages.py",
    "test_installed_wheel.py",
    "test_serve_service.py",
    "test_listener.py",
    "test_real_studies.py",
    "test_faults.py",
    "test_analyse_command.py",
    "test_demo_command.py",
    "test_documentation_site.py",
    "test_operator_pages.py",
    "test_openapi.py",
    "test_orthanc_hook.py",
    "test_field_cases.py",
    "test_upgrades.py",
    "test_front_door.py",
    "test_disks.py",
    "test_tls_peers.py",
)
"""Files of tests that take half a minute or more, which would else be what the last process is left with."""

# How long an example takes says how busy the machine is, nothing of the code; pytest-timeout watches for hangs.
settings.register_profile("project", deadline=None)
settings.register_profile("quick", settings.get_profile("project"), max_examples=10)
settings.load_profile("project")


@pytest.fixture(autouse=True)
def unconfigured_log() -> Iterator[None]:
    """structlog's ``capture_logs`` leaves it configured, and commands leave a log that was configured as it is."""
    was_configured = structlog.is_configured()
    yield
    if not was_configured:
        structlog.reset_defaults()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parts = item.path.relative_to(TESTS).parts
        if parts[0] in BY_FOLDER:
            item.add_marker(parts[0])
        if "export" in parts:
            item.add_marker("export")
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Where its file comes: the long ones as they are listed, then all others in their own order."""
    name = item.path.name
    return LONGEST_FIRST.index(name) if name in LONGEST_FIRST else len(LONGEST_FIRST)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file to one process, as ``--dist loadfile`` does, and so each folder that is to stay together."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrFolder(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            together = (folder for folder in IN_ONE_PROCESS if nodeid.startswith(folder))
            return next(together, super()._split_scope(nodeid))

    return ByFileOrFolder(config, log)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of public sample data (``MED3D_TEST_DATA``, else ../shared/data beside the checkout)."""
    stated = os.environ.get("MED3D_TEST_DATA")
    folder = Path(stated) if stated else TESTS.parent.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the public sample data is not at {folder}; point MED3D_TEST_DATA at it")
    return folder
