"""Shows how a run moves, from its event stream."""

from rich.console import Console

from med3d_client.results import ResultsClient
from med3d_contract.results import RunView


def follow(client: ResultsClient, run_id: str, console: Console) -> RunView:
    """Print each new state and stage of the run until it is over; the run as it ended."""
    shown = ""
    with console.status("waiting for the run") as spinner:
        for event in client.follow(run_id):
            state = _state(event["data"])
            if state and state != shown:
                shown = state
                spinner.update(state)
                console.print(f"  {state}")
    return client.run(run_id)


def _state(data: object) -> str | None:
    """Write it as in ``preprocessing: brain extraction``; None where the event says neither state nor stage."""
    if not isinstance(data, dict):
        return None
    words = [str(data[name]) for name in ("status", "stage") if data.get(name)]
    return ": ".join(words) or None
