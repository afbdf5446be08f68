"""The service's processes beside real peers."""

import pytest

from factories.gateway import Gateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """API, courier and scheduler for the tests of one module."""
    made = Gateway(tmp_path_factory.mktemp("data")).begin()
    yield made
    made.close()
