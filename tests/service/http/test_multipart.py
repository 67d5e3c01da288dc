import pytest

from babelclip.errors import InputError
from babelclip.service.http.multipart import MAX_PARTS, parse_multipart

FORM = "multipart/form-data; boundary=xx"


def body(*parts: tuple[str, bytes]) -> bytes:
    """A form of parts, each with the parameters of its Content-Disposition and its content."""
    lines = (
        b"--xx\r\nContent-Disposition: form-data; " + parameters.encode() + b"\r\n\r\n" + content + b"\r\n"
        for parameters, content in parts
    )
    return b"".join(lines) + b"--xx--\r\n"


def test_parts_are_read_by_name_with_and_without_a_file_name() -> None:
    large = bytes(range(256)) * 8192
    form = body(('name="image"; filename="a.png"', large), ('name="plain"', b"\xff\xd8"), ('name="empty"', b""))
    assert parse_multipart(FORM, form) == {"image": large, "plain": b"\xff\xd8", "empty": b""}


def test_a_form_may_have_as_many_parts_as_the_limit_and_no_more() -> None:
    parts = [(f'name="{i}"', b"x") for i in range(MAX_PARTS)]
    assert len(parse_multipart(FORM, body(*parts))) == MAX_PARTS
    with pytest.raises(InputError, match=f"more than {MAX_PARTS} parts"):
        parse_multipart(FORM, body(*parts, ('name="more"', b"x")))


@pytest.mark.parametrize(
    ("content_type", "form", "message"),
    [
        ("multipart/form-data", b"x", "malformed"),
        (FORM, b"x", "malformed"),
        (FORM, body(('filename="a.png"', b"x")), "malformed"),
        (FORM, body(('name=""', b"x")), "no name"),
        (FORM, body(('name="a"', b"x"), ('name="a"', b"y")), "two parts have the name 'a'"),
        (f"{FORM}{'y' * 300}", b"x", "malformed"),
    ],
)
def test_a_damaged_form_is_refused(content_type: str, form: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_multipart(content_type, form)
