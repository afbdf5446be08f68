"""Processes of the service that start quickly."""

import pytest

from rig.processes.service import Processes


@pytest.fixture(scope="session", autouse=True)
def _forked_processes():
    Processes.forked = True
    yield
    Processes.forked = False
