"""`med3d sign-in`: a link that opens the pages in a browser."""

from typing import Annotated

import typer

from med3d_cli.connection import connect
from med3d_cli.screens import AsJson, answer


def sign_in(
    clinical: Annotated[
        bool, typer.Option("--clinical", help="See who a patient is; takes the clinical key of `med3d serve`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a link that signs one browser in, once, within an hour, with the rights of your key."""
    client = connect(clinical=clinical)
    try:
        link = client.sign_in_link()
        answer(link, {"link": link}, as_json=as_json)
    finally:
        client.close()
