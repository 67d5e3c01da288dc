"""Write src/babelclip/text/script_ranges.py from Scripts.txt of the Unicode Character Database.

Debian's package ``unicode-data`` installs the file as /usr/share/unicode/Scripts.txt:

    python tools/unicode_scripts.py /usr/share/unicode/Scripts.txt src/babelclip/text/script_ranges.py
"""

import argparse
import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

LINE_CHARACTERS = 105
"""Of ranges; quotes and indentation come on top."""

_HEADER = '''"""The Unicode property Script, as ranges of code points. Written by tools/unicode_scripts.py; do not edit.

Modified from {source} of the Unicode Character Database: ranges that touch are joined, comments left out.
Copyright © 1991-2022 Unicode, Inc. Distributed under the licence in unicode-license.txt.
"""

VERSION = "{version}"

RANGES: dict[str, str] = {{
'''


def read_ranges(lines: Iterable[str]) -> dict[str, list[tuple[int, int]]]:
    """Read the ranges of every script; ranges that touch become one.

    :param lines: the lines of Scripts.txt
    :return: inclusive ranges of code points by script, both sorted
    """
    ranges: dict[str, list[tuple[int, int]]] = {}
    for line in lines:
        match = re.match(r"([0-9A-F]+)(?:\.\.([0-9A-F]+))?\s*;\s*(\w+)", line)
        if match:
            ranges.setdefault(match[3].replace("_", " "), []).append((int(match[1], 16), int(match[2] or match[1], 16)))
    merged: dict[str, list[tuple[int, int]]] = {}
    for script in sorted(ranges):
        joined = merged.setdefault(script, [])
        for first, last in sorted(ranges[script]):
            if joined and joined[-1][1] + 1 == first:
                joined[-1] = (joined[-1][0], last)
            else:
                joined.append((first, last))
    return merged


def module_text(source: str) -> str:
    """Write the module.

    :param source: the text of Scripts.txt, whose first line names its version
    :return: the Python source
    """
    title = source.partition("\n")[0].strip("# ")
    version = title.removeprefix("Scripts-").removesuffix(".txt")
    parts = [_HEADER.format(source=title, version=version)]
    for script, ranges in read_ranges(source.splitlines()).items():
        words = " ".join(f"{first:X}-{last:X}" if last > first else f"{first:X}" for first, last in ranges)
        if len(script) + len(words) <= LINE_CHARACTERS:
            parts.append(f'    "{script}": "{words}",\n')
            continue
        *lines, last = textwrap.wrap(words, LINE_CHARACTERS)
        quoted = [*(f'"{line} "' for line in lines), f'"{last}"']
        parts.append(f'    "{script}": (\n' + "".join(f"        {line}\n" for line in quoted) + "    ),\n")
    parts.append("}\n")
    return "".join(parts)


def main() -> None:
    """Read the arguments and write the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", type=Path, help="Scripts.txt")
    parser.add_argument("module", type=Path, help="the module to write")
    arguments = parser.parse_args()
    arguments.module.write_text(module_text(arguments.scripts.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
