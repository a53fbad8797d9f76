"""API keys: made once, kept as hashes, checked in constant time.

    token = aet_<name>_<secret>,   secret: 256 random bits in hexadecimal,   kept: SHA-256(token)

The name is public: it finds the line and stands in the audit log. Roles are nested: predict < feedback < admin.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import sqlalchemy as sa

from aet.errors import AetError, ConfigError, nearest
from aet.serving.database import keys as table

ROLES = ("predict", "feedback", "admin")
"""What a key may do; each may do what those before it may."""
LIFE = 5.0
"""Seconds for which a key is remembered: so long a key revoked by another process may still work."""
REMEMBERED = 4096
"""Keys remembered at a time."""
TOKEN = re.compile(r"aet_([0-9a-f]{12})_([0-9a-f]{64})", re.ASCII)
OWNER = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


class Forbidden(AetError, PermissionError):
    """A key's role does not reach that far, or it asks for streams that are another owner's."""


@dataclass(frozen=True)
class Caller:
    """Who sent a request: the key's public name, its role, and whose streams it reaches."""

    key: str
    role: str
    owner: str

    def may(self, role: str) -> bool:
        """Whether the caller's role reaches `role`.

        >>> Caller("0a", "feedback", "local").may("predict"), Caller("0a", "feedback", "local").may("admin")
        (True, False)
        """
        return ROLES.index(self.role) >= ROLES.index(role)


@dataclass(frozen=True)
class Made:
    """A new key. `secret` is the whole token to send; it is shown once and kept nowhere."""

    name: str
    secret: str = field(repr=False)
    role: str
    owner: str


@dataclass(frozen=True)
class Key:
    """What is known of a key: never its secret."""

    name: str
    role: str
    owner: str
    made: datetime
    revoked: datetime | None


def digest(token: str) -> str:
    """SHA-256 of a token, in hexadecimal.

    A slow hash (argon2, scrypt) makes guessing of passwords dear. 256 random bits cannot be guessed at any speed, and a
    slow hash at each request would let anyone keep the server busy.
    """
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


NOBODY = digest("")
"""Compared with where no key of that name is: an unknown name takes as long as a wrong secret."""


def owner_of(caller: Caller, asked: str | None = None) -> str:
    """Whose streams a request is about: the caller's own; only an admin may ask for another's.

    Raises Forbidden for anyone else who names another owner, whether there is one of that name or not; ConfigError for
    a name that no owner can have.

    >>> owner_of(Caller("0a", "predict", "site")), owner_of(Caller("0b", "admin", "local"), "site")
    ('site', 'site')
    >>> owner_of(Caller("0a", "feedback", "site"), "local")
    Traceback (most recent call last):
    aet.serving.keys.Forbidden: Streams of another owner take a key of the role admin; this one has the role feedback...
    """
    if asked is None or asked == caller.owner:
        return caller.owner
    if not caller.may("admin"):
        raise Forbidden(
            f"Streams of another owner take a key of the role admin; this one has the role {caller.role}. Leave `owner`"
            " out: the key's own streams are meant then."
        )
    return checked_owner(asked)


def checked_owner(name: str) -> str:
    """The name, if an owner can have it; else ConfigError."""
    if not OWNER.fullmatch(name):
        raise ConfigError(
            "An owner is 1 to 64 of a-z, 0-9, '.', '_' and '-', and begins with a letter or a digit; "
            f"got {name[:80]!r}. For example: site-7."
        )
    return name


class Keys:
    """The keys of a store.

    >>> from tempfile import mkdtemp
    >>> from aet.serving.database import connect, metadata
    >>> engine = connect(mkdtemp() + "/store.db")
    >>> metadata.create_all(engine)
    >>> keys = Keys(engine)
    >>> made = keys.add("feedback", owner="site-7")
    >>> keys.caller(made.secret) == Caller(made.name, "feedback", "site-7"), keys.caller(made.secret[:-1] + "x")
    (True, None)
    >>> keys.revoke(made.name)
    >>> keys.caller(made.secret) is None
    True
    """

    def __init__(self, engine: sa.Engine, life: float = LIFE, clock: Callable[[], float] = time.monotonic) -> None:
        self.engine, self.life, self.clock = engine, life, clock
        self._lock = threading.Lock()
        self._changes = 0
        self._known: OrderedDict[str, tuple[float, str, Caller]] = OrderedDict()
        """By name: when it was read, the hash, and who it is. Only keys that exist: unknown names push out none."""

    def add(self, role: str, owner: str = "local") -> Made:
        """A new key. Raises ConfigError for a role or an owner that cannot be."""
        if role not in ROLES:
            raise ConfigError(f"There is no role {role!r}. {nearest(role, ROLES)}")
        checked_owner(owner)
        name = secrets.token_hex(6)
        token = f"aet_{name}_{secrets.token_hex(32)}"
        line = {"name": name, "hash": digest(token), "role": role, "owner": owner, "made": datetime.now(UTC)}
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(sa.insert(table).values(**line))
        return Made(name, token, role, owner)

    def caller(self, token: str) -> Caller | None:
        """Whose token it is; None for one that is malformed, unknown, wrong or revoked.

        The time it takes does not depend on how much of the secret is right.
        """
        found = TOKEN.fullmatch(token)
        known = self._find(found[1]) if found else None
        right = hmac.compare_digest(known[1] if known else NOBODY, digest(token))
        return known[2] if known and right else None

    def remembers(self, token: str) -> bool:
        """Whether `caller` answers without asking the database."""
        found = TOKEN.fullmatch(token)
        return found is None or self._recall(found[1]) is not None

    def revoke(self, name: str) -> None:
        """The key works no more: in this process from now on, in others within `LIFE` seconds.

        Raises ConfigError if there is no such key; one revoked before stays as it is.
        """
        gone = sa.update(table).where(table.c.name == name, table.c.revoked.is_(None)).values(revoked=datetime.now(UTC))
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            changed = connection.execute(gone).rowcount
        with self._lock:
            self._changes += 1
            self._known.pop(name, None)
        if not changed and name not in [key.name for key in self.all()]:
            raise ConfigError(f"There is no key {name[:80]!r}. `aet keys list` names those there are.")

    def all(self) -> list[Key]:
        """Every key, revoked ones too, in the order in which they were made."""
        columns = (table.c.name, table.c.role, table.c.owner, table.c.made, table.c.revoked)
        with self.engine.connect() as connection:
            lines = connection.execute(sa.select(*columns).order_by(table.c.made, table.c.name)).all()
        return [Key(*line) for line in lines]

    def _recall(self, name: str) -> tuple[float, str, Caller] | None:
        with self._lock:
            known = self._known.get(name)
            if known is None or self.clock() - known[0] >= self.life:
                return None
            self._known.move_to_end(name)
            return known

    def _find(self, name: str) -> tuple[float, str, Caller] | None:
        """The line of a key that is not revoked."""
        known = self._recall(name)
        if known is not None:
            return known
        with self._lock:
            changes, now = self._changes, self.clock()
        wanted = sa.select(table.c.hash, table.c.role, table.c.owner).where(
            table.c.name == name, table.c.revoked.is_(None)
        )
        with self.engine.connect() as connection:
            line = connection.execute(wanted).first()
        if line is None:
            return None
        found = (now, str(line.hash), Caller(name, str(line.role), str(line.owner)))
        with self._lock:
            if changes == self._changes:  # else it may have been revoked since it was read
                self._known[name] = found
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return found
