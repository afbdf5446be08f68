"""A courier without its process."""

from med3d_service.studies.working_copy.courier import Courier
from med3d_service.trust.audit import AuditTrail


def courier_of(service, sandbox):
    """A courier on the parts of a service."""
    return Courier(
        service.settings,
        service.keys,
        service.database,
        service.store,
        service.vault,
        AuditTrail(service.database, service.keys.audit),
        service.broker,
        sandbox,
    )
