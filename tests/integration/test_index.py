# SPDX-License-Identifier: GPL-2.0-or-later
"""`shoal index`: made while everything goes on, kept with each save, listed, taken away; of this device alone; checked."""
import pytest

from lab import BUILD, wait_for
from test_two_hosts import equal, pair


@pytest.fixture
def cars(lab):
    host = lab.host("anna", lab.network())
    host.up()
    (host.dir / "cars").mkdir()
    for i in range(700):
        (host.dir / f"cars/{i}.json").write_text(f'{{"maker": "m{i % 50}", "doors": {i % 7}}}\n')
    return host


def listed(host):
    return host.shoal("index", "--list", "--json")["indexes"]


def index(pointers, collection="cars", complete=True):
    return {"collection": collection, "pointers": pointers, "complete": complete}


def test_index(cars):
    assert cars.shoal("index", "--list") == "There are no indexes.\n"
    assert cars.shoal("index", "cars", "/maker") == ""
    assert cars.shoal("index", cars.dir / "cars", "/maker", "/doors", "--json") == {"complete": True}
    both = [index(["/maker"]), index(["/maker", "/doors"])]
    assert sorted(listed(cars), key=str) == sorted(both, key=str)
    assert cars.shoal("index", "--list").count("cars  /maker") == 2
    (cars.dir / "cars/7.json").write_text('{"maker": "vw"}\n')
    (cars.dir / "cars/8.json").unlink()
    cars.shoal("verify")
    cars.down()
    cars.up()
    assert len(listed(cars)) == 2
    cars.shoal("verify")
    cars.shoal("index", "--drop", "cars", "/maker")
    assert listed(cars) == both[1:]
    cars.shoal("index", "cars", "/maker")
    assert len(listed(cars)) == 2
    cars.shoal("verify")


def test_errors(cars):
    def fails(*words, says, code=1):
        run = cars.run(BUILD / "shoal", *words, check=False)
        assert run.returncode == code, run.stderr
        assert says in run.stderr

    fails("index", "cars", says="name a collection, and what to index by", code=2)
    fails("index", "--list", "cars", says="--list takes nothing else", code=2)
    fails("index", "cars", "maker", says="a JSON pointer")
    fails("index", "bikes", "/maker", says="bikes")
    fails("index", "cars/7.json", "/maker", says="not a directory")
    fails("index", "--drop", "cars", "/maker", says="there is no such index")


def test_local(lab):
    _, a, b = pair(lab)
    (a.dir / "cars").mkdir()
    (a.dir / "cars/1.json").write_text('{"maker": "vw"}\n')
    equal(a, b)
    b.shoal("index", "cars", "/maker")
    (a.dir / "cars/2.json").write_text('{"maker": "dkw"}\n')
    equal(a, b)
    assert listed(b) == [index(["/maker"])] and listed(a) == []
    b.shoal("verify")
    # The collection leaves, and its index with it.
    b.shoal("unsubscribe", "--force", "cars")
    wait_for(lambda: listed(b) == [])
    b.shoal("verify")
