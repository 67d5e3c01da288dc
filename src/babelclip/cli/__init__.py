"""The command line. The only place that prints or exits.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import sys
import warnings

INTERRUPTED = 130
GO_ON = ("index", "pull", "scale")
"""Commands that go on from where they were interrupted when they are given again."""


def main() -> None:
    """Run a command; what babelclip raises on purpose becomes one line on stderr."""
    from babelclip.cli import app, output
    from babelclip.errors import BabelclipError

    # Pillow warns of oddities in files that it reads all the same.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        app.assemble(app.wanted(sys.argv[1:]))(prog_name="babelclip")
    except BabelclipError as error:
        output.message(f"error: {error}")
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer makes an exit of Ctrl-C, without a word.
        if isinstance(end, SystemExit) and end.code != INTERRUPTED:
            raise
        goes_on = sys.argv[1:2] and sys.argv[1] in GO_ON
        kept = "; what was done is kept, the same command goes on from there" if goes_on else ""
        output.message(f"interrupted{kept}")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        sys.stderr.close()
        sys.exit(0)
