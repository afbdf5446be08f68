"""OpenID Connect bearer tokens, signed by keys made here."""

import time

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.trust.access.callers import Gate
from med3d_service.trust.access.tokens import ASK_AGAIN_S, KEPT_S, TokenVerifier
from rig.service.api import open_api

ISSUER, AUDIENCE = "https://login.example.org/realms/hospital", "med3d"


class Issuer:
    """Signs tokens, and gives its public keys; ``away`` makes it one that does not answer."""

    def __init__(self):
        self.keys = {"first": RSAKey.generate_key(2048, parameters={"kid": "first"})}
        self.asked = 0
        self.away = False

    def fetch(self):
        self.asked += 1
        if self.away:
            raise httpx.ConnectError("away")
        public = [key.as_dict(private=False) for key in self.keys.values()]
        return KeySet.import_key_set({"keys": public})

    def sign(self, kid="first", algorithm="RS256", key=None, **claims):
        said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u-17", "exp": int(time.time()) + 300, "roles": ["viewer"]}
        said = {name: value for name, value in (said | claims).items() if value is not None}
        return jwt.encode({"alg": algorithm, "kid": kid}, said, key or self.keys[kid], algorithms=[algorithm])


@pytest.fixture
def issuer():
    return Issuer()


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def verifier(issuer, clock=time.monotonic, **settings):
    return TokenVerifier(Settings(oidc_issuer=ISSUER, oidc_audience=AUDIENCE, **settings), issuer, clock)


def test_a_token_of_the_issuer_for_this_audience_gives_its_highest_role(issuer):
    bearer = verifier(issuer).verify(issuer.sign(roles=["viewer", "operator", "something else"]))
    assert (bearer.subject, bearer.grant.role, bearer.grant.clinical, bearer.grant.site) == (
        "u-17", "operator", False, "*",
    )  # fmt: skip


WRONG = {
    "another issuer's": lambda: {"iss": "https://login.example.org/realms/other"},
    "no issuer": lambda: {"iss": None},
    "for another service": lambda: {"aud": "another service"},
    "for nobody": lambda: {"aud": None},
    "expired": lambda: {"exp": int(time.time()) - 60},
    "without an end": lambda: {"exp": None},
    "not yet valid": lambda: {"nbf": int(time.time()) + 600},
    "of nobody": lambda: {"sub": None},
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_token_for_others_or_of_another_time_is_refused(issuer, wrong):
    with pytest.raises(ServiceError, match="invalid_token"):
        verifier(issuer).verify(issuer.sign(**WRONG[wrong]()))


def test_a_token_that_the_issuer_did_not_sign_is_refused(issuer):
    stranger = RSAKey.generate_key(2048, parameters={"kid": "first"})
    public = issuer.keys["first"].as_pem(private=False)
    forged = [
        issuer.sign(key=stranger),
        issuer.sign() + "x",
        issuer.sign(algorithm="HS256", key=OctKey.import_key(public.hex())),
        issuer.sign().rsplit(".", 1)[0] + ".",
        "a.b.c",
        "x" * 100_000,
    ]
    for token in forged:
        with pytest.raises(ServiceError, match="invalid_token"):
            verifier(issuer).verify(token)


def test_a_token_without_a_role_of_ours_may_nothing(issuer):
    for roles in ([], ["worker"], ["root"], None, 7, {"viewer": True}):
        with pytest.raises(ServiceError, match="wrong_scope"):
            verifier(issuer).verify(issuer.sign(roles=roles))


def test_roles_are_found_where_the_settings_say(issuer):
    keycloak = verifier(issuer, oidc_roles_claim="realm_access.roles", oidc_role_prefix="med3d-")
    granted = keycloak.verify(issuer.sign(realm_access={"roles": ["admin", "med3d-submitter", "med3d-clinical"]})).grant
    assert (granted.role, granted.clinical) == ("submitter", True)
    spaced = verifier(issuer, oidc_roles_claim="scope").verify(issuer.sign(scope="openid viewer"))
    assert spaced.grant.role == "viewer"
    sited = verifier(issuer, oidc_site_claim="hospital")
    assert sited.verify(issuer.sign(hospital="north")).grant.site == "north"
    with pytest.raises(ServiceError, match="wrong_scope"):
        sited.verify(issuer.sign())


def test_the_issuer_is_asked_once_again_for_a_new_key_and_not_for_each_token(issuer):
    clock = Clock()
    judge = verifier(issuer, clock)
    for _ in range(5):
        judge.verify(issuer.sign())
    assert issuer.asked == 1
    issuer.keys["second"] = ECKey.generate_key("P-256", parameters={"kid": "second"})
    clock.now += ASK_AGAIN_S
    judge.verify(issuer.sign("second", "ES256"))
    assert issuer.asked == 2
    issuer.keys["unknown"] = issuer.keys["first"]
    for _ in range(5):
        with pytest.raises(ServiceError, match="invalid_token"):
            judge.verify(issuer.sign("unknown"))
    assert issuer.asked == 2, "a flood of unknown keys is no flood of questions"


def test_an_issuer_that_is_away_stops_nobody_whose_key_is_known(issuer):
    clock = Clock()
    judge = verifier(issuer, clock)
    judge.verify(issuer.sign())
    issuer.away = True
    clock.now += KEPT_S + 1
    assert judge.verify(issuer.sign()).grant.role == "viewer"
    with pytest.raises(ServiceError, match="unavailable"):
        verifier(issuer, clock).verify(issuer.sign())


def test_tokens_and_keys_open_the_same_routes(issuer, tmp_path):
    api = open_api(tmp_path, oidc_issuer=ISSUER, oidc_audience=AUDIENCE)
    api.app.state.gate = Gate(api.service.database, api.settings, verifier(issuer))
    assert api.request("GET", "/runs", issuer.sign()).status_code == 200
    assert api.request("POST", f"/studies/{api.ids['study_id']}/runs", issuer.sign(), json={}).status_code == 403
    assert api.request("GET", "/runs", api.key("viewer")).status_code == 200
    refused = api.request("GET", "/runs", issuer.sign(aud="others"))
    assert (refused.status_code, refused.json()["code"]) == (401, "invalid_token")
    api.close()


@pytest.mark.parametrize("site", ["*", "", "  ", None, ["north"], 7])
def test_what_names_every_site_is_no_site(issuer, site):
    judge = verifier(issuer, oidc_site_claim="site")
    with pytest.raises(ServiceError, match="wrong_scope"):
        judge.verify(issuer.sign(site=site))
    assert judge.verify(issuer.sign(site="north")).grant.site == "north"


def test_an_issuer_in_the_clear_is_a_mistake_unless_it_is_meant():
    for told in ({"oidc_issuer": "http://login.example.org"}, {"oidc_issuer": ISSUER, "oidc_jwks_url": "http://x.org"}):
        with pytest.raises(ValueError, match="MED3D_OIDC_ALLOW_INSECURE"):
            Settings(oidc_audience=AUDIENCE, **told)
        assert Settings(oidc_audience=AUDIENCE, oidc_allow_insecure=True, **told).oidc_issuer
    assert Settings(oidc_audience=AUDIENCE, oidc_issuer="http://127.0.0.1:8080").oidc_issuer
