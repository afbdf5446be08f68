"""One service and one browser for all tests of the pages; each test has a person with a session of its own."""

import pytest

from pages.browsing import Hospital, Person, chromium
from rig.peers.openid_provider import listening_provider


@pytest.fixture(scope="session")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def provider():
    with listening_provider() as made:
        yield made


@pytest.fixture(scope="session")
def hospital(browser, provider, tmp_path_factory):
    made = Hospital(tmp_path_factory.mktemp("hospital"), provider)
    yield made
    made.close()


@pytest.fixture
def person(browser, hospital):
    made = Person(browser, hospital)
    yield made
    made.close()
    assert made.complaints == [], "what the browser had to say"
