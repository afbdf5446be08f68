"""`med3d demo`: everything embedded, one study, its answer, and nothing left behind."""

import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from med3d_cli.data_dir import DataDir
from med3d_cli.ending import end_in_order
from med3d_cli.errors import CommandError
from med3d_cli.extras import extra, require_onnx_runtime
from med3d_cli.kept_file import write_whole

READY = "med3d ready on "
STOP_TIMEOUT_S = 12.0
PICTURE_WIDTH = 100


def demo(
    study: Annotated[
        Path | None, typer.Option(exists=True, help="Your own folder or file. Default: an average head.")
    ] = None,
    picture: Annotated[Path | None, typer.Option(help="Also save what is shown here, as SVG.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Print a link to its page, and stay until Ctrl-C.")] = False,
) -> None:
    """Start the whole service on a temporary folder, send one study, show the answer and stop."""
    from med3d_cli.studies.following import follow
    from med3d_cli.studies.result_table import result_table
    from med3d_client.results import ResultsClient, StudyOptions
    from med3d_client.study_stream import open_study

    require_onnx_runtime()
    end_in_order()
    console = Console(record=picture is not None, width=PICTURE_WIDTH if picture else None)
    with tempfile.TemporaryDirectory(prefix="med3d-demo-") as folder:
        path = study or _write_head(Path(folder) / "study", console)
        data_dir = DataDir(Path(folder) / "data")
        with _service(data_dir, console) as url:
            client = ResultsClient(url, data_dir.api_key_file.read_text().strip())
            with open_study(path) as upload:
                submitted = client.submit(upload, StudyOptions())
            console.print(f"POST /studies: run {submitted.run_id}", highlight=False)
            run = follow(client, submitted.run_id, console)
            console.print(result_table(f"run {run.run_id}", run))
            explained = run.result is not None and _explain(url, data_dir, run.run_id, console)
            client.close()
            if keep:
                _stay(url, data_dir, run.run_id, console)
            console.print("Stopping ...")
    left = "nothing is left but that picture" if explained else "nothing is left"
    console.print(f"Stopped; {left}. For a service that stays: med3d serve")
    if picture:
        write_whole(picture, [without_remote_fonts(console.export_svg(title="make demo")).encode()])
    if run.result is None:
        raise typer.Exit(1)


def _explain(url: str, data_dir: DataDir, run_id: str, console: Console) -> bool:
    """Print what adds years to the answer and where its picture lies; whether there is one."""
    from med3d_cli.studies.explanation_table import explanation_table
    from med3d_client.results import ExplanationLate, ResultsClient

    client = ResultsClient(url, data_dir.clinical_key_file.read_text().strip())
    try:
        with console.status("explaining"):
            found, content = client.explanation(run_id), client.explanation_picture(run_id)
    except ExplanationLate as late:
        console.print(str(late))
        return False
    finally:
        client.close()
    # A folder of its own, which nobody else may read: the head may be a person's.
    picture = Path(tempfile.mkdtemp(prefix="med3d-explanation-")) / "explanation.png"
    picture.write_bytes(content)
    console.print(explanation_table(found))
    console.print(
        f"10 years younger and older, as the model's decoder believes: {picture}", highlight=False, soft_wrap=True
    )
    return True


def _stay(url: str, data_dir: DataDir, run_id: str, console: Console) -> None:
    """Print a link that opens the page of the run, and wait for Ctrl-C."""
    from med3d_client.results import ResultsClient

    client = ResultsClient(url, data_dir.clinical_key_file.read_text().strip())
    console.print("It stays until Ctrl-C; then nothing is left. This prints a link for another browser:")
    console.print(another_link(data_dir.root), highlight=False, soft_wrap=True)
    console.print("Its page (the link works once):")
    console.print(client.sign_in_link(f"/ui/runs/{run_id}"), highlight=False, soft_wrap=True)
    client.close()
    with suppress(KeyboardInterrupt):
        signal.pause()


def another_link(data_dir: Path) -> str:
    """Return the command that prints another link, by this environment's own path: nobody may have activated it."""
    beside = Path(sys.executable).with_name("med3d")
    command = str(beside) if beside.exists() else "med3d"
    return f"MED3D_DATA_DIR={shlex.quote(str(data_dir))} {shlex.quote(command)} sign-in --clinical"


def without_remote_fonts(svg: str) -> str:
    """Return ``svg`` with the reader's own monospaced font: a picture in a document loads nothing from elsewhere."""
    return re.sub(r"@font-face\s*\{.*?\}", "", svg, flags=re.DOTALL)


def _write_head(folder: Path, console: Console) -> Path:
    with extra("worker"):
        from med3d_cli.embedded.demo_head import average_head, write_mr_series
    write_mr_series(average_head(), folder)
    count = sum(1 for _ in folder.iterdir())
    console.print(f"Wrote the average head of pydeface as a DICOM series of {count} slices.", highlight=False)
    return folder


@contextmanager
def _service(data_dir: DataDir, console: Console) -> Iterator[str]:
    """`med3d serve` as a child that does not outlive the demo; gives its URL once it is ready."""
    from med3d_cli.embedded.system import python
    from med3d_worker.process.tether import die_with_parent

    here = os.getpid()
    command = python("med3d_cli", "serve", "--data-dir", str(data_dir.root), "--port", "0")
    process = subprocess.Popen(  # noqa: S603 - our own command line
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ) | {"MED3D_ALLOW_DEMONSTRATION_HEADS": "1"},
        start_new_session=True,
        preexec_fn=lambda: die_with_parent(here, signal.SIGTERM),  # noqa: PLW1509 - the demo has one thread here
    )
    assert process.stdout is not None
    try:
        with console.status("starting API, worker, courier, scheduler and broker"):
            ready = next((line for line in process.stdout if line.startswith(READY)), None)
        if ready is None:
            raise CommandError("the service did not start; what it said stands above")
        console.print(ready.strip(), highlight=False)
        yield ready.removeprefix(READY).strip()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()  # its children are tethered to it
            process.wait()
        process.stdout.close()
