"""`med3d replay`: derive a stored answer again, and say what differs."""

from contextlib import closing
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_cli.operate.service_here import DataDirHere, service_here

if TYPE_CHECKING:
    from med3d_contract.replay import StoredRun
    from med3d_store.object_store import ObjectStore
    from med3d_worker.stages.replay import Replay, ReplayReport

EXIT_DIFFERS = 5


def replay(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="As `runs` names it; it has its answer.")],
    data_dir: DataDirHere = None,
    bundle: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The model's folder. Default: the shipped one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Derive a stored answer again from its stored input, and compare within the bundle's tolerances.

    Needs the service's data and the worker's packages on one machine; changes nothing. Leaves with 0 where the answers
    agree, with 5 where they differ.
    """
    settings = service_here(data_dir)
    with extra("service", "worker"):
        require_onnx_runtime()
        from med3d_pipeline.errors import PipelineError
        from med3d_service.problems import ServiceError
        from med3d_service.results.replay import stored_run
        from med3d_service.storage.keys import load_keys
        from med3d_service.storage.opening import open_database
        from med3d_service.storage.store_identity import open_store
        from med3d_service.trust.audit import Action, AuditEvent, AuditTrail, command_line
        from med3d_store.object_store import StoreError
    try:
        with closing(open_database(settings)) as database:
            with database.read() as session:
                stored = stored_run(session, run_id)
            event = AuditEvent(
                command_line(), Action.READ, object_kind="run", object_id=run_id, detail={"by": "replay"}
            )
            AuditTrail(database, load_keys(settings).audit).record(event)
            with Console(stderr=True).status("deriving it again"):
                store = open_store(settings, database)
                report = _open(store, settings.data_dir / "scratch", bundle, stored)(stored)
    except ServiceError as error:
        raise CommandError(f"{error.detail} {error.remedy}") from error
    except (PipelineError, StoreError) as error:
        raise CommandError(str(error)) from error
    typer.echo(report.model_dump_json(indent=2)) if as_json else _print(report)
    if not report.agrees:
        raise typer.Exit(EXIT_DIFFERS)


def _open(store: "ObjectStore", scratch: Path, bundle: Path | None, stored: "StoredRun") -> "Replay":
    from med3d_pipeline.bundle.reference_case import ReferenceCase
    from med3d_worker.heads.head_prediction import HeadPrediction
    from med3d_worker.heads.tensors import TensorCache
    from med3d_worker.model.calibrations import CalibrationShelf
    from med3d_worker.model.loaded_model import load_model
    from med3d_worker.preparing.preparation import StudyPreparation
    from med3d_worker.process.logs import configure_logs
    from med3d_worker.scratch import Scratch
    from med3d_worker.settings import BundleSettings
    from med3d_worker.stages.replay import Replay

    configure_logs("WARNING")
    stated: dict[str, Any] = {} if bundle is None else {"bundle": bundle}
    settings = BundleSettings(**stated)
    model = load_model(settings, prove=False)
    # What the run was held against then, whether or not it has expired or was withdrawn since.
    shelf = CalibrationShelf(settings, model.reference.digest, model.predictor.space, lambda: date.min)
    own = {site.calibration_digest: site for site in model.calibrations if site.calibration_digest}
    return Replay(
        StudyPreparation(model),
        HeadPrediction(model.predictor.calibrated(()), settings.allow_demonstration_heads),
        ReferenceCase.load(settings.bundle_dir).tolerances,
        store,
        TensorCache(store),
        Scratch(scratch),
        own | shelf([] if stored.calibration is None else [stored.calibration]),
    )


def _print(report: "ReplayReport") -> None:
    console = Console()
    table = Table(box=None, pad_edge=False)
    for name in ("", "then", "now", "difference", "tolerance", ""):
        table.add_column(name, overflow="fold")
    for one in report.compared:
        numbers = ["" if number is None else f"{number:.2g}" for number in (one.difference, one.tolerance)]
        table.add_row(one.name, one.then, one.now, *numbers, "agrees" if one.agrees else "DIFFERS")
    console.print(table)
    changed = [part for part in report.fingerprint if not part.is_same]
    if not changed:
        console.print("Made by the same input, preprocessing, bundle, software and provider.")
    for part in changed:
        console.print(f"{part.name}: {part.then or 'unknown'} then, {part.now or 'unknown'} now", highlight=False)
