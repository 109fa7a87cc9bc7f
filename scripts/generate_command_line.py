"""Write docs/command-line.md from what every command says of itself under `--help`.

    python scripts/generate_command_line.py [--check]

`--check` writes nothing and fails when the page is out of date.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from batchyard.cli.main import cli

PAGE = Path(__file__).parents[1] / "docs" / "command-line.md"

HEAD = """# The command line

`batchyard` is for people, beside the AWS CLI and not instead of it. This page is what each command prints under `--help`.
"""


def main() -> int:
    page = _page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page)
    elif PAGE.read_text() != page:
        print("docs/command-line.md is out of date: run scripts/generate_command_line.py")
        return 1
    return 0


def _page() -> str:
    parts = [HEAD, _section("batchyard", cli, None)]
    with click.Context(cli, info_name="batchyard") as context:
        for name in cli.list_commands(context):
            command = cli.get_command(context, name)
            assert command is not None
            parts.append(_section(f"batchyard {name}", command, context))
            if isinstance(command, click.Group):
                with click.Context(command, info_name=name, parent=context) as group:
                    parts += [
                        _section(f"batchyard {name} {each}", command.commands[each], group)
                        for each in command.list_commands(group)
                    ]
    return "\n".join(parts)


def _section(title: str, command: click.Command, parent: click.Context | None) -> str:
    name = title.rpartition(" ")[2]
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    with context:
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    return f"## {title}\n\n```text\n{text}\n```\n"


if __name__ == "__main__":
    sys.exit(main())
