"""OpenID Connect bearer tokens: JWTs of one configured issuer, for one audience, with the roles in a claim.

OpenID Connect Core 1.0 (3.1.3.7), RFC 7519 and RFC 8725. Keys come from the issuer's JWKS and are kept for a while.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import structlog
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jwt import JWTClaimsRegistry

from med3d_contract.json_files import read_json
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings
from med3d_service.storage.same_secret import is_same_secret
from med3d_service.trust.access.roles import CLINICAL, EVERY_SITE, RANKS, Grant

log = structlog.get_logger()

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")
"""Asymmetric ones alone: with a shared secret, whoever can verify could also sign."""
LEEWAY_S = 30
KEPT_S = 600.0
ASK_AGAIN_S = 10.0
"""An unknown key id makes us ask the issuer again, but not more often than this."""
LONGEST_TOKEN = 16 * 1024


@dataclass(frozen=True)
class Bearer:
    """Whom a token stands for, and what it grants. ``name``: as the issuer calls the person, if it says."""

    subject: str
    grant: Grant
    name: str = ""


class KeySource(Protocol):
    """Where the issuer's public keys come from. ``fetch`` raises httpx.HTTPError or ValueError."""

    def fetch(self) -> KeySet:
        """Ask the issuer."""
        ...


class IssuerKeys:
    """The issuer's JWKS: at ``jwks_url``, else where its discovery document says."""

    def __init__(self, issuer: str, jwks_url: str | None, ca_file: str | None) -> None:
        self._issuer, self._jwks_url, self._ca_file = issuer.rstrip("/"), jwks_url, ca_file

    def fetch(self) -> KeySet:
        """Ask the issuer. Raises httpx.HTTPError, ValueError."""
        import ssl

        verify = ssl.create_default_context(cafile=self._ca_file)
        with httpx.Client(timeout=5.0, follow_redirects=False, trust_env=False, verify=verify) as client:
            url = self._jwks_url
            if url is None:
                place = f"{self._issuer}/.well-known/openid-configuration"
                found = read_json(client.get(place).raise_for_status().content)
                if str(found["issuer"]).rstrip("/") != self._issuer:
                    raise ValueError("the discovery document is another issuer's")
                url = str(found["jwks_uri"])
            return KeySet.import_key_set(read_json(client.get(url).raise_for_status().content))


class TokenVerifier:
    """Judges tokens. Thread-safe; the issuer is asked when a token's key is not known or was kept for too long."""

    def __init__(
        self,
        settings: Settings,
        source: KeySource | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        audience: str | None = None,
    ) -> None:
        issuer, self._audience = settings.oidc_issuer, audience or settings.oidc_audience
        assert issuer is not None
        assert self._audience is not None
        self._source = source or IssuerKeys(issuer, settings.oidc_jwks_url, settings.oidc_ca_file)
        self._roles_claim, self._site_claim = settings.oidc_roles_claim, settings.oidc_site_claim
        self._prefix = settings.oidc_role_prefix
        self._claims = JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        self._clock, self._lock = clock, threading.Lock()
        self._keys: KeySet | None = None
        self._asked_at = float("-inf")

    def verify(self, text: str, *, nonce: str | None = None) -> Bearer:
        """Judge a token; with ``nonce``, an ID token that must carry it.

        Raises ServiceError: invalid_token, wrong_scope, unavailable (of an issuer that gave no keys yet).
        """
        if len(text) > LONGEST_TOKEN:
            raise ServiceError("invalid_token")
        try:
            claims = self._decoded(text)
            self._claims.validate(claims)
            if nonce is not None:
                self._require_attempt(claims, nonce)
        except (JoseError, ValueError) as error:
            # What is wrong helps an operator; the token itself must not be logged.
            log.info("token_refused", kind=type(error).__name__)
            raise ServiceError("invalid_token") from error
        name = claims.get("name") or claims.get("preferred_username") or ""
        return Bearer(str(claims["sub"])[:200], self._grant(claims), str(name)[:100])

    def _require_attempt(self, claims: dict[str, Any], nonce: str) -> None:
        """Raise ValueError unless an ID token was made for this attempt, and for us alone (3.1.3.7, 3 and 11)."""
        said = claims.get("nonce")
        if not isinstance(said, str) or not is_same_secret(said, nonce):
            raise ValueError("the token was made for another attempt")
        if claims.get("azp", self._audience) != self._audience:
            raise ValueError("the token was made for another client")

    def _decoded(self, text: str) -> dict[str, Any]:
        keys = self._known(max_age_s=KEPT_S)
        try:
            return jwt.decode(text, keys, algorithms=ALGORITHMS).claims
        except InvalidKeyIdError:
            return jwt.decode(text, self._known(max_age_s=ASK_AGAIN_S), algorithms=ALGORITHMS).claims

    def _known(self, max_age_s: float) -> KeySet:
        with self._lock:
            if self._clock() - self._asked_at >= max_age_s or self._keys is None:
                self._ask()
            if self._keys is None:
                raise ServiceError("unavailable", "The issuer of tokens gives no keys now.")
            return self._keys

    def _ask(self) -> None:
        """Keys that were known outlive an issuer that is away."""
        if self._clock() - self._asked_at < ASK_AGAIN_S:
            return
        self._asked_at = self._clock()
        try:
            self._keys = self._source.fetch()
        except (httpx.HTTPError, JoseError, ValueError, LookupError, TypeError, OSError) as error:
            log.warning("issuer_gives_no_keys", kind=type(error).__name__)

    def _grant(self, claims: dict[str, Any]) -> Grant:
        found = _at(claims, self._roles_claim)
        words = found.split() if isinstance(found, str) else found if isinstance(found, list) else []
        named = {word.removeprefix(self._prefix) for word in map(str, words) if word.startswith(self._prefix)}
        roles = [role for role in RANKS if role in named]
        if not roles:
            raise ServiceError("wrong_scope", f"The token's claim '{self._roles_claim}' names no role of this service.")
        if self._site_claim is None:
            return Grant(roles[-1], CLINICAL in named, EVERY_SITE)
        site = _at(claims, self._site_claim)
        if not isinstance(site, str) or not site.strip() or site == EVERY_SITE:
            raise ServiceError("wrong_scope", f"The token's claim '{self._site_claim}' names no site.")
        return Grant(roles[-1], CLINICAL in named, site)


def _at(claims: dict[str, Any], path: str) -> Any:
    """Read a claim: of this very name, else along the dots (``realm_access.roles``)."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
