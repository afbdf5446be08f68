"""A small OpenID provider: discovery, keys, codes that work once and only with what they were asked for, ID tokens."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT, SECRET = "med3d-pages", "provider-secret"


class OpenIdProvider:
    """Signs in whoever comes as ``person`` (claims); remembers what it was asked.

    said: claims that replace those of an honest ID token. away: it answers nobody.
    """

    def __init__(self, issuer: str = "https://login.example.org", redirect_uris: Iterable[str] = ()) -> None:
        self.issuer, self.redirect_uris = issuer, set(redirect_uris)
        self.key = RSAKey.generate_key(2048, parameters={"kid": "one"})
        self.person: dict[str, Any] = {"sub": "u-17", "name": "Dr. A. Reader", "roles": ["submitter"]}
        self.said: dict[str, Any] = {}
        self.away = False
        self.codes: dict[str, dict[str, str]] = {}
        self.redeemed: list[dict[str, str]] = []

    @property
    def transport(self) -> httpx.MockTransport:
        """For httpx, in place of a network."""
        return httpx.MockTransport(self._over_httpx)

    def fetch(self) -> KeySet:
        """As TokenVerifier's source of keys."""
        from joserfc.jwk import KeySet

        return KeySet.import_key_set({"keys": [self.key.as_dict(private=False)]})

    def visit(self, address: str) -> str:
        """What a browser does at the provider: where it is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{self.issuer}/authorize?")
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        if self.redirect_uris and asked["redirect_uri"] not in self.redirect_uris:
            raise AssertionError("this client registered no such address")
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.issuer})}"

    def answer(self, method: str, path: str, body: str) -> tuple[int, dict[str, Any]]:
        """(status, JSON) of a request."""
        if self.away:
            return 503, {}
        if path == "/.well-known/openid-configuration":
            return 200, {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
            }
        if path == "/keys":
            return 200, {"keys": [self.key.as_dict(private=False)]}
        if (method, path) == ("POST", "/token"):
            return self._redeem({name: values[0] for name, values in parse_qs(body).items()})
        return 404, {}

    def _redeem(self, sent: dict[str, str]) -> tuple[int, dict[str, Any]]:
        self.redeemed.append(sent)
        asked = self.codes.pop(sent.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(sent.get("code_verifier", "").encode()).digest())
        fits = (
            asked is not None
            and asked["code_challenge"] == challenge.rstrip(b"=").decode()
            and asked["redirect_uri"] == sent.get("redirect_uri")
            and (sent.get("client_id"), sent.get("client_secret")) == (CLIENT, SECRET)
        )
        if asked is None or not fits:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        honest = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
            **self.person,
        }
        claims = {name: value for name, value in (honest | self.said).items() if value is not None}
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)
        return 200, {"id_token": token, "access_token": "x", "token_type": "Bearer"}

    def _over_httpx(self, request: httpx.Request) -> httpx.Response:
        status, said = self.answer(request.method, request.url.path, request.content.decode())
        return httpx.Response(status, json=said)


@contextmanager
def listening_provider() -> Iterator[OpenIdProvider]:
    """One that listens on this machine, for browsers and services in other processes."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/authorize"):
                self.send_response(303)
                self.send_header("Location", provider.visit(f"{provider.issuer}{self.path}"))
                self.end_headers()
                return
            self._answer("")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _answer(self, body: str) -> None:
            status, said = provider.answer(self.command, urlsplit(self.path).path, body)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_told: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = OpenIdProvider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
