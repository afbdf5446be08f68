"""The routes of the pages, and what wraps their answers."""

from med3d_pages.head_requests import with_heads
from med3d_pages.problem_pages import with_problem_pages
from med3d_pages.rendering import environment
from med3d_pages.routes import (
    account,
    actions,
    admin,
    api,
    assets,
    cohort_gallery,
    cohorts,
    compare,
    documents,
    language,
    model,
    openid,
    pacs,
    person,
    result,
    review,
    sign_in,
    today,
    upload,
    viewer,
    worklist,
)
from med3d_service.api.app import Front


def make_front() -> Front:
    """Put the pages together; the templates are read now, and not while somebody waits for the first page."""
    for name in environment().list_templates():
        environment().get_template(name)
    pages = (
        today,
        worklist,
        review,
        upload,
        result,
        compare,
        viewer,
        person,
        cohort_gallery,
        cohorts,
        model,
        pacs,
        admin,
        api,
        actions,
        account,
    )
    routers = (
        sign_in.router,
        openid.router,
        language.router,
        assets.router,
        documents.router,
        *(page.router for page in pages),
    )
    return Front(routers, lambda app: with_heads(with_problem_pages(app)))
