"""SQLAlchemy over psycopg2 and over asyncpg: `sqlalchemy_app.py CASE` runs one case and prints what it got."""

import asyncio
import os
import ssl
import sys

from sqlalchemy import (JSON, Column, ForeignKey, Integer, Numeric, String, create_engine, event, func, inspect, select, text)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, declarative_base, relationship, selectinload

URL = "//{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**os.environ)
Base = declarative_base()


class User(Base):
    __tablename__ = "alchemy_user"
    id = Column(Integer, primary_key=True)
    name = Column(String(30), unique=True, nullable=False)
    facts = Column(JSONB)
    tags = Column(ARRAY(String))
    price = Column(Numeric(10, 2))
    addresses = relationship("Address", back_populates="user", cascade="all, delete-orphan", order_by="Address.id")


class Address(Base):
    __tablename__ = "alchemy_address"
    id = Column(Integer, primary_key=True)
    email = Column(String)
    user_id = Column(ForeignKey("alchemy_user.id"))
    user = relationship("User", back_populates="addresses")


def engine(**options):
    made = create_engine("postgresql+psycopg2:" + URL, future=True, **options)
    Base.metadata.drop_all(made)
    Base.metadata.create_all(made)
    with Session(made) as session:
        session.add_all(User(name=name, facts={"n": n, "deep": [None, "ü"]}, tags=["x", name], price=n + 0.25)
                        for n, name in enumerate(["ann", "bob", "cleo"]))
        session.commit()
    return made


def said(work):
    try:
        print(work())
    except DBAPIError as error:
        print(type(error).__name__, getattr(error.orig, "pgcode", None) or getattr(error.orig, "sqlstate", None), str(error.orig).split("\n")[0])


def names(session):
    return session.scalars(select(User.name).order_by(User.name)).all()


def case_sessions():
    with Session(engine()) as session:
        print([(u.id, u.name, u.facts, u.tags, u.price) for u in session.scalars(select(User).order_by(User.id))])
        ann = session.scalars(select(User).filter_by(name="ann")).one()
        ann.addresses = [Address(email="one"), Address(email="two")]
        session.commit()
        print([(u.name, [a.email for a in u.addresses]) for u in session.scalars(select(User).options(selectinload(User.addresses)).order_by(User.id))])
        print(session.execute(select(User.name, func.count(Address.id)).outerjoin(Address).group_by(User.name).order_by(User.name)).all())
        statement = insert(User).values(name="bob", price=9).on_conflict_do_update(index_elements=["name"], set_={"price": 10}).returning(User.price)
        print(session.execute(statement).all())
        session.delete(ann)
        session.commit()
        print(names(session), session.scalar(select(func.count()).select_from(Address)))


def case_transactions():
    made = engine()
    with Session(made) as session:
        session.add(User(name="kept"))
        session.flush()
        said(lambda: add_in_savepoint(session, "ann"))
        add_in_savepoint(session, "inner")
        session.commit()
        session.add(User(name="lost"))
        session.rollback()
        print(names(session))
    with made.connect().execution_options(isolation_level="SERIALIZABLE") as connection:
        print(connection.scalar(text("show transaction_isolation")))
    with made.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum alchemy_user"))
    with made.connect().execution_options(postgresql_readonly=True) as connection:
        said(lambda: connection.execute(text("delete from alchemy_user")).rowcount)
    with Session(made) as session:
        print(names(session))


def add_in_savepoint(session, name):
    with session.begin_nested():
        session.add(User(name=name))


def case_streams_and_big_results():
    with engine().connect() as connection:
        streamed = connection.execution_options(stream_results=True, max_row_buffer=500).execute(text("select n, repeat('x', 100) from generate_series(1, 20000) n"))
        print(sum(n for n, _ in streamed))


def case_schema_is_reflected():
    made = engine()
    seen = inspect(made)
    print(sorted(name for name in seen.get_table_names() if name.startswith("alchemy_")))
    print([(c["name"], str(c["type"])) for c in seen.get_columns("alchemy_user")])
    print(seen.get_foreign_keys("alchemy_address")[0]["referred_table"], seen.get_unique_constraints("alchemy_user")[0]["column_names"])


def case_settings_at_connect():
    made = engine(connect_args={"options": "-c statement_timeout=5s -c search_path=pg_temp,public"})
    with made.connect() as connection:
        for _ in range(3):
            print(connection.execute(text("select current_setting('statement_timeout'), current_setting('search_path')")).all())
            connection.commit()


def case_settings_by_an_event():
    made = engine(pool_size=3)

    @event.listens_for(made, "connect")
    def set_path(connection, _):
        with connection.cursor() as cursor:
            cursor.execute("set session search_path = 'alchemy', public; set work_mem = '7MB'")
        connection.commit()

    made.dispose()
    others = [made.connect() for _ in range(3)]
    for connection in others * 2:
        print(connection.execute(text("select current_setting('search_path'), current_setting('work_mem')")).all())
        connection.rollback()


async def asynchronous():
    context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    made = create_async_engine("postgresql+asyncpg:" + URL, pool_size=5, connect_args={"ssl": context})

    async def one(n):
        async with made.begin() as connection:
            await connection.execute(text("insert into alchemy_user (name) values (:name)"), {"name": f"n{n}"})
            return (await connection.execute(text("select name from alchemy_user where name = :name"), {"name": f"n{n}"})).scalar_one()

    print(await asyncio.gather(*(one(n) for n in range(50))))
    async with made.connect() as connection:
        streamed = await connection.stream(text("select n from generate_series(1, 5000) n"))
        print(sum([row.n async for row in streamed]))
    await made.dispose()


def case_asyncpg():
    engine()
    asyncio.run(asynchronous())


if __name__ == "__main__":
    globals()["case_" + sys.argv[1]]()
