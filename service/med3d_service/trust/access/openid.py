"""Signing in to the pages by the hospital's OpenID provider: the authorization code flow, with PKCE.

OpenID Connect Core 1.0 (3.1), RFC 7636 (S256), RFC 9207 (``iss`` in the answer), RFC 9700. What binds the way back to
the browser that left, and code and token to this one attempt, derives from one secret in a cookie of ten minutes.
"""

import base64
import hashlib
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode, urlsplit

import httpx
import structlog

from med3d_contract.json_files import read_json
from med3d_service.problems import ServiceError
from med3d_service.settings import Settings, is_private
from med3d_service.storage.same_secret import is_same_secret
from med3d_service.trust.access.tokens import KEPT_S, Bearer, TokenVerifier

log = structlog.get_logger()

ATTEMPT_VALID_S = 600
TIMEOUT_S = 10.0
LONGEST_ANSWER = 4096


class JudgesIdTokens(Protocol):
    """The part of TokenVerifier that is needed here."""

    def verify(self, text: str, *, nonce: str | None = None) -> Bearer:
        """Tell whose token it is. Raises ServiceError: invalid_token, wrong_scope, unavailable."""
        ...


@dataclass(frozen=True)
class Departure:
    """Where to send a browser, and the cookie that it must come back with."""

    address: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class Endpoints:
    """What the provider's discovery document says of itself."""

    authorization: str
    token: str


class OpenIdSignIn:
    """One per API process. ``transport`` is httpx's own, or a test's provider."""

    def __init__(
        self,
        settings: Settings,
        tokens: JudgesIdTokens | None = None,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert settings.oidc_issuer is not None
        assert settings.oidc_client_id is not None
        self.issuer = settings.oidc_issuer
        self._client_id, self._scopes = settings.oidc_client_id, settings.oidc_scopes
        self._client_secret = settings.oidc_client_secret
        self._insecure = settings.oidc_allow_insecure
        self._tokens = tokens or TokenVerifier(settings, audience=settings.oidc_client_id)
        self._transport, self._ca_file = transport, settings.oidc_ca_file
        self._clock, self._lock = clock, threading.Lock()
        self._known: tuple[float, Endpoints] | None = None

    def depart(self, redirect_uri: str) -> Departure:
        """Begin an attempt. Raises ServiceError("unavailable") where the provider does not say where it is."""
        secret = secrets.token_urlsafe(32)
        asked = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": redirect_uri,
            "scope": self._scopes,
            "state": _derived(secret, "state"),
            "nonce": _derived(secret, "nonce"),
            "code_challenge": _challenge(_derived(secret, "verifier")),
            "code_challenge_method": "S256",
        }
        address = self._endpoints().authorization
        return Departure(f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(asked)}", secret)

    def arrive(self, secret: str, answer: Mapping[str, str], redirect_uri: str) -> Bearer:
        """Redeem what the provider sent a browser back with; ``secret``: of the browser's cookie.

        Raises ServiceError: sign_in_failed, invalid_token, wrong_scope, unavailable.
        """
        if not secret or not is_same_secret(answer.get("state", ""), _derived(secret, "state")):
            raise ServiceError("sign_in_failed")
        if answer.get("iss", self.issuer).rstrip("/") != self.issuer.rstrip("/") or not answer.get("code"):
            log.info("sign_in_refused_by_provider", another_issuer="iss" in answer, error=bool(answer.get("error")))
            raise ServiceError("sign_in_failed")
        token = self._redeemed(answer["code"], _derived(secret, "verifier"), redirect_uri)
        return self._tokens.verify(token, nonce=_derived(secret, "nonce"))

    def _redeemed(self, code: str, verifier: str, redirect_uri: str) -> str:
        """Change a code into the ID token that goes with it: from here to the provider, past the browser."""
        sent = {
            "grant_type": "authorization_code",
            "code": code[:LONGEST_ANSWER],
            "redirect_uri": redirect_uri,
            "client_id": self._client_id,
            "code_verifier": verifier,
        }
        if self._client_secret is not None:
            sent["client_secret"] = self._client_secret.get_secret_value()
        try:
            with self._http() as http:
                answer = http.post(self._endpoints().token, data=sent, headers={"Accept": "application/json"})
                said = read_json(answer.content) if answer.status_code == 200 else None
        except (httpx.HTTPError, ValueError, OSError) as error:
            raise self._away(error) from error
        if answer.status_code >= 500:
            raise self._away(ValueError("provider's fault"))
        token = said.get("id_token") if isinstance(said, dict) else None
        if not isinstance(token, str):  # a code that was used, or is not this client's (RFC 6749 5.2)
            raise ServiceError("sign_in_failed")
        return token

    def _endpoints(self) -> Endpoints:
        with self._lock:
            if self._known is None or self._clock() - self._known[0] >= KEPT_S:
                self._known = (self._clock(), self._discovered())
            return self._known[1]

    def _discovered(self) -> Endpoints:
        try:
            with self._http() as http:
                place = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
                said: Any = read_json(http.get(place).raise_for_status().content)
            of_issuer = str(said["issuer"]).rstrip("/") == self.issuer.rstrip("/")
            found = Endpoints(str(said["authorization_endpoint"]), str(said["token_endpoint"]))
        except (httpx.HTTPError, ValueError, LookupError, TypeError, OSError) as error:
            raise self._away(error) from error
        if not of_issuer or not all(self._may_be_used(url) for url in (found.authorization, found.token)):
            raise self._away(
                ValueError("the discovery document is another issuer's, or its endpoints are in the clear")
            )
        return found

    def _may_be_used(self, url: str) -> bool:
        return urlsplit(url).scheme in {"https", "http"} and (self._insecure or is_private(url))

    def _http(self) -> httpx.Client:
        transport = self._transport or httpx.HTTPTransport(verify=ssl.create_default_context(cafile=self._ca_file))
        return httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, transport=transport)

    def _away(self, error: Exception) -> ServiceError:
        log.warning("openid_provider_away", kind=type(error).__name__)
        return ServiceError("unavailable", "The hospital's sign-in does not answer now.")


def _derived(secret: str, label: str) -> str:
    """Derive one value of an attempt from its secret; none of them tells another."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"{label}\0{secret}".encode()).digest()).rstrip(b"=").decode()


def _challenge(verifier: str) -> str:
    """Derive what stands for a verifier before it is shown (RFC 7636 4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
