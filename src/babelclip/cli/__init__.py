"""The command line. The only place that prints or exits.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

import io
import sys
import warnings

INTERRUPTED = 130
GO_ON = ("index", "pull", "scale")
"""Commands that go on from where they were interrupted when they are given again."""


def main() -> None:
    """Run a command; what babelclip raises on purpose becomes one line on stderr."""
    try:
        _run()
    except KeyboardInterrupt:
        # So early that not all is imported, or again while the first was answered.
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


def _run() -> None:
    from babelclip.cli import app, output
    from babelclip.errors import BabelclipError

    # Pillow warns of oddities in files that it reads all the same.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        # Names of files may be any bytes.
        sys.stdout.reconfigure(errors="backslashreplace")
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
    except OSError as error:
        # A file or folder that the options name cannot be written, or the disk is full.
        if error.errno is None:
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        output.message(f"error: {where}{error.strerror}")
        sys.exit(1)
