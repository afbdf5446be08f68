"""Headers of every answer: it is data, for this caller alone, and no page (OWASP Secure Headers, REST).

No browser or proxy keeps it: the words of a verdict would else lie in the clear on a shared disk.
"""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}
HSTS = "max-age=31536000"


def with_security_headers(app: ASGIApp) -> ASGIApp:
    """Wrap ``app``. What a route says itself stays; over TLS, browsers are told to stay there."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def adding_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                if scope.get("scheme") == "https":
                    headers.setdefault("Strict-Transport-Security", HSTS)
            await send(message)

        await app(scope, receive, adding_send)

    return wrapped
