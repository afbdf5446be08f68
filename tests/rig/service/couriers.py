"""A courier without its process."""

from med3d_service.studies.working_copy.courier import Courier


def courier_of(service, sandbox):
    """A courier on the parts of a service."""
    return Courier(
        service.settings, service.keys, service.database, service.store, service.vault, service.broker, sandbox
    )
