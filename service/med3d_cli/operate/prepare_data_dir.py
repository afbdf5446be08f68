"""Schema, keys and bundle of a data folder, made before anything is served.

``python -m med3d_cli.operate.prepare_data_dir CLIENT_KEY_FILE WORKER_KEY_FILE CLINICAL_KEY_FILE``

A process of its own, so that the supervisor stays small and single-threaded.
"""

import sys
from pathlib import Path


def main() -> None:
    """Make schema and keys; settings come from the environment, as for every process of the service."""
    from pydantic import ValidationError

    from med3d_contract.variables.values import wrong_settings
    from med3d_service.processes import ensure_api_key, expect_worker, migrate
    from med3d_service.settings import Settings
    from med3d_worker.settings import BundleSettings

    try:
        settings = Settings()
        migrate(settings)
    except ValidationError as error:
        sys.exit(wrong_settings(error))
    except ValueError as error:  # what the operator can mend, in a sentence
        sys.exit(str(error))
    ensure_api_key(settings, "client", Path(sys.argv[1]))
    ensure_api_key(settings, "worker", Path(sys.argv[2]))
    ensure_api_key(settings, "clinical", Path(sys.argv[3]))
    expect_worker(settings, BundleSettings().bundle_dir)


if __name__ == "__main__":
    main()
