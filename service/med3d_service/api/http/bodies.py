"""Reading a request's body piece by piece, with the work on each piece in a thread."""

from collections.abc import Callable
from typing import TypeVar

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from med3d_service.problems import ServiceError

log = structlog.get_logger()
PIECE_BYTES = 1024 * 1024
T = TypeVar("T")


async def in_thread(request: Request, work: Callable[[], T]) -> T:
    """Run blocking work on an upload; only so many uploads are worked on at once."""
    limiter: CapacityLimiter = request.app.state.upload_limiter
    return await to_thread.run_sync(work, limiter=limiter)


async def read_body(request: Request, max_bytes: int, write: Callable[[bytes], None]) -> None:
    """Give the body to ``write`` in pieces. Raises ServiceError: upload_too_large; malformed_upload of who hangs up."""
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise ServiceError("upload_too_large")
    received_bytes, piece = 0, bytearray()
    try:
        async for data in request.stream():
            received_bytes += len(data)
            if received_bytes > max_bytes:
                raise ServiceError("upload_too_large")
            piece += data
            if len(piece) >= PIECE_BYTES:
                ready, piece = bytes(piece), bytearray()
                await in_thread(request, lambda: write(ready))  # noqa: B023 - awaited before the next one
        await in_thread(request, lambda: write(bytes(piece)))
    except ClientDisconnect as error:
        log.info("sender_hung_up", received_bytes=received_bytes)
        raise ServiceError("malformed_upload") from error
