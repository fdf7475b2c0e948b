"""Every command explains itself with an example that it takes."""

import shlex
from typing import Any

import pytest
import typer.main

from synthaug.cli.main import app, give_balance_a_value


def below(words: tuple[str, ...], command: Any) -> dict[tuple[str, ...], Any]:
    """Every command and group from here on, by what one types."""
    found = {words: command}
    if hasattr(command, "list_commands"):
        context = command.context_class(command)
        for name in command.list_commands(context):
            found |= below((*words, name), command.get_command(context, name))
    return found


COMMANDS = below((), typer.main.get_command(app))


def test_the_commands_are_found():
    assert {(), ("fit",), ("recipes",), ("recipes", "copy")} <= set(COMMANDS)
    assert len(COMMANDS) >= 13


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_every_command_has_an_example_that_it_takes(words: tuple[str, ...], cli):
    told = cli(*words, "--help").ok()
    _, found, text = told.out.rpartition("Example: synthaug ")
    assert found, "no example"
    example = shlex.split(" ".join(text.split()))
    assert example[: len(words)] == list(words)
    command, rest = COMMANDS[()], give_balance_a_value(example)
    while hasattr(command, "get_command"):
        command = command.get_command(command.context_class(command), rest.pop(0))
    assert command.make_context(command.name, rest).params  # raises for what it does not take
