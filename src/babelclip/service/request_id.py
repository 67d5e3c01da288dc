"""Request identifiers."""

import secrets
import time


def new_request_id() -> str:
    """Create a request id; later ids sort after earlier ones.

    :return: "req_" and 28 hexadecimal digits
    """
    return f"req_{time.time_ns() // 1_000_000:012x}{secrets.token_hex(8)}"
