"""One service and one browser for all tests of the pages; each test has a person with a session of its own.

Both go with the last of these tests: while Playwright runs, no other test of the process can run an event loop.
"""

import pytest

from pages.browsing import Hospital, Person, chromium
from rig.peers.openid_provider import listening_provider


@pytest.fixture(scope="package")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="package")
def provider():
    with listening_provider() as made:
        yield made


@pytest.fixture(scope="package")
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
