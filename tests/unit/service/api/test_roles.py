"""Every route takes the role that it declares, and no other: walked from the OpenAPI document, so that none is forgotten."""

import pytest

from med3d_service.settings import Settings
from med3d_service.trust.access import Role
from rig.service.api import empty_api, open_api
from rig.service.parts import add_run

OPEN = {"/healthz", "/readyz", "/hooks/orthanc"}
"""Asked by load balancers, and by a hook that signs its calls. Every other route must state a role."""
CLINICAL = "clinical"
ANONYMOUS, GRANTS = None, [(role, clinical) for role in Role for clinical in (False, True)]
ELSEWHERE = "another hospital"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    made = open_api(tmp_path_factory.mktemp("data"), failed_keys_per_minute=10_000)
    yield made
    made.close()


@pytest.fixture(scope="module")
def keys(api):
    return {(role, clinical): api.key(role, clinical=clinical) for role, clinical in GRANTS}


def routes(api):
    """(method, path, needs) of each route; ``needs`` are its role and perhaps the clinical grant."""
    for path, methods in api.app.openapi()["paths"].items():
        for method, route in methods.items():
            yield method.upper(), path, [need for one in route.get("security", []) for need in one["HTTPBearer"]]


def filled(api, path):
    """The path with the ids of what the database holds. A parameter that is new here belongs into rig.service.api."""
    return path.format(**api.ids)


def called(api, method, path, key):
    body = {} if method in {"POST", "PUT", "PATCH"} else None
    return api.request(method, filled(api, path), key, json=body)


def test_every_route_states_exactly_one_role(api):
    for method, path, needs in routes(api):
        roles = [need for need in needs if need != CLINICAL]
        assert len(roles) == (0 if path in OPEN else 1), (
            f"{method} {path} must state its role (med3d_service.trust.access)"
        )
        assert set(roles) <= set(Role)


OF_ALL_SITES = {"/bundles/{bundle_digest}/activate", "/bundles/{bundle_digest}/retire"}
"""Models are of no site: who administers one is told so."""
NAMES_WHAT_COMES = {"/dicomweb/studies/{study_uid}"}
"""Of what is sent, which need not be there."""


def test_every_route_is_closed_to_who_has_no_key(api):
    for method, path, _needs in routes(api):
        if path not in OPEN:
            answer = called(api, method, path, ANONYMOUS)
            assert (answer.status_code, answer.json()["code"]) == (401, "missing_key"), (method, path)


def test_every_route_takes_those_whose_role_and_grant_suffice_and_nobody_else(api, keys):
    walked = 0
    for method, path, needs in routes(api):
        if path in OPEN:
            continue
        for (role, clinical), key in keys.items():
            may = all(clinical if need == CLINICAL else role.covers(Role(need)) for need in needs)
            if method == "DELETE" and may:
                continue  # what is erased cannot be walked any further
            answer = called(api, method, path, key)
            assert (answer.status_code != 403) is may, (method, path, role, clinical, answer.text)
            assert answer.status_code != 401
            assert answer.status_code < 500, (method, path, answer.text)
            walked += 1
    assert walked > 200


def test_a_key_for_metrics_reads_them_and_nothing_else_and_opens_no_page(api, keys):
    key = keys[Role.METRICS, False]
    assert "med3d_workers_silent_total 0.0" in api.request("GET", "/metrics", key).text
    open_to_it = [path for _, path, needs in routes(api) if needs and all(Role.METRICS.covers(Role(n)) for n in needs)]
    assert open_to_it == ["/metrics"]
    assert api.request("GET", "/metrics", keys[Role.WORKER, False]).json()["code"] == "wrong_scope"


def test_a_worker_may_speak_under_worker_and_nowhere_else(api):
    for method, path, needs in routes(api):
        assert (Role.WORKER in needs) is path.startswith("/worker/"), (method, path)


def test_no_role_of_another_site_reads_or_changes_anything(api):
    foreign = {role: api.key(role, clinical=True, site=ELSEWHERE) for role in Role if role is not Role.WORKER}
    for method, path, needs in routes(api):
        if path in OPEN or Role.WORKER in needs:
            continue
        for role, key in foreign.items():
            answer = called(api, method, path, key)
            if "{" in path and path not in NAMES_WHAT_COMES and role.covers(Role(needs[0])):
                assert answer.status_code == (403 if path in OF_ALL_SITES else 404), (method, path, answer.text)
            own = {value for name, value in api.ids.items() if name not in {"bundle_digest", "plane", "volume"}}
            asked = {value for value in own if value in filled(api, path)}
            assert not any(value in answer.text for value in own - asked), (method, path)
    with_own = api.key(Role.ADMIN, clinical=True, site=api.settings.site)
    assert api.request("GET", f"/runs/{api.ids['run_id']}", with_own).json()["status"] == "refused"


OF_WHO_ASKS = {"/me", "/keys", "/sessions"}
OF_THE_INSTALLATION = {"/bundles", "/metrics", "/openapi.json"}
"""The same for all sites. What else a route without a parameter tells must be of the caller's site."""


def test_lists_and_counts_tell_another_site_nothing_more_than_an_empty_service_would(tmp_path):
    filled, empty = open_api(tmp_path / "filled"), empty_api(tmp_path / "empty")
    add_run(filled.service.database)
    told = 0
    for method, path, needs in routes(filled):
        if method != "GET" or "{" in path or path in OPEN | OF_WHO_ASKS | OF_THE_INSTALLATION or Role.WORKER in needs:
            continue
        answers = [
            api.request("GET", path, api.key(Role.ADMIN, clinical=True, site=ELSEWHERE)) for api in (filled, empty)
        ]
        assert answers[0].text == answers[1].text, path
        told += answers[0].status_code == 200
    assert told > 6
    filled.close()
    empty.close()


def test_without_a_site_of_its_own_a_key_sees_all_of_them(tmp_path):
    api = open_api(tmp_path, site="default")
    for site, sees in (("*", True), ("default", True), (ELSEWHERE, False)):
        found = api.request("GET", "/studies", api.key(Role.VIEWER, site=site)).json()["items"]
        assert bool(found) is sees, site
    api.close()


def test_roles_of_people_include_the_ones_below_and_none_includes_the_workers():
    people = [Role.VIEWER, Role.SUBMITTER, Role.OPERATOR, Role.ADMIN]
    for lower, role in enumerate(people):
        assert [role.covers(wanted) for wanted in people] == [wanted <= lower for wanted in range(4)]
        assert not role.covers(Role.WORKER)
        assert not Role.WORKER.covers(role)


def test_an_issuer_without_an_audience_is_a_mistake():
    with pytest.raises(ValueError, match="go together"):
        Settings(oidc_issuer="https://issuer.example.org")
