"""The pages on an API in this process, and a browser that is signed in to them."""

import re

import pytest

from med3d_service.trust.access import Role
from rig.service.api import open_api

TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Browser:
    """Keeps cookies, and sends forms with the token that stands on the page, as a person does."""

    def __init__(self, api):
        self.api, self.cookies = api, {}

    def get(self, path, **headers):
        return self._told(self.api.request("GET", path, headers=self._headers(headers)))

    def post(self, path, data, *, page=None, token=None, **headers):
        """Send a form as found on ``page``; ``token`` in place of the page's."""
        if page is not None:
            data = {"token": TOKEN.search(self.get(page).text)[1]} | data
        if token is not None:
            data = data | {"token": token}
        return self._told(self.api.request("POST", path, data=data, headers=self._headers(headers)))

    def sign_in(self, role=Role.OPERATOR, **grant):
        key = self.api.key(role, **grant)
        path = self.api.request("POST", "/sign-in-links", key).json()["path"]
        assert self.get(path).status_code == 200
        return key

    def _headers(self, more):
        own = {name.replace("_", "-"): value for name, value in more.items()}
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} | own

    def _told(self, answer):
        for name, value in answer.cookies.items():
            self.cookies[name] = value.strip('"')
        for line in answer.headers.get_list("set-cookie"):
            if "Max-Age=0" in line:
                self.cookies.pop(line.split("=")[0], None)
        self.api.client.cookies.clear()
        return answer


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = open_api(tmp_path_factory.mktemp("data"), failed_keys_per_minute=10_000)
    yield made
    made.close()


@pytest.fixture
def browser(api):
    return Browser(api)
