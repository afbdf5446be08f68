"""One service and one browser for all tests of the pages; each test has a person with a session of its own."""

import pytest

from pages.browsing import Hospital, Person, chromium


@pytest.fixture(scope="session")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def hospital(browser, tmp_path_factory):
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    yield made
    made.close()


@pytest.fixture
def person(browser, hospital):
    made = Person(browser, hospital)
    yield made
    made.close()
    assert made.complaints == [], "what the browser had to say"
