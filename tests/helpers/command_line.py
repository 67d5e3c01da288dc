"""Running the command line inside the test process."""

from typer.testing import CliRunner

from babelclip.cli.app import APP


def run(*arguments: object) -> str:
    """Run a command that must succeed, and return its standard output."""
    result = CliRunner().invoke(APP, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout
