"""The routes of the pages, and what wraps their answers."""

from med3d_pages.problem_pages import with_problem_pages
from med3d_pages.routes import account, assets, result, sign_in, worklist
from med3d_service.api.app import Front


def make_front() -> Front:
    """Put the pages together."""
    routers = (sign_in.router, assets.router, worklist.router, result.router, account.router)
    return Front(routers, with_problem_pages)
