"""multipart/form-data: the parts of a body that is in memory already, which its limit has kept small."""

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from babelclip.errors import InputError

MAX_PARTS = 16
MAX_NAME_BYTES = 200


def read_parts(content_type: str, body: bytes) -> dict[str, bytes]:
    """The parts of a form by name. File names are not looked at: some clients send files without one.

    :param content_type: the header, with the boundary
    :param body: the whole body
    :return: name -> content
    :raises InputError: if it is not such a form, has too many parts, or two of one name
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InputError("the content type multipart/form-data has no boundary")
    reader = _Reader()
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.begin,
                "on_part_data": reader.data,
                "on_part_end": reader.end,
                "on_header_field": reader.header_field,
                "on_header_value": reader.header_value,
                "on_header_end": reader.header_end,
            },
        )
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise InputError(f"the form cannot be read: {str(error)[:200]}") from None
    return reader.parts


class _Reader:
    """What the parser's calls gather."""

    def __init__(self) -> None:
        self.parts: dict[str, bytes] = {}
        self._name = ""
        self._field = b""
        self._value = b""
        self._content = bytearray()

    def begin(self) -> None:
        """A part begins."""
        if len(self.parts) >= MAX_PARTS:
            raise InputError(f"the form has more than {MAX_PARTS} parts")
        self._name, self._content = "", bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's name."""
        self._field += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's value."""
        self._value += data[start:end]

    def header_end(self) -> None:
        """A header is whole."""
        if self._field.lower() == b"content-disposition":
            _, options = parse_options_header(self._value)
            self._name = options.get(b"name", b"")[:MAX_NAME_BYTES].decode("utf-8", "replace")
        self._field = self._value = b""

    def data(self, data: bytes, start: int, end: int) -> None:
        """A piece of a part's content."""
        self._content += data[start:end]

    def end(self) -> None:
        """A part is whole."""
        if not self._name or self._name in self.parts:
            raise InputError(f"a part of the form has no name, or two have the name {self._name!r}")
        self.parts[self._name] = bytes(self._content)
