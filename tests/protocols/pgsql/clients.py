#!/usr/bin/env python3
"""What the drivers do while record.sh records: clients.py asyncpg | psycopg | cancel. Server and user come from the environment."""
import asyncio
import os
import sys
import threading
import time

TYPES = """select true as t, 1::int2 as i2, -2::int4 as i4, 3::int8 as i8, 1.5::float4 as f4, -1e300::float8 as f8, 'text, "quoted"'::text as tx,
 -12345.670::numeric as nu, date '2024-02-29' as da, timestamp '1999-12-31 23:59:59.5' as ts, timestamptz '2024-02-29 12:00:00+00' as tz,
 '12345678-1234-5678-1234-567812345678'::uuid as uu, '\\xdeadbeef'::bytea as ba, '{"a": 1}'::json as js, '{"a":1}'::jsonb as jb, null::int4 as nl,
 array[1, null, 3] as ar, interval '1 day 02:03:04' as iv, time '01:02:03' as ti, inet '10.0.0.1' as ip, $1::int4 as p"""


async def with_asyncpg():
    """Named statements, binary parameters and results; the SQL is sent once."""
    import asyncpg
    c = await asyncpg.connect(ssl=False)
    s = await c.prepare(TYPES)
    for n in range(2):
        await s.fetch(n)
    insert = await c.prepare("insert into t(a) values ($1) returning id")
    for n in range(3):
        await insert.fetch(f"row {n}")
    await c.executemany("insert into t(a, b) values ($1, $2)", [("m1", None), ("m2", "x")])
    async with c.transaction():
        async for _ in c.cursor("select generate_series(1, 120) as g"):
            pass
    for bad in ("selec", "select 1/0 as z", "select * from missing"):
        try:
            await c.fetch(bad)
        except asyncpg.PostgresError:
            pass
    await c.copy_records_to_table("big", records=[(n, f"text {n}") for n in range(50)])
    await c.close()


def with_psycopg():
    """Pipelines with several statements before one Sync, one of them failing; statements named after five uses; COPY."""
    import psycopg
    with psycopg.connect(autocommit=True) as c:
        with c.pipeline():
            a = c.execute("select %s::int4 as one", (1,))
            b = c.execute("select %s::text as two", ("zwei",), binary=True)
            d = c.execute("select generate_series(1, 3) as g")
            a.fetchall(), b.fetchall(), d.fetchall()
        try:
            with c.pipeline():
                c.execute("select 1 as before")
                c.execute("select 1/0 as bad")
                c.execute("select 2 as never")
        except psycopg.Error:
            pass
        for n in range(8):
            c.execute("select a from t where id = %s", (n,), binary=True).fetchall()
        with c.cursor() as cur:
            with cur.copy("copy big(x, y) from stdin") as copy:
                for n in range(20):
                    copy.write_row((n, "copied"))
            with cur.copy("copy (select x from big limit 5) to stdout (format binary)") as copy:
                for _ in copy:
                    pass
        c.execute("set application_name = 'x'")
        try:
            c.execute("create temp table u(i int unique deferrable initially deferred)")
            c.execute("insert into u values (%s), (%s)", (1, 1))
        except psycopg.Error:
            pass


def cancel():
    """A statement that is cancelled from a second connection."""
    import psycopg
    with psycopg.connect(autocommit=True) as c:
        threading.Thread(target=lambda: (time.sleep(0.3), c.cancel_safe() if hasattr(c, "cancel_safe") else c.cancel())).start()
        try:
            c.execute("select pg_sleep(10)")
        except psycopg.Error:
            pass
        c.execute("select 'after' as a")


what = sys.argv[1]
os.environ.setdefault("PGSSLMODE", "disable")
if what == "asyncpg":
    asyncio.run(with_asyncpg())
elif what == "psycopg":
    with_psycopg()
else:
    cancel()
