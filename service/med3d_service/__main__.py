"""``python -m med3d_service api|courier|scheduler|migrate``: one process of the service, set by the environment."""

import sys

from med3d_service import processes
from med3d_service.settings import Settings

PROCESSES = {
    "api": processes.run_api,
    "courier": processes.run_courier,
    "scheduler": processes.run_scheduler,
    "migrate": processes.migrate,
}


def main() -> int:
    """Run the process named on the command line."""
    if len(sys.argv) != 2 or sys.argv[1] not in PROCESSES:
        print(f"usage: python -m med3d_service {'|'.join(PROCESSES)}", file=sys.stderr)  # noqa: T201
        return 2
    PROCESSES[sys.argv[1]](Settings())
    return 0


if __name__ == "__main__":
    sys.exit(main())
