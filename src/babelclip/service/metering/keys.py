"""API keys: create, find, limit and revoke. A secret is shown once and stored as its sha256.

A key is ``bc-ID-SECRET``: eight hexadecimal digits, and 43 characters that encode 256 random bits. Random secrets of
this size need no slow hash; the row is found by the ID, which is public, and hashes are compared in constant time.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import Engine, Row, func, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from babelclip.errors import InputError, StoreError
from babelclip.service.metering.tables import KEYS, first_line

SCOPES = ("embed", "classify", "search", "admin")
MAX_NAME = 200
MAX_LIMIT = 2**31 - 1
_FORM = re.compile(r"bc-([0-9a-f]{8})-[A-Za-z0-9_-]{43}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """Limits of a key; None is unlimited. Spend is in picodollars per calendar month, UTC."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    tokens_per_day: int | None = None
    picodollars_per_month: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret. Times are milliseconds since 1970."""

    id: str
    name: str
    scopes: tuple[str, ...]
    created_ms: int
    expires_ms: int | None = None
    revoked_ms: int | None = None
    limits: KeyLimits = field(default_factory=KeyLimits)

    @property
    def state(self) -> str:
        """One of "active", "expired", "revoked"."""
        if self.revoked_ms is not None:
            return "revoked"
        return "expired" if self.expires_ms is not None and self.expires_ms <= now_ms() else "active"


def now_ms() -> int:
    """Get the current time.

    :return: milliseconds since 1970
    """
    return time.time_ns() // 1_000_000


class KeyStore:
    """The API keys of a database. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        """Use a database.

        :param engine: an engine from ``tables.open_database``
        """
        self._engine = engine

    def create(
        self,
        name: str,
        scopes: Collection[str],
        *,
        expires_ms: int | None = None,
        limits: KeyLimits | None = None,
    ) -> tuple[Key, str]:
        """Create a key.

        :param name: a name for people
        :param scopes: scopes of SCOPES, at least one
        :param expires_ms: time of expiry, or None
        :param limits: limits of the key
        :return: the key, and its secret, which is not stored
        :raises InputError: if the name is empty or too long, a scope is unknown, or a limit is out of range
        """
        unknown = sorted(set(scopes) - set(SCOPES))
        if unknown or not scopes:
            raise InputError(f"scopes are {', '.join(SCOPES)}, not {', '.join(unknown) or 'none'}")
        if not name.strip() or len(name) > MAX_NAME:
            raise InputError(f"a key's name has 1 to {MAX_NAME} characters")
        limits = limits or KeyLimits()
        check_limits(limits)
        key = Key(
            secrets.token_hex(4),
            name,
            tuple(scope for scope in SCOPES if scope in scopes),
            now_ms(),
            expires_ms,
            None,
            limits,
        )
        secret = f"bc-{key.id}-{secrets.token_urlsafe(32)}"
        row = {"id": key.id, "name": name, "hash": _digest(secret), "scopes": ",".join(key.scopes)}
        times = {"created_ms": key.created_ms, "expires_ms": expires_ms}
        self._write(insert(KEYS).values(**row, **times, **asdict(limits)))
        return key, secret

    def find(self, secret: str) -> Key | None:
        """Find the key of a secret, whatever its state.

        :param secret: the secret that the client sent
        :return: the key, or None if the secret is unknown
        :raises StoreError: if the database cannot be read
        """
        form = _FORM.fullmatch(secret)
        if form is None:
            return None
        rows = self._read(select(KEYS).where(KEYS.c.id == form[1]))
        if not rows or not hmac.compare_digest(rows[0].hash, _digest(secret)):
            return None
        return _key(rows[0])

    def all(self) -> list[Key]:
        """List all keys.

        :return: the keys, the oldest first
        """
        return [_key(row) for row in self._read(select(KEYS).order_by(KEYS.c.created_ms, KEYS.c.id))]

    def any(self) -> bool:
        """Tell whether there is any key.

        :return: True if there is one
        """
        return bool(self._read(select(func.count()).select_from(KEYS))[0][0])

    def is_available(self) -> bool:
        """Tell whether the database responds.

        :return: True if it does
        """
        try:
            self.any()
        except StoreError:
            return False
        return True

    def revoke(self, key_id: str) -> Key:
        """Revoke a key, for good.

        :param key_id: id of the key
        :return: the revoked key
        :raises InputError: if there is no such key
        """
        key = self.get(key_id)
        if key.revoked_ms is None:
            key = replace(key, revoked_ms=now_ms())
            self._write(update(KEYS).where(KEYS.c.id == key_id).values(revoked_ms=key.revoked_ms))
        return key

    def limit(self, key_id: str, limits: KeyLimits) -> Key:
        """Replace the limits of a key.

        :param key_id: id of the key
        :param limits: the new limits; None is unlimited
        :return: the changed key
        :raises InputError: if there is no such key, or a limit is out of range
        """
        check_limits(limits)
        key = replace(self.get(key_id), limits=limits)
        self._write(update(KEYS).where(KEYS.c.id == key_id).values(**asdict(limits)))
        return key

    def get(self, key_id: str) -> Key:
        """Look up a key.

        :param key_id: id of the key
        :return: the key
        :raises InputError: if there is no such key
        """
        rows = self._read(select(KEYS).where(KEYS.c.id == key_id))
        if not rows:
            raise InputError(f"there is no key {key_id!r}; babelclip keys list shows them")
        return _key(rows[0])

    def _read(self, statement: Any) -> list[Row[Any]]:
        try:
            with self._engine.connect() as connection:
                return list(connection.execute(statement))
        except SQLAlchemyError as error:
            raise StoreError(f"keys cannot be read: {first_line(error)}") from None

    def _write(self, statement: Any) -> None:
        try:
            with self._engine.begin() as connection:
                connection.execute(statement)
        except SQLAlchemyError as error:
            raise StoreError(f"keys cannot be written: {first_line(error)}") from None


def check_limits(limits: KeyLimits) -> None:
    """Validate limits.

    :param limits: the limits
    :raises InputError: if one is out of range
    """
    for name, value in asdict(limits).items():
        most = 2**63 - 1 if name == "picodollars_per_month" else MAX_LIMIT
        if value is not None and not 1 <= value <= most:
            raise InputError(f"{name} must be 1 to {most}, not {value}")


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _key(row: Row[Any]) -> Key:
    limits = KeyLimits(row.requests_per_minute, row.tokens_per_minute, row.tokens_per_day, row.picodollars_per_month)
    return Key(row.id, row.name, tuple(row.scopes.split(",")), row.created_ms, row.expires_ms, row.revoked_ms, limits)
