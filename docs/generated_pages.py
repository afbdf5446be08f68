"""Pages that the code itself fills: settings, commands, routes, decisions. Written at each build, kept by nobody."""

import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer
import typer.main
from pydantic.fields import FieldInfo

from med3d_cli.main import make_app
from med3d_service.processes import migrate
from med3d_service.processes.api import create_app
from med3d_service.settings import Settings
from med3d_worker.settings import WorkerSettings

ROOT = Path(__file__).parents[1]


def write_generated_pages(folder: Path) -> None:
    """Write every generated page below ``folder``."""
    folder.mkdir(exist_ok=True)
    pages = {
        "settings": settings_page(),
        "commands": commands_page(),
        "routes": routes_page(),
        "decisions": decisions_page(),
        "security": _moved((ROOT / "SECURITY.md").read_text(encoding="utf-8")),
        "contributing": _moved((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")),
        "changelog": _moved((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")),
        "compose.pacs": f"# compose.pacs.yaml\n\n```yaml\n{(ROOT / 'deploy' / 'compose.pacs.yaml').read_text()}\n```\n",
    }
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def settings_page() -> str:
    """Return the table of all environment variables, with who reads them."""
    both = (("service", Settings.model_fields), ("worker", WorkerSettings.model_fields))
    rows = "\n".join(
        " | ".join(
            (
                f"| `MED3D_{name.upper()}`",
                _cell(field.description or ""),
                _default(field),
                ", ".join(who for who, its_fields in both if name in its_fields) + " |",
            )
        )
        for name, field in sorted((WorkerSettings.model_fields | Settings.model_fields).items())
    )
    return f"""# Settings

Environment variables. A value may also come from the file that `MED3D_X_FILE` names, which is how secrets are handed
over.

| variable | meaning | default | read by |
|---|---|---|---|
{rows}
"""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default_factory is not None:
        return "made"
    value: Any = field.default
    if value is None:
        return ""
    shown = value.get_secret_value() if hasattr(value, "get_secret_value") else value
    return f"`{shown}`"


def commands_page() -> str:
    """Return the command line's own help, command by command."""
    root = typer.main.get_command(make_app())
    return "# Commands\n\n" + "\n\n".join(_helps(root, typer.Context(root, info_name="med3d"))) + "\n"


def _helps(command: Any, context: typer.Context) -> Iterator[str]:
    level = "#" * len(context.command_path.split())
    if context.parent is not None:
        options = "\n".join(
            f"- `{', '.join(parameter.opts)}`: {_cell(getattr(parameter, 'help', None) or '')}"
            for parameter in command.params
            if not getattr(parameter, "hidden", False) and parameter.name != "help"
        )
        yield f"{level} `{context.command_path}`\n\n{(command.help or '').strip()}\n\n{options}"
    for name, below in sorted(getattr(command, "commands", {}).items()):
        if not below.hidden:
            yield from _helps(below, typer.Context(below, info_name=name, parent=context))


def routes_page() -> str:
    """Return the table of the API's routes with the rights that they take."""
    with TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        migrate(settings)
        document = create_app(settings).openapi()
    rows = "\n".join(
        f"| `{method.upper()} {path}` | {' + '.join(_rights(route)) or 'open'} | {_cell(route.get('summary', ''))} |"
        for path, methods in document["paths"].items()
        for method, route in methods.items()
    )
    return f"""# Routes

`GET /openapi.json` of a running service describes each with its body, answers and errors.

| route | takes | what it does |
|---|---|---|
{rows}
"""


def _rights(route: dict[str, Any]) -> list[str]:
    return [need for scheme in route.get("security", []) for needs in scheme.values() for need in needs]


def decisions_page() -> str:
    """Return the index of decisions, by number."""
    rows = []
    for page in sorted((ROOT / "docs" / "decisions").glob("*.md")):
        title = page.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
        number, _, name = title.partition(" ")
        rows.append(f"| {number.rstrip(':.')} | [{_cell(name.strip())}](../decisions/{page.name}) |")
    return "# Decisions\n\n| number | decision |\n|---|---|\n" + "\n".join(rows) + "\n"


def _moved(text: str) -> str:
    """Return a page of the root as one of docs/generated: its links are to docs/."""
    text = re.sub(r"\]\(docs/decisions/?\)", "](decisions.md)", text)
    text = re.sub(r"\]\(docs/", "](../", text)
    return text.replace("](SECURITY.md)", "](security.md)").replace("](CONTRIBUTING.md)", "](contributing.md)")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
