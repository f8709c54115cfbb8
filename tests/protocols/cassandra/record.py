"""What the client of each capture does (see record.sh). `prepare` makes the tables, outside of any capture."""
import sys
import time

from cassandra import ConsistencyLevel
from cassandra.cluster import Cluster
from cassandra.query import BatchStatement, SimpleStatement


def session(version, compression=False, metadata=True):
    cluster = Cluster(["127.0.0.1"], protocol_version=version, compression=compression, schema_metadata_enabled=metadata,
                      token_metadata_enabled=False, monitor_reporting_enabled=False)
    return cluster, cluster.connect()


def everything(s):
    """A bit of each kind of request."""
    s.execute("USE shop")
    s.execute("INSERT INTO goods (id, name, tags, price) VALUES (1, 'a lamp', {'light', 'home'}, 12.5)")
    insert = s.prepare("INSERT INTO goods (id, name, tags, price) VALUES (?, ?, ?, ?)")
    for i in range(2, 5):
        s.execute(insert, (i, "thing %d" % i, {"home"}, i * 1.5))
    batch = BatchStatement()
    batch.add(insert, (5, "fifth", set(), 1.0))
    batch.add(SimpleStatement("DELETE FROM goods WHERE id = 1"))
    s.execute(batch)
    rows = list(s.execute("SELECT id, name, tags, price FROM goods"))
    assert len(rows) == 4, rows
    select = s.prepare("SELECT name FROM goods WHERE id = ?")
    assert s.execute(select, (3,)).one().name == "thing 3"
    paged = SimpleStatement("SELECT id FROM goods", fetch_size=3)
    assert len(list(s.execute(paged))) == 4
    s.execute("TRUNCATE goods")


def large(s):
    """A request and a response of more than one segment (128 KiB), which compress to a few KiB."""
    s.execute("INSERT INTO shop.goods (id, name) VALUES (9, '%s')" % ("long text " * 20000))
    assert len(s.execute("SELECT name FROM shop.goods WHERE id = 9").one().name) == 200000
    s.execute("TRUNCATE shop.goods")


def errors(s):
    for query, consistency in [
        ("SELEC 1", ConsistencyLevel.ONE),
        ("SELECT * FROM shop.nothing", ConsistencyLevel.ONE),
        ("CREATE TABLE shop.goods (id int PRIMARY KEY)", ConsistencyLevel.ONE),
        ("DROP KEYSPACE nosuch", ConsistencyLevel.ONE),
        ("SELECT * FROM other.twice WHERE id = 1", ConsistencyLevel.TWO),
        ("INSERT INTO other.twice (id) VALUES (1)", ConsistencyLevel.ALL),
        ("SELECT * FROM shop.goods WHERE id = 1", ConsistencyLevel.ONE),
    ]:
        try:
            s.execute(SimpleStatement(query, consistency_level=consistency))
        except Exception as e:
            print(type(e).__name__)


def out_of_order(s):
    """Slow and quick queries at once: the quick ones overtake."""
    slow = "SELECT count(*) FROM shop.many"
    quick = "SELECT id FROM shop.many WHERE id = %d"
    futures = [s.execute_async(slow)]
    for i in range(6):
        futures.append(s.execute_async(quick % i))
        futures.append(s.execute_async(slow))
    for future in futures:
        future.result()


def main(name):
    if name == "prepare":
        c, s = session(5)
        s.execute("CREATE KEYSPACE shop WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        s.execute("CREATE TABLE shop.goods (id int PRIMARY KEY, name text, tags set<text>, price double)")
        s.execute("CREATE TABLE shop.many (id int PRIMARY KEY, pad text)")
        insert = s.prepare("INSERT INTO shop.many (id, pad) VALUES (?, ?)")
        for i in range(3000):
            s.execute(insert, (i, "x" * 100))
        s.execute("CREATE KEYSPACE other WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 3}")
        s.execute("CREATE TABLE other.twice (id int PRIMARY KEY)")
    elif name == "v3_snappy":
        c, s = session(3, "snappy", False)
        everything(s)
    elif name == "v4_lz4":
        c, s = session(4, "lz4", False)
        everything(s)
    elif name == "v5":
        c, s = session(5, False, False)
        everything(s)
        s.execute("CREATE TABLE shop.temporary (id int PRIMARY KEY)")  # and an event
        s.execute("DROP TABLE shop.temporary")
    elif name == "v5_lz4":
        c, s = session(5, "lz4", False)
        everything(s)
        large(s)
    elif name == "errors":
        c, s = session(4, False, False)
        s.execute("USE other")
        errors(s)
    elif name == "out_of_order":
        c, s = session(4, False, False)
        out_of_order(s)
    else:
        sys.exit("record.py: there is no capture %r" % name)
    time.sleep(0.3)
    c.shutdown()


main(sys.argv[1])
