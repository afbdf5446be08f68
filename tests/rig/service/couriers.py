"""A courier without its process."""

from typing import Any

from med3d_service.studies.working_copy.child import copy_study
from med3d_service.studies.working_copy.courier import Courier
from med3d_service.studies.working_copy.messages import Job, Report
from med3d_service.trust.audit import AuditTrail


def courier_of(service: Any, sandbox: Any) -> Courier:
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


class SandboxInProcess:
    """Does the child's work here: for tests of what comes of its report, and not of the child."""

    def run(self, job: Job, _check: object) -> Report:
        return copy_study(job)

    def prepare(self) -> None:
        pass

    def close(self) -> None:
        pass
