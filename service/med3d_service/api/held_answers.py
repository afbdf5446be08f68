"""Answers that are held back whole, so that what goes out can be another one."""

from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

AnswerAnew = Callable[[Scope, Receive, Send, Message, bytes], Awaitable[None]]
"""Given the request, the held start of its answer and the whole body, sends what is to be sent."""


def hold_answers(
    app: ASGIApp, *, to: Callable[[Scope], bool], begin: Callable[[Message], bool], anew: AnswerAnew
) -> ASGIApp:
    """Wrap ``app``: of answers ``to`` such requests those that ``begin`` so are held, and sent by ``anew``.

    All others pass as they come: streams and files are never gathered.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not to(scope):
            await app(scope, receive, send)
            return
        held: Message | None = None
        body = bytearray()

        async def holding_send(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start" and begin(message):
                held = message
            elif held is None:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await anew(scope, receive, send, held, bytes(body))

        await app(scope, receive, holding_send)

    return wrapped
