"""Keys: kept as hashes, found again, revoked, and never fooled."""

from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aet.errors import ConfigError
from aet.serving import keys as module
from aet.serving.database import connect, metadata
from aet.serving.keys import ROLES, Caller, Forbidden, Keys, owner_of


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def engine(tmp_path):
    engine = connect(tmp_path / "store.db")
    metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def statements(engine):
    """Statements sent to the database."""
    sent: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda c, cursor, statement, *rest: sent.append(statement))
    return sent


def test_the_secret_is_long_new_each_time_and_nowhere_in_the_database(engine, tmp_path):
    made = [Keys(engine).add("predict") for _ in range(20)]
    assert len({m.secret for m in made}) == 20
    assert all(len(bytes.fromhex(m.secret.split("_")[2])) * 8 == 256 for m in made)
    engine.dispose()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for m in made:
        assert m.name.encode() in written
        assert m.secret.split("_")[2].encode() not in written
        assert m.secret not in repr(m)


@pytest.mark.parametrize("role", ROLES)
def test_a_key_is_its_role_and_owner(engine, role):
    made = Keys(engine).add(role, owner="site-7")
    assert Keys(engine).caller(made.secret) == Caller(made.name, role, "site-7")


def test_roles_are_nested():
    may = {role: [other for other in ROLES if Caller("0a", role, "local").may(other)] for role in ROLES}
    assert may == {
        "predict": ["predict"],
        "feedback": ["predict", "feedback"],
        "admin": ["predict", "feedback", "admin"],
    }


def test_a_key_with_one_character_changed_is_nobody(engine):
    keys = Keys(engine)
    token = keys.add("admin").secret
    for place in (0, 4, 15, 17, 40, len(token) - 1):
        other = "1" if token[place] != "1" else "2"
        assert keys.caller(token[:place] + other + token[place + 1 :]) is None
    assert keys.caller(token + "0") is None
    assert keys.caller(token + "\n") is None
    assert keys.caller(token.upper()) is None
    assert keys.caller("") is None


def test_the_secret_of_one_key_does_not_open_another(engine):
    keys = Keys(engine)
    one, two = keys.add("predict"), keys.add("admin")
    assert keys.caller(f"aet_{two.name}_{one.secret.split('_')[2]}") is None


def test_the_hash_itself_is_no_key(engine):
    keys = Keys(engine)
    made = keys.add("admin")
    with engine.connect() as connection:
        kept = connection.execute(sa.select(module.table.c.hash)).scalar_one()
    assert keys.caller(f"aet_{made.name}_{kept}") is None


def test_comparison_is_in_constant_time_also_for_unknown_names(engine, monkeypatch):
    compared = []

    def compare(one: str, two: str) -> bool:
        compared.append((len(one), len(two)))
        return one == two

    monkeypatch.setattr(module.hmac, "compare_digest", compare)
    keys = Keys(engine)
    token = keys.add("admin").secret
    assert keys.caller(token)
    for wrong in ("", "nonsense", "aet_" + "0" * 12 + "_" + "0" * 64, token[:-1] + ("0" if token[-1] != "0" else "1")):
        assert keys.caller(wrong) is None
    assert compared == [(64, 64)] * 5


def test_a_remembered_key_asks_the_database_once_and_an_unknown_one_pushes_out_none(engine, statements, monkeypatch):
    monkeypatch.setattr(module, "REMEMBERED", 2)
    clock = Clock()
    keys = Keys(engine, clock=clock)
    token = keys.add("predict").secret
    assert not keys.remembers(token)
    keys.caller(token)
    assert keys.remembers(token)
    statements.clear()
    for n in range(50):
        assert keys.caller(token)
        keys.caller(f"aet_{n:012x}_{'0' * 64}")
    assert len([s for s in statements if "SELECT" in s]) == 50  # the unknown ones
    assert keys.caller(token)
    for _ in range(3):
        keys.caller(keys.add("predict").secret)
    assert len(keys._known) == 2


def test_revoked_at_once_here_and_within_its_life_in_another_process(engine):
    clock = Clock()
    here, elsewhere = Keys(engine, clock=clock), Keys(engine, clock=clock)
    made = here.add("admin")
    assert here.caller(made.secret)
    assert elsewhere.caller(made.secret)
    here.revoke(made.name)
    assert here.caller(made.secret) is None
    assert elsewhere.caller(made.secret)  # what is remembered: stated
    clock.now += module.LIFE
    assert elsewhere.caller(made.secret) is None


def test_a_key_read_just_before_it_is_revoked_is_not_remembered_after(engine, monkeypatch):
    keys = Keys(engine)
    made = keys.add("admin")
    read, gone = threading.Event(), threading.Event()

    @sa.event.listens_for(engine, "after_cursor_execute")
    def pause(connection, cursor, statement, *rest):
        if statement.startswith("SELECT keys.hash") and not read.is_set():
            read.set()
            assert gone.wait(10)

    reader = threading.Thread(target=keys.caller, args=(made.secret,))
    reader.start()
    assert read.wait(10)
    keys.revoke(made.name)
    gone.set()
    reader.join()
    assert keys.caller(made.secret) is None


def test_all_names_every_key_and_no_secret(engine):
    keys = Keys(engine)
    one, two = keys.add("predict", "a"), keys.add("admin", "b")
    keys.revoke(one.name)
    listed = keys.all()
    assert [(k.name, k.role, k.owner, k.revoked is None) for k in listed] == [
        (one.name, "predict", "a", False),
        (two.name, "admin", "b", True),
    ]
    assert one.secret.split("_")[2] not in repr(listed)
    revoked = listed[0].revoked
    keys.revoke(one.name)
    assert keys.all()[0].revoked == revoked


def test_what_cannot_be_is_said(engine):
    keys = Keys(engine)
    with pytest.raises(ConfigError, match=r"no role 'adm'\. Did you mean 'admin'"):
        keys.add("adm")
    for owner in ("", "A", "a/b", "../x", "a b", "a" * 65, "-a", "a\n"):
        with pytest.raises(ConfigError, match="An owner is"):
            keys.add("predict", owner)
    with pytest.raises(ConfigError, match="no key 'ffff'"):
        keys.revoke("ffff")


def test_streams_are_the_callers_own_unless_an_admin_asks():
    for role in ("predict", "feedback"):
        caller = Caller("0a", role, "one")
        assert owner_of(caller) == owner_of(caller, "one") == "one"
        with pytest.raises(Forbidden):
            owner_of(caller, "two")
        with pytest.raises(Forbidden):
            owner_of(caller, "../one")  # the same words for what could be and what could not
    admin = Caller("0b", "admin", "one")
    assert (owner_of(admin), owner_of(admin, "two")) == ("one", "two")
    with pytest.raises(ConfigError):
        owner_of(admin, "../two")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(token=st.one_of(st.text(), st.from_regex(r"aet_[0-9a-f_]{0,80}", fullmatch=True), st.characters()))
def test_no_text_opens_anything_or_breaks(engine, token):
    keys = Keys(engine)
    assert keys.caller(token) is None
    assert keys.remembers(token) in (True, False)
