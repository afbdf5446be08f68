"""Pages for browsers, rendered by the API's process on the service's own queries; served under /ui behind its door.

app = create_app(settings, front())
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever asks for one module of the pages need not import the whole API
    from med3d_service.api.app import Front


def front() -> "Front":
    """Put the pages together."""
    from med3d_pages.mount import make_front

    return make_front()


__all__ = ["front"]
