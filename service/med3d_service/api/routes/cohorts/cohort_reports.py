"""A cohort's summary by one model, its morning report on two, and its table."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from med3d_service.api.routes import ServiceParts, examples
from med3d_service.api.routes.cohorts.cohorts import CohortId
from med3d_service.api.service import Service
from med3d_service.cohorts.diff import DEFAULT_GAP_YEARS, CohortDiff, cohort_diff, cohort_members
from med3d_service.cohorts.export import Layout, as_csv, as_parquet, columns_of, table_rows
from med3d_service.cohorts.kept_pages.diff_page import diff_page
from med3d_service.cohorts.kept_pages.summary_page import summary_page
from med3d_service.cohorts.members import find_cohort
from med3d_service.cohorts.progress import cohort_progress, latest_bundles
from med3d_service.cohorts.scatter import cohort_scatter
from med3d_service.cohorts.summary import CohortSummary, summarise
from med3d_service.cohorts.tables import CohortRow
from med3d_service.problems import AUTH_CODES, ServiceError, problems
from med3d_service.runs.bundles import find_bundle
from med3d_service.storage.tables import BundleRow
from med3d_service.trust.access import Caller, Viewer

router = APIRouter(tags=["cohorts"])
HTML, CSV, PARQUET = "text/html", "text/csv", "application/vnd.apache.parquet"
Bundle = Annotated[str, Query(max_length=300, description="name, name@version or digest")]
TEXT = {"schema": {"type": "string"}}
BYTES = {"schema": {"type": "string", "format": "binary"}}


@router.get(
    "/cohorts/{cohort}/diff",
    summary="What another bundle says of a cohort",
    response_model=CohortDiff,
    responses=problems(
        "unknown_cohort",
        "unknown_bundle",
        "no_bundle",
        "bundle_forged",
        "nothing_to_compare",
        "no_parquet",
        *AUTH_CODES,
    )
    | {
        200: {
            "description": "Shifts, agreement, accuracy, who changed, drift; as CSV or Parquet a row for each member",
            "content": {"application/json": {"example": examples.DIFF}, HTML: TEXT, CSV: TEXT, PARQUET: BYTES},
        }
    },
)
def compare(
    cohort: CohortId,
    service: ServiceParts,
    caller: Viewer,
    first: Annotated[
        str | None, Query(alias="from", max_length=300, description="the bundle to compare with; else the one before")
    ] = None,
    second: Annotated[
        str | None, Query(alias="to", max_length=300, description="the bundle that is compared; else the latest")
    ] = None,
    gap_years: Annotated[float, Query(ge=0, le=100, description="a gap that is worth a look")] = DEFAULT_GAP_YEARS,
    format: Literal["json", "html", "csv", "parquet"] = "json",  # noqa: A002 - the word that people try
) -> Response:
    """Compare the answers of two bundles, member by member."""
    found, bundles = compared_bundles(service, caller, cohort, first, second)
    if format in {"csv", "parquet"}:
        return _table(service, found, bundles, "wide", format, f"{found.name}-diff")
    diff, points = cohort_diff(service.database, found, bundles[0], bundles[1], gap_years)
    if format == "html":
        return Response(
            diff_page(diff, points, datetime.now(UTC)), media_type=HTML, headers=_named(f"{found.name}.html")
        )
    return Response(diff.model_dump_json(), media_type="application/json")


@router.get(
    "/cohorts/{cohort}/summary",
    summary="What one bundle says of a cohort",
    response_model=CohortSummary,
    responses=problems("unknown_cohort", "unknown_bundle", "no_bundle", "bundle_forged", *AUTH_CODES)
    | {
        200: {
            "description": "Who has a number, how far it is from age, who is farthest off, who has none and why",
            "content": {"application/json": {"example": examples.SUMMARY}, HTML: TEXT},
        }
    },
)
def summarise_one(
    cohort: CohortId,
    service: ServiceParts,
    caller: Viewer,
    bundle: Annotated[str | None, Query(max_length=300, description="else the one under way, or last")] = None,
    format: Literal["json", "html"] = "json",  # noqa: A002 - the word that people try
) -> Response:
    """Sum up the answers of one bundle: the report of the first night, when there is nothing to compare yet."""
    with service.database.read() as session:
        found = find_cohort(session, caller, cohort)
        progress = cohort_progress(session, found, bundle, service.settings.worker_silent_s)
        row = find_bundle(session, progress.bundle.digest)
    scatter = cohort_scatter(service.database, service.vault, found, row)
    summary = summarise(progress, scatter)
    if format == "html":
        page = summary_page(summary, scatter, datetime.now(UTC))
        return Response(page, media_type=HTML, headers=_named(f"{found.name}-summary.html"))
    return Response(summary.model_dump_json(), media_type="application/json")


@router.get(
    "/cohorts/{cohort}/export",
    summary="A cohort as a table",
    response_class=Response,
    responses=problems("unknown_cohort", "unknown_bundle", "no_bundle", "bundle_forged", "no_parquet", *AUTH_CODES)
    | {200: {"description": "A row for each answer (long) or member (wide)", "content": {CSV: TEXT, PARQUET: BYTES}}},
)
def export(
    cohort: CohortId,
    service: ServiceParts,
    caller: Viewer,
    layout: Layout = "long",
    format: Literal["csv", "parquet"] = "csv",  # noqa: A002 - the word that people try
    bundle: Annotated[
        list[Bundle] | None, Query(max_length=8, description="else all that the cohort went through")
    ] = None,
) -> Response:
    """Export the answers with what is known of the members, under the senders' pseudonyms."""
    found, bundles = _found(service, caller, cohort, tuple(bundle or ()))
    return _table(service, found, bundles, layout, format, f"{found.name}-{layout}")


def _found(
    service: Service, caller: Caller, cohort: str, bundles: tuple[str, ...]
) -> tuple[CohortRow, tuple[BundleRow, ...]]:
    with service.database.read() as session:
        found = find_cohort(session, caller, cohort)
        wanted = tuple(find_bundle(session, name) for name in bundles)
        return found, wanted or latest_bundles(session, found)


def compared_bundles(
    service: Service, caller: Caller, cohort: str, first: str | None, second: str | None
) -> tuple[CohortRow, tuple[BundleRow, BundleRow]]:
    """Find a cohort and the two bundles that are compared on it.

    Raises ServiceError("nothing_to_compare") where the cohort went through one bundle, and no other is named.
    """
    with service.database.read() as session:
        found = find_cohort(session, caller, cohort)
        latest = latest_bundles(session, found)
        after = latest[0] if second is None else find_bundle(session, second)
        others = [bundle for bundle in latest if bundle.digest != after.digest]
        before = find_bundle(session, first) if first is not None else next(iter(others), None)
    if before is None:
        raise ServiceError("nothing_to_compare")
    return found, (before, after)


def _table(
    service: Service, cohort: CohortRow, bundles: tuple[BundleRow, ...], layout: Layout, kind: str, name: str
) -> Response:
    columns = columns_of(layout, bundles)
    headers = _named(f"{name}.{kind}")
    if kind == "csv":
        return StreamingResponse(_csv(service, cohort, bundles, layout, columns), media_type=CSV, headers=headers)
    with cohort_members(service.database, cohort, bundles) as (session, members):
        content = as_parquet(columns, table_rows(session, service.vault, members, layout, bundles))
    return Response(content, media_type=PARQUET, headers=headers)


def _csv(
    service: Service, cohort: CohortRow, bundles: tuple[BundleRow, ...], layout: Layout, columns: list[str]
) -> Iterator[bytes]:
    with cohort_members(service.database, cohort, bundles) as (session, members):
        yield from as_csv(columns, table_rows(session, service.vault, members, layout, bundles))


def _named(name: str) -> dict[str, Any]:
    return {"Content-Disposition": f'inline; filename="{name}"', "Cache-Control": "private, no-store"}
