"""Parsing of multipart/form-data bodies, which are in memory already and limited in size."""

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import File, FormParser, parse_options_header

from babelclip.errors import InputError

MULTIPART = "multipart/form-data"
MAX_PARTS = 16


def parse_multipart(content_type: str, body: bytes) -> dict[str, bytes]:
    """Parse a multipart form. File names are ignored: some clients send files without one.

    :param content_type: the Content-Type header, with the boundary
    :param body: the whole body
    :return: name -> content
    :raises InputError: if it is malformed, has too many parts, or two parts of one name
    """
    parts: dict[str, bytes] = {}

    def add(name: bytes | None, content: bytes) -> None:
        text = (name or b"").decode("utf-8", "replace")
        if not text or text in parts:
            raise InputError(f"a part of the form has no name, or two parts have the name {text[:80]!r}")
        if len(parts) == MAX_PARTS:
            raise InputError(f"the form has more than {MAX_PARTS} parts")
        parts[text] = content

    def add_file(file: File) -> None:
        file.file_object.seek(0)
        add(file.field_name, file.file_object.read())
        file.close()

    _, options = parse_options_header(content_type)
    # Files stay in memory: the body is there already.
    config = {"MAX_MEMORY_FILE_SIZE": len(body) + 1}
    try:
        parser = FormParser(
            MULTIPART,
            lambda field: add(field.field_name, field.value or b""),
            add_file,
            boundary=options.get(b"boundary"),
            config=config,
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise InputError(f"the form is malformed: {str(error)[:200]}") from None
    return parts
