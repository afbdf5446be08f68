"""HEAD on pages (RFC 9110 9.3.2): the headers that GET would bring, and no body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from med3d_pages.addresses import PREFIX
from med3d_pages.rendering import is_page

SPENDS_A_LINK = frozenset({f"{PREFIX}/enter", f"{PREFIX}/openid/back"})
"""What looks at links before a person does (mail filters, previews) must not use up the one for signing in."""


def with_heads(app: ASGIApp) -> ASGIApp:
    """Wrap ``app``: it is asked for the page, and its body is kept back."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD" or not _may_be_looked_at(scope["path"]):
            await app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        await app({**scope, "method": "GET"}, receive, without_body)

    return wrapped


def _may_be_looked_at(path: str) -> bool:
    return (path == "/" or is_page(path)) and path not in SPENDS_A_LINK
