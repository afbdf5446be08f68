"""An empty word on the command line is a variable that is not set: as a path it would be the folder we are in."""

from typing import Any

import typer
from typer.core import TyperCommand


class CommandOfWords(TyperCommand):
    """Refuses what is empty, but where that is what the option has by itself."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what was typed. Raises BadParameter on an empty word."""
        if "" in args or any(word.endswith("=") for word in args):
            self._require_words(ctx, args)
        return super().parse_args(ctx, args)

    def _require_words(self, ctx: Any, args: list[str]) -> None:
        typed, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        params: list[Any] = self.get_params(ctx)
        for param in params:
            given = typed.get(param.name)
            if "" in (given if isinstance(given, (list, tuple)) else [given]) and param.default != "":
                raise typer.BadParameter("it is empty, as where a variable is not set", ctx=ctx, param=param)


def refuse_empty_words(app: typer.Typer) -> None:
    """Have every command of ``app`` and of its groups refuse what is empty."""
    for info in app.registered_commands:
        if info.cls is TyperCommand:
            info.cls = CommandOfWords
    for group in app.registered_groups:
        if group.typer_instance is not None:
            refuse_empty_words(group.typer_instance)
