"""The routes of the results API."""

from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request

from med3d_service.api.service import Service


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def goes_on(request: Request) -> bool:
    """Tell whether there is still somebody at the other end of a stream, and their key or token still opens it."""
    if await request.is_disconnected():
        return False
    authorization = request.headers.get("authorization", "")
    still: bool = await to_thread.run_sync(request.app.state.gate.still_admits, request.scope, authorization)
    return still


ServiceParts = Annotated[Service, Depends(_service)]
