"""The service's processes on both databases."""

import pytest
from factories.service_processes import Processes, new_database, postgresql


@pytest.fixture(scope="session")
def postgresql_url():
    with postgresql() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request):
    """The settings' database_url: None is SQLite in the data folder."""
    if request.param == "sqlite":
        return None
    return new_database(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def processes(tmp_path, database_url):
    """Nothing runs yet; the schema is there."""
    environment = {} if database_url is None else {"MED3D_DATABASE_URL": database_url}
    made = Processes(tmp_path, MED3D_LEASE_S="3", MED3D_REDISPATCH_S="1", MED3D_SWEEP_S="0.1", **environment)
    yield made
    made.close()
