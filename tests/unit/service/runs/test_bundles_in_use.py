"""Which model runs are started with: an administrator of all sites makes one the default, and retires another."""

import pytest

from med3d_contract.results import BundleRef
from med3d_service.runs.bundles import register_bundles
from med3d_service.storage.tables import WorkerRow
from med3d_service.trust.access import Role
from rig.service.api import open_api
from rig.service.work import BUNDLE, WORKER

NEWER = BundleRef(name="bundle", version="2", digest="c" * 64)


@pytest.fixture
def api(tmp_path):
    made = open_api(tmp_path)
    with made.service.database.write() as session:
        register_bundles(session, [NEWER])
    say_hello(made, BUNDLE, NEWER)
    yield made
    made.close()


def say_hello(api, *bundles):
    said = WORKER.model_copy(update={"bundles": bundles})
    key = api.key(Role.WORKER)
    assert api.request(
        "POST", "/worker/hello", key, json={"worker": said.model_dump(), "queues": ["predict"]}
    ).is_success


def ask(api, what, digest, **grant):
    return api.request("POST", f"/bundles/{digest}/{what}", api.key(Role.ADMIN, **grant))


def listed(api):
    found = api.request("GET", "/bundles", api.key(Role.VIEWER)).json()["items"]
    return {one["digest"]: (one["default"], one["retired_at"] is not None) for one in found}


def run_by(api, **wanted):
    return api.request("POST", f"/studies/{api.ids['study_id']}/runs", api.key(Role.SUBMITTER), json=wanted)


def test_the_default_is_the_one_that_was_activated_last(api):
    assert listed(api) == {BUNDLE.digest: (True, False), NEWER.digest: (False, False)}
    assert ask(api, "activate", NEWER.digest).json()["default"] is True
    assert listed(api) == {BUNDLE.digest: (False, False), NEWER.digest: (True, False)}
    run = run_by(api).headers["Location"]
    assert api.request("GET", run, api.key(Role.VIEWER)).json()["bundle"]["digest"] == NEWER.digest


def test_no_run_is_started_with_a_model_that_was_retired_until_it_is_activated_again(api):
    assert ask(api, "retire", BUNDLE.digest).json()["code"] == "bundle_in_use"
    assert ask(api, "retire", NEWER.digest).json()["retired_at"] is not None
    for wanted in (NEWER.digest, "bundle@2"):
        assert run_by(api, bundle=wanted).json()["code"] == "bundle_retired"
    cohort = api.request("POST", "/cohorts", api.key(Role.OPERATOR), json={"name": "later", "bundle": NEWER.digest})
    assert cohort.json()["code"] == "bundle_retired"
    assert ask(api, "activate", NEWER.digest).json()["retired_at"] is None
    assert run_by(api, bundle=NEWER.digest).is_success


def test_who_writes_to_the_database_does_not_take_a_retired_model_back(api):
    ask(api, "retire", NEWER.digest)
    with api.service.database.write() as session:
        session.query(WorkerRow).delete()
    register = BundleRef(name="bundle", version="2", digest=NEWER.digest)
    with api.service.database.write() as session:
        register_bundles(session, [register])
    assert run_by(api, bundle=NEWER.digest).json()["code"] == "bundle_retired"


def test_a_model_that_no_worker_carries_is_not_made_the_default(api):
    with api.service.database.write() as session:
        session.query(WorkerRow).delete()
    say_hello(api, BUNDLE)
    assert ask(api, "activate", NEWER.digest).json()["code"] == "bundle_not_carried"
    assert ask(api, "activate", "d" * 64).json()["code"] == "unknown_bundle"


def test_models_are_of_all_sites_and_so_is_who_chooses_among_them(api):
    for what in ("activate", "retire"):
        assert ask(api, what, NEWER.digest, site="default").json()["code"] == "wrong_scope"
    assert listed(api)[NEWER.digest] == (False, False)


def test_a_setting_goes_before_what_is_chosen_here(tmp_path):
    api = open_api(tmp_path, default_bundle=BUNDLE.digest)
    assert ask(api, "activate", BUNDLE.digest).json()["code"] == "default_bundle_set"
    api.close()
