"""The same pictures through the whole service: sent as `med3d submit` sends them, read as GET /runs/{id} tells.

An upload that is turned away is a refusal here: its code and what its problem says.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from field.case import REFUSED, Answer, Answered, Case, Room, answer_of, answers_to
from field.tables import Row
from med3d_client.results import ResultsClient, StudyOptions
from med3d_client.study_stream import UnsendableStudy, open_study
from med3d_client.transport import ApiError
from rig.processes.embedded import Service
from rig.processes.waiting import wait_until

ANSWER_WITHIN_S = 300.0
SAME_AGE_YEARS = 0.05


@contextmanager
def running_service(folder: Path) -> Iterator[ResultsClient]:
    """`med3d serve` on an empty data folder, and who asks it."""
    service = Service(folder)
    service.start(MED3D_LEASE_S="30", MED3D_HEARTBEAT_S="3")
    try:
        yield service.client
    finally:
        service.end()


def answers_by_service(cases: Sequence[Case], room: Room, senders: int) -> list[Answered]:
    """The service's answers to every input of every case; as many at once as there are senders."""
    with tempfile.TemporaryDirectory(prefix="field-service-") as folder, running_service(Path(folder)) as client:

        def ask(case: Case) -> Answered:
            found = answers_to(case, room, lambda path, series: _answer_to(path, series, client))
            print(*(f"service: {name}: {answer}" for name, answer, _ in found), sep="\n", file=sys.stderr, flush=True)
            return found

        with ThreadPoolExecutor(senders) as pool:
            return list(pool.map(ask, cases))


def _answer_to(path: Path, series: str | None, client: ResultsClient) -> Answer:
    try:
        with open_study(path) as upload:
            run_id = client.submit(upload, StudyOptions(series=series)).run_id
    except UnsendableStudy as nothing:
        return Answer(REFUSED, nothing.code, str(nothing))
    except ApiError as error:
        if error.status >= 500:
            raise
        return Answer(REFUSED, error.code, f"{error.detail} {error.remedy}")
    run = wait_until(
        lambda: (run := client.run(run_id)).status.is_terminal and run, f"the end of run {run_id}", ANSWER_WITHIN_S
    )
    return answer_of(run)


def compared(analysed: dict[str, Answer], served: dict[str, Answer]) -> list[Row]:
    """Say for every input whether the service gave the answer that `med3d analyse` gave."""
    return [
        Row(f"both ways: {name}", str(answer), str(served.get(name)), _is_same(answer, served.get(name)))
        for name, answer in analysed.items()
    ]


def _is_same(analysed: Answer, served: Answer | None) -> bool:
    if served is None or (analysed.status, analysed.code) != (served.status, served.code):
        return False
    if analysed.age_years is None or served.age_years is None:
        return analysed.age_years is served.age_years
    known = (analysed.known_age_years, served.known_age_years)
    return (
        abs(analysed.age_years - served.age_years) <= SAME_AGE_YEARS
        and (None not in known or known == (None, None))
        and (known[0] is None or known[1] is None or abs(known[0] - known[1]) < SAME_AGE_YEARS)
        and analysed.reviews == served.reviews
    )
