"""Who may do what. A route says which role it takes by the type of its ``caller``; there is no other way in.

    def show_metrics(caller: Scraper) -> ...              # Prometheus' key, or any person's
    def read_run(run_id: str, caller: Viewer) -> ...      # any person's key or token
    def start_run(study_id: str, caller: Submitter) -> ...
    def retry(delivery_id: str, caller: Operator) -> ...
    def erase(study_id: str, caller: Admin) -> ...
    def report(run_id: str, caller: Clinical) -> ...      # viewer and up, with the grant to see who a patient is
    def claim(run_id: str, caller: Worker) -> ...         # workers, and nobody else

``caller.sees(StudyRow.site)`` belongs in every query: a caller sees the studies of its own site alone.
"""

from med3d_service.trust.access.callers import Admin, Clinical, Operator, Scraper, Submitter, Viewer, Worker
from med3d_service.trust.access.roles import Caller, Grant, Role

__all__ = ["Admin", "Caller", "Clinical", "Grant", "Operator", "Role", "Scraper", "Submitter", "Viewer", "Worker"]
