"""Write the generated parts of the documentation.

docs/reference/commands.md comes from the command line, docs/reference/http.md from the OpenAPI document, and the
drawing of the floors in docs/explanation/architecture.md from pyproject.toml.

The OpenAPI document is a golden file, which a test compares with the one that the service sends.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from babelclip.cli.app import APP

ROOT = Path(__file__).parents[1]
OPENAPI = ROOT / "tests/end_to_end/goldens/openapi.json"
ARCHITECTURE = ROOT / "docs/explanation/architecture.md"
FLOORS = "<!-- Drawn by tools/write_reference.py from pyproject.toml. -->"
WRITTEN = "<!-- Written by tools/write_reference.py; edits are lost. -->"
Schema = Mapping[str, Any]


def cell(text: str) -> str:
    """Escape a text for a cell of a Markdown table.

    :param text: any text
    :return: the text on one line
    """
    return " ".join(text.replace("``", "`").split()).replace("|", "\\|").replace("<", "&lt;") or "-"


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Format a Markdown table.

    :param columns: the header
    :param rows: the cells, escaped
    :return: the table, or nothing where there are no rows
    """
    if not rows:
        return ""
    lines = [columns, tuple("---" for _ in columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def walk_commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Iterate over the commands below a command, in the order of ``--help``.

    :param command: a command or a group
    :param name: its full name
    :yield: full name and command
    """
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield name, command
    for sub, inner in (subcommands or {}).items():
        yield from walk_commands(inner, f"{name} {sub}")


def command_section(name: str, command: Any) -> str:
    """Describe one command: purpose, usage line, arguments and options.

    :param name: the full name
    :param command: the command
    :return: Markdown
    """
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    rows = []
    for parameter in command.params:
        names, text = parameter.get_help_record(context)
        text, _, default = text.partition("  [")
        rows.append((f"`{names.replace('|', ', ')}`", cell(text), cell(default.removesuffix("]"))))
    options = table(("argument or option", "meaning", "default or range"), rows)
    return "\n\n".join([f"## {name}", cell(command.help or ""), f"```text\n{usage}\n```", options])


def commands_page() -> str:
    """Write the page of all commands.

    :return: Markdown
    """
    intro = (
        "What `babelclip COMMAND --help` prints, for every command. [Command line](../guides/command-line.md) explains "
        "output formats, exit codes and the options that need more than a line."
    )
    sections = [command_section(*item) for item in walk_commands(typer.main.get_command(APP), "babelclip")]
    return "\n\n".join(["# Commands", WRITTEN, intro, *(section.rstrip() for section in sections)]) + "\n"


def type_of(schema: Schema) -> str:
    """Name the type of a JSON schema.

    :param schema: a schema
    :return: Markdown, schemas of the document as links
    """
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(type_of(part) for part in schema[union]))
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if schema.get("type") == "array":
        return f"array of {type_of(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


def limits_of(schema: Schema) -> str:
    """List the bounds and the default of a JSON schema.

    :param schema: a schema
    :return: Markdown
    """
    words = {
        "minimum": ">= {}", "maximum": "<= {}", "exclusiveMinimum": "> {}", "exclusiveMaximum": "< {}",
        "minLength": "at least {} characters", "maxLength": "at most {} characters",
        "minItems": "at least {} items", "maxItems": "at most {} items", "pattern": "`{}`",
    }  # fmt: skip
    said = [form.format(schema[key]) for key, form in words.items() if key in schema]
    for part in schema.get("anyOf", ()):
        said += [form.format(part[key]) for key, form in words.items() if key in part]
    if "default" in schema and schema["default"] is not None:
        said.append(f"default `{json.dumps(schema['default'])}`")
    return cell(", ".join(dict.fromkeys(said)))


def route_section(path: str, method: str, operation: Schema, errors: set[tuple[str, str]]) -> str:
    """Describe one route: purpose, parameters, body, responses.

    :param path: the path of the route
    :param method: the HTTP method
    :param operation: the operation of the OpenAPI document
    :param errors: statuses and descriptions that are listed once for all routes
    :return: Markdown
    """
    parts = [f"### {method.upper()} {path}", operation.get("description") or operation.get("summary", "")]
    rows = [
        (f"`{p['name']}`", p["in"], type_of(p["schema"]), limits_of(p["schema"]), cell(p.get("description", "")))
        for p in operation.get("parameters", ())
    ]
    parts.append(table(("parameter", "in", "type", "limits", "meaning"), rows))
    for kind, body in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"Body, `{kind}`: {type_of(body['schema'])}.")
    answers = []
    for status, response in sorted(operation["responses"].items()):
        if (status, response.get("description", "")) in errors:
            continue
        schemas = [type_of(c["schema"]) for c in response.get("content", {}).values() if c.get("schema")]
        answers.append((status, cell(response.get("description", "")), " or ".join(schemas) or "-"))
    parts.append(table(("status", "meaning", "body"), answers))
    if any((status, response.get("description", "")) in errors for status, response in operation["responses"].items()):
        parts.append("Or one of the [errors](#errors).")
    return "\n\n".join(part for part in parts if part)


def schema_section(name: str, schema: Schema) -> str:
    """Describe one schema of the document: its fields, types and limits.

    :param name: the name of the schema
    :param schema: the schema
    :return: Markdown
    """
    required = set(schema.get("required", ()))
    rows = [
        (f"`{field}`", type_of(inner), "yes" if field in required else "no", limits_of(inner),
         cell(inner.get("description", "")))
        for field, inner in schema.get("properties", {}).items()
    ]  # fmt: skip
    fields = table(("field", "type", "required", "limits", "meaning"), rows)
    parts = [f"### {name}", re.sub("``", "`", schema.get("description", "")), fields]
    return "\n\n".join(part for part in parts if part)


def http_page() -> str:
    """Write the page of all routes and schemas.

    :return: Markdown
    """
    document = json.loads(OPENAPI.read_text(encoding="utf-8"))
    intro = (
        "The OpenAPI document that the service sends at `/openapi.json`, as a page. [HTTP API](../guides/http-api.md) "
        "explains keys, scopes, errors and charges."
    )
    operations = [
        (path, method, operation)
        for path, methods in sorted(document["paths"].items())
        for method, operation in methods.items()
    ]
    errors = {
        (status, response["description"])
        for _, _, operation in operations
        for status, response in operation["responses"].items()
        if status >= "400" and "content" in response
    }
    rows = [(status, cell(meaning)) for status, meaning in sorted(errors)]
    shared = "## Errors\n\nOpenAI's form: `error` with `message`, `type`, `param` and `code`.\n\n" + table(
        ("status", "meaning"), rows
    )
    routes = [route_section(*operation, errors) for operation in operations]
    schemas = [schema_section(*item) for item in sorted(document["components"]["schemas"].items())]
    return "\n\n".join(["# HTTP", WRITTEN, intro, "## Routes", *routes, shared, "## Schemas", *schemas]) + "\n"


def architecture_page() -> str:
    """Draw the floors of pyproject.toml into the page on the architecture.

    :return: Markdown
    """
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [c["layers"] for c in contracts if c["type"] == "layers" and c["containers"] == ["babelclip"]]
    boxes = [f'    f{i}["{re.sub(" *[|:] *", " · ", layer)}"]' for i, layer in enumerate(layers)]
    arrows = " --> ".join(f"f{i}" for i in range(len(layers)))
    drawing = "\n".join([FLOORS, "```mermaid", "flowchart TB", *boxes, f"    {arrows}", "```"])
    page = ARCHITECTURE.read_text(encoding="utf-8")
    return re.sub(re.escape(FLOORS) + r"\n```mermaid\n.*?```", lambda _: drawing, page, count=1, flags=re.DOTALL)


def pages() -> dict[Path, str]:
    """Write every generated page.

    :return: path and Markdown
    """
    reference = ROOT / "docs/reference"
    return {
        ARCHITECTURE: architecture_page(),
        reference / "commands.md": commands_page(),
        reference / "http.md": http_page(),
    }


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
