# SPDX-License-Identifier: GPL-2.0-or-later
"""`shoal query`: formats, parameters, errors, and that a long query stands in nobody's way and ends with its client."""
import contextlib
import csv
import io
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest

from lab import BUILD, wait_for

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
MANY = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT i, printf('%100d', i) FROM n"


@pytest.fixture
def cars(anna):
    (anna.dir / "cars/old").mkdir(parents=True)
    (anna.dir / "cars/7.json").write_text('{"maker": "vw", "doors": 3, "price": 1.10, "tags": ["a", 18446744073709551616]}\n')
    (anna.dir / "cars/8.json").write_text('{"maker": "fiat, \\"500\\"\\u001b[31m\\n", "doors": null, "price": 1e400}\n')
    (anna.dir / "cars/old/1.json").write_text('{"maker": "dkw", "doors": 2}\n')
    return anna


def query(host, *words, **options):
    return host.run(BUILD / "shoal", "query", *words, **options).stdout


def fails(host, *words, says, code=1, **options):
    result = host.run(BUILD / "shoal", "query", *words, check=False, **options)
    assert result.returncode == code and says in result.stderr, result
    return result


def running(pid):
    """How many queries a daemon answers: each has a thread of that name."""
    count = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            count += (task / "comm").read_text() == "query\n"
    return count


def test_formats(cars):
    sql = "SELECT _id, body ->> 'maker' AS maker, body ->> 'doors' AS doors, body -> 'tags' AS tags, x'00ff' AS bytes, 2.0 AS two FROM cars ORDER BY _id"
    assert query(cars, sql, "--format", "table") == query(cars, sql) == (
        '_id    maker                  doors  tags                        bytes  two\n'
        '-----  ---------------------  -----  --------------------------  -----  ---\n'
        '7      vw                         3  ["a",18446744073709551616]  AP8=   2.0\n'
        '8      fiat, "500"\\x1b[31m\\n                                     AP8=   2.0\n'
        'old/1  dkw                        2                              AP8=   2.0\n')
    rows = json.loads(query(cars, sql, "--format", "json"))
    assert rows == json.loads(query(cars, sql, "--json"))
    assert rows[0] == {"_id": "7", "maker": "vw", "doors": 3, "tags": ["a", 2**64], "bytes": "AP8=", "two": 2.0}
    assert rows[1]["maker"] == 'fiat, "500"\x1b[31m\n' and rows[1]["doors"] is None and rows[1]["tags"] is None
    lines = query(cars, sql, "--format=jsonl").splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert '"tags":["a",18446744073709551616]' in lines[0]
    text = query(cars, sql, "--format", "csv")
    assert list(csv.reader(io.StringIO(text)))[1:] == [
        ["7", "vw", "3", '["a",18446744073709551616]', "AP8=", "2.0"],
        ["8", 'fiat, "500"\x1b[31m\n', "", "", "AP8=", "2.0"], ["old/1", "dkw", "2", "", "AP8=", "2.0"]]
    assert query(cars, "SELECT NULL, '', ' x'", "--format", "csv") == 'NULL,\'\',\' x\'\n,""," x"\n'
    # The whole document, and names that come twice.
    assert json.loads(query(cars, "SELECT a._id, b._id, a.body FROM cars a JOIN cars b ON a._id = b._id WHERE a._id = '7'",
                            "--format", "jsonl")) == {
        "_id": "7", "_id 2": "7", "body": {"maker": "vw", "doors": 3, "price": 1.1, "tags": ["a", 2**64]}}
    assert query(cars, "SELECT body FROM cars WHERE _id = 7", "--format", "jsonl") == (
        '{"body":{"maker":"vw","doors":3,"price":1.10,"tags":["a",18446744073709551616]}}\n')
    assert query(cars, "SELECT body ->> 'price' AS p FROM cars WHERE _id <> 'old/1'", "--format", "json") == (
        '[\n {"p":1.1},\n {"p":"1e400"}\n]\n')
    nothing = "SELECT _id FROM cars WHERE 0"
    assert query(cars, nothing, "--format", "json") == "[\n]\n"
    assert query(cars, nothing) == "_id\n---\n" and query(cars, nothing, "--format", "csv") == "_id\n"
    assert query(cars, nothing, "--format", "jsonl") == ""
    assert query(cars, "SELECT 9e999 AS x, -9e999 AS y, 1e100 AS z, 0.1 + 0.2 AS s", "--format", "jsonl") == (
        '{"x":9e999,"y":-9e999,"z":1e+100,"s":0.30000000000000004}\n')
    fails(cars, sql, "--format", "xml", says="--format is table, json, jsonl or csv", code=2)


def test_questions(cars):
    assert query(cars, input="SELECT count(*) AS n\nFROM cars;\n") == "n\n-\n3\n"
    assert query(cars, "-", "--format=csv", input="SELECT 1") == "1\n1\n"
    assert query(cars, "--param", "n=2", "--param=who=dkw", "SELECT _id FROM cars WHERE body ->> 'doors' = :n AND body ->> 'maker' = $who",
                 "--format", "csv") == "_id\nold/1\n"
    assert query(cars, "--param", 'n="2"', "SELECT typeof(:n) AS t", "--format", "csv") == "t\ntext\n"
    fails(cars, "--param", "n", "SELECT :n", says="--param takes NAME=VALUE", code=2)
    fails(cars, "--param", "n=1", "--param", "n=2", "SELECT :n", says="each name once", code=2)
    fails(cars, "SELECT :n", says=":n has no value: give --param n=VALUE")
    assert "look up one document of cars by _id" in query(cars, "EXPLAIN SELECT * FROM cars WHERE _id = '7'")
    # A new file counts at once, in the middle of whatever programs do next.
    (cars.dir / "cars/new.json").write_text('{"doors": 9}')
    assert query(cars, "SELECT body ->> 'doors' AS d FROM cars WHERE _id = 'new'", "--format", "csv") == "d\n9\n"


def test_errors(cars):
    result = fails(cars, "SELECT _id\nFROM cars\nWHERE\tbody ->> 'x' = 'ü' ANDD 1", says='near "ANDD": syntax error')
    assert result.stderr.splitlines()[1:] == ["line 3:", "  WHERE\\tbody ->> 'x' = 'ü' ANDD 1", "  " + " " * 26 + "^"]
    result = fails(cars, "SELECT * FROM carz", says='there is no collection "carz" here; there are: cars')
    assert result.stderr.splitlines()[1:] == ["  SELECT * FROM carz", "                ^"]
    result = fails(cars, "DELETE FROM cars", says="a query only reads collections")
    result = fails(cars, "SELECT " + "1 + " * 200 + "x", says="no column")
    assert len(result.stderr.splitlines()[1]) < 150 and result.stderr.splitlines()[2].endswith("^")
    fails(cars, "", says="the query is empty")
    assert query(cars, "SELECT count(*) AS n FROM cars", "--format", "csv") == "n\n3\n"


def test_long(lab, cars):
    """The daemon serves files and peers while queries run; a client that leaves ends its query."""
    ben = lab.host("ben", lab.networks[0])
    ben.join(cars)
    ben.up()
    wait_for(lambda: (ben.dir / "cars/7.json").exists())
    asking = [cars.popen(BUILD / "shoal", "query", ENDLESS, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(8)]
    wait_for(lambda: running(cars.daemon_pid()) == 8)
    fails(cars, "SELECT 1", says="8 queries run already")
    begin = time.monotonic()
    (cars.dir / "cars/9.json").write_text('{"doors": 1}')
    wait_for(lambda: (ben.dir / "cars/9.json").exists())
    (ben.dir / "cars/9.json").write_text('{"doors": 2}')
    wait_for(lambda: "2" in (cars.dir / "cars/9.json").read_text())
    assert cars.shoal("status", "--json") and time.monotonic() - begin < 30
    for client in asking[1:]:
        client.kill()
        client.communicate()
    wait_for(lambda: running(cars.daemon_pid()) == 1)
    assert query(cars, "SELECT 1 AS n", "--format", "csv") == "n\n1\n"
    # The end of the daemon ends what is left.
    assert cars.down()
    assert asking[0].wait(20) == 1
    asking[0].communicate()


def test_limits(cars):
    cars.shoal("config", "query.time", "1")
    fails(cars, ENDLESS, says="the query took longer than 1 s (query.time)")
    cars.shoal("config", "query.memory", "16")
    result = fails(cars, "SELECT count(*) FROM (" + MANY.format(1000000) + " ORDER BY 2)", says="more memory than it may (query.memory)")
    assert not result.stdout
    cars.shoal("config", "query.memory", "64")
    fails(cars, "SELECT hex(zeroblob(4000000)) AS x", says="a row of an answer may have 6 MiB")
    assert query(cars, "SELECT length(hex(zeroblob(2000000))) AS n", "--format", "csv") == "n\n4000000\n"
    assert query(cars, "SELECT 1 AS n", "--format", "csv") == "n\n1\n"


def test_slow_reader(cars):
    """Rows wait for who reads them, without taking memory or the time that a query has."""
    cars.shoal("config", "query.time", "3")
    pid = cars.daemon_pid()

    def resident():
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * 4096
    with socket.socket(socket.AF_UNIX) as control:
        control.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        control.connect(str(cars.store / "control.sock"))
        control.settimeout(60)
        before = resident()
        control.sendall(json.dumps({"method": "query", "params": {"sql": MANY.format(300000)}, "id": 1}).encode() + b"\n")
        time.sleep(4)  # longer than the query may run
        assert resident() - before < 64 << 20
        file, rows = control.makefile("rb"), []
        for line in file:
            answer = json.loads(line)
            rows += answer["result"].get("rows", [])
            if not answer.get("more"):
                break
        assert answer["result"] == {"count": 300000}
        assert [row[0] for row in rows] == list(range(1, 300001))
