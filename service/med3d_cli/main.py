"""The `med3d` command."""

import errno
import sys
from importlib.metadata import version
from typing import Annotated

import typer
from pydantic import ValidationError

from med3d_cli.bids.arguments import BidsAppCommand
from med3d_cli.bids.command import bids
from med3d_cli.calibration.calibrate import calibrate
from med3d_cli.calibration.calibrations import calibrations_commands
from med3d_cli.capacity.command import capacity
from med3d_cli.cohort.commands import cohort_commands
from med3d_cli.embedded.demo import demo
from med3d_cli.embedded.serve import serve
from med3d_cli.empty_words import refuse_empty_words
from med3d_cli.errors import CommandError
from med3d_cli.operate.audit import audit_commands
from med3d_cli.operate.backup import backup, restore
from med3d_cli.operate.bundle import bundle_commands
from med3d_cli.operate.identifier_key import identifier_key_commands
from med3d_cli.operate.keys import key_commands
from med3d_cli.operate.ledger import ledger
from med3d_cli.operate.replay import replay
from med3d_cli.operate.retention import retention
from med3d_cli.operate.rules import rules_commands
from med3d_cli.operate.settings import refuse_unknown_variables, settings
from med3d_cli.operate.site_key import site_key_commands
from med3d_cli.processes.pacs import pacs_commands
from med3d_cli.processes.worker import worker
from med3d_cli.standard_output import OutputError, drop_output, watch_output
from med3d_cli.studies.analyse import analyse
from med3d_cli.studies.commands import explain, requeue, runs, show, submit
from med3d_cli.studies.figure import figure
from med3d_cli.studies.sign_in import sign_in
from med3d_cli.studies.watch import watch
from med3d_client.study_stream import UnsendableStudy
from med3d_client.transport import ApiError, ApiUnavailable
from med3d_confined import leave_no_core
from med3d_contract.variables.values import wrong_settings


def make_app() -> typer.Typer:
    """Return the command line with all its commands."""
    app = typer.Typer(
        name="med3d",
        help="Brain age and estimated SDMT from T1-weighted head MRI. Not a medical device.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    plain = (serve, submit, runs, show, explain, requeue, analyse, figure, calibrate, watch, worker, demo)
    for command in (*plain, ledger, backup, restore, replay, retention, capacity, settings):
        app.command()(command)
    app.command(cls=BidsAppCommand)(bids)
    app.command(name="sign-in")(sign_in)
    app.add_typer(audit_commands(), name="audit")
    app.add_typer(bundle_commands(), name="bundle")
    app.add_typer(calibrations_commands(), name="calibrations")
    app.add_typer(cohort_commands(), name="cohort")
    app.add_typer(identifier_key_commands(), name="identifier-key")
    app.add_typer(key_commands(), name="keys")
    app.add_typer(pacs_commands(), name="pacs")
    app.add_typer(rules_commands(), name="rules")
    app.add_typer(site_key_commands(), name="site-key")
    refuse_empty_words(app)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"med3d {version('infovae-med3d')}")
        raise typer.Exit


def _options(
    context: typer.Context,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and stop.")
    ] = False,
) -> None:
    """Brain age and estimated SDMT from T1-weighted head MRI. Not a medical device."""
    # what helps to mend the environment is given in any: a command's help, and `settings`, which shows all and refuses
    if context.invoked_subcommand != "settings" and "--help" not in sys.argv:
        refuse_unknown_variables()


def run() -> None:
    """Run the program: what a user can mend is one line on stderr, without a traceback."""
    leave_no_core()  # nor do the processes that `serve` and `worker` start
    watch_output()
    try:
        make_app()()
    except OutputError as error:
        drop_output()
        _stop(str(error), error.exit_code)
    except CommandError as error:
        _stop(str(error), error.exit_code)
    except (ApiError, ApiUnavailable, UnsendableStudy) as error:
        _stop(str(error), 1)
    except ValidationError as error:
        if not error.title.endswith("Settings"):
            raise
        _stop(wrong_settings(error), 1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        _stop(f"a path is longer than this system takes: {error.filename}", 2)


def _stop(message: str, exit_code: int) -> None:
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    sys.exit(exit_code)
