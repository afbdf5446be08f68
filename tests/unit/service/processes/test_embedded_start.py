"""What the embedded service counts on when it starts: no worker of before, and the bundle that its worker carries."""

import json

import pytest

from med3d_contract.work import WorkerHello
from med3d_service.processes import expect_worker
from med3d_service.trust.access import Role
from rig.service.api import open_api
from rig.service.parts import worker
from rig.service.work import BUNDLE


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path / "data", ready_fresh_s=0)
    yield made
    made.close()


@pytest.fixture
def bundle_dir(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"name": "bundle", "version": "2"}))
    return folder


def hello(api):
    said = WorkerHello(worker=worker(), queues=("preprocess",)).model_dump(mode="json")
    assert api.request("POST", "/worker/hello", api.key(Role.WORKER), json=said).status_code == 204


def worker_check(api):
    return api.request("GET", "/readyz").json()["worker"]


def default_version(api):
    items = api.request("GET", "/bundles", api.key(Role.VIEWER)).json()["items"]
    return next(item["version"] for item in items if item["default"])


def test_a_worker_of_before_the_restart_makes_nothing_ready(api, bundle_dir):
    hello(api)
    assert worker_check(api)["ok"]
    expect_worker(api.settings, bundle_dir)
    assert worker_check(api) == {"ok": False, "why": "no worker has said hello yet"}


def test_the_bundle_of_the_worker_that_will_start_is_the_default(api, bundle_dir):
    assert default_version(api) == BUNDLE.version
    expect_worker(api.settings, bundle_dir)
    assert default_version(api) == "2"


def test_a_default_of_the_settings_stays(api, bundle_dir):
    expect_worker(api.settings.model_copy(update={"default_bundle": "bundle@1"}), bundle_dir)
    assert default_version(api) == BUNDLE.version


def test_a_bundle_that_cannot_be_read_is_left_for_the_worker_to_tell(api, tmp_path):
    expect_worker(api.settings, tmp_path / "nowhere")
    assert default_version(api) == BUNDLE.version
