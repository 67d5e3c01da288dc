"""``python -m babelclip``."""

from babelclip.cli import main

main()
