"""One process of the service, set by the environment: ``python -m med3d_service api|courier|scheduler|migrate``.

``python -m med3d_service keys FOLDER [WORKER_FOLDER]`` leaves API keys for people, and for workers, there, and stops;
``python -m med3d_service rotate-identifier-key`` seals the identifiers under a new key, while nothing else runs.
"""

import os
import sys
from pathlib import Path

from pydantic import ValidationError

from med3d_confined import leave_no_core
from med3d_contract.variables.names import unknown_variables
from med3d_contract.variables.values import wrong_settings
from med3d_service import processes
from med3d_service.settings import Settings


def run_api(settings: Settings) -> None:
    """Serve the API, and the pages on top of it."""
    from med3d_pages import front

    processes.run_api(settings, front())


PROCESSES = {
    "api": run_api,
    "courier": processes.run_courier,
    "listener": processes.run_listener,
    "hl7": processes.run_hl7,
    "scheduler": processes.run_scheduler,
    "deliverer": processes.run_deliverer,
    "fetcher": processes.run_fetcher,
    "migrate": processes.migrate,
}


def main() -> int:
    """Run what the command line names. What it writes is for its user and group (0640, 0750 at most), and no core."""
    os.umask(0o027)
    leave_no_core()
    if unknown := [*unknown_variables(os.environ)]:
        print(f"error: {'; '.join(unknown)}", file=sys.stderr)  # noqa: T201
        return 1
    try:
        return _run(sys.argv[1:])
    except ValidationError as error:
        if not error.title.endswith("Settings"):
            raise
        print(f"error: {wrong_settings(error)}", file=sys.stderr)  # noqa: T201
        return 1


def _run(arguments: list[str]) -> int:
    match arguments:
        case ["migrate"]:
            settings = Settings()
            try:
                processes.migrate(settings)
            except ValueError as error:  # what the operator can mend: keys, another version's schema
                print(f"error: {error}", file=sys.stderr)  # noqa: T201
                return 1
        case ["keys", folder]:
            processes.ensure_api_keys(Settings(), Path(folder))
        case ["keys", folder, worker_folder]:
            processes.ensure_api_keys(Settings(), Path(folder), Path(worker_folder))
        case ["rotate-identifier-key"]:
            done = processes.rotate_identifier_key(Settings())
            print(f"sealed anew under the new key: {done.rows}")  # noqa: T201 - a command says what it did
        case [name] if name in PROCESSES:
            PROCESSES[name](Settings())
        case _:
            commands = "keys FOLDER [WORKER_FOLDER] | rotate-identifier-key"
            usage = f"usage: python -m med3d_service {'|'.join(PROCESSES)} | {commands}"
            print(usage, file=sys.stderr)  # noqa: T201
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
