"""The service's processes on both databases."""

from pathlib import Path

import pytest

from med3d_client.cohorts import CohortsClient
from rig.processes.service import Processes, new_database, postgresql

HERE = Path(__file__).parent
QUICK = {"MED3D_LEASE_S": "3", "MED3D_REDISPATCH_S": "1", "MED3D_SWEEP_S": "0.1"}
STANDING = QUICK | {"MED3D_LEASE_S": "60"}
"""So that no lease ends by itself on a busy machine; a test for which it has to, sets it back."""


LONG_ON_POSTGRESQL = {"test_cohorts.py", "test_cohort_runs.py", "test_openapi.py"}
"""On PostgreSQL by `make test-long`; that it is the same there is what the other modules ask each time."""


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.name in LONG_ON_POSTGRESQL and item.path.parent == HERE and "[postgresql" in item.name:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def postgresql_url():
    with postgresql() as url:
        yield url


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def shared_processes(request, tmp_path_factory):
    """Broker, API, courier and scheduler for the tests of one module, on each database."""
    environment = STANDING
    if request.param == "postgresql":
        environment = STANDING | {"MED3D_DATABASE_URL": new_database(request.getfixturevalue("postgresql_url"))}
    made = Processes(tmp_path_factory.mktemp("data"), **environment)
    yield made.start("broker", "api", "courier", "scheduler")
    made.close()


@pytest.fixture(scope="module")
def standing_processes(tmp_path_factory):
    """Broker, API, courier and scheduler on SQLite for the tests of one module."""
    made = Processes(tmp_path_factory.mktemp("data"), **STANDING)
    yield made.start("broker", "api", "courier", "scheduler")
    made.close()


@pytest.fixture
def processes(tmp_path):
    """Processes of one test's own, to be killed as it likes; nothing runs yet."""
    made = Processes(tmp_path, **QUICK)
    yield made
    made.close()


@pytest.fixture
def cohorts(service):
    """A client of the cohorts of the service that the module's own ``service`` is."""
    client = CohortsClient(service.url, service.key)
    yield client
    client.close()
