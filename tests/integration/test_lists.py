# SPDX-License-Identifier: GPL-2.0-or-later
"""Real programs save a document with arrays while another device changes other elements: both edits
survive, nothing is there twice, and the order is what both meant."""
import json
import os
import shutil
import subprocess

import pytest


TASKS = {
    "title": "Saturday",
    "tags": ["boat", "harbour"],
    "tasks": [
        {"id": 1, "what": "fuel", "done": False},
        {"id": 2, "what": "charts", "done": False, "notes": ["north"]},
        {"id": 3, "what": "ropes", "done": False},
    ],
    "position": [54.3, 10.1],
}


@pytest.fixture
def doc(m):
    (m.dir / "c").mkdir()
    path = m.dir / "c" / "day.json"
    path.write_text(json.dumps(TASKS, indent=2) + "\n")
    m.settle_and_sync()
    return path


def need(*tools):
    missing = [t for t in tools if not shutil.which(t)]
    if missing:
        pytest.fail("not installed: " + ", ".join(missing))


def run(*command, **options):
    return subprocess.run(command, check=True, timeout=60, capture_output=True, text=True, **options)


def changed(change):
    value = json.loads(json.dumps(TASKS))
    change(value)
    return value


def there(value):
    """What the other device does meanwhile."""
    value["tasks"][1]["done"] = True
    value["tasks"][1]["notes"].append("east")
    value["tasks"].append({"id": 4, "what": "water", "done": False})
    value["tags"].insert(0, "summer")


def remote(m, doc):
    m.remote_put(f"c/{doc.name}", json.dumps(changed(there), indent=2) + "\n")


def check(m, doc, here):
    """Both changes are in the file, on both devices, byte for byte."""
    def both(value):
        there(value)
        here(value)
    m.settle_and_sync()
    assert json.loads(doc.read_text()) == changed(both)
    assert m.remote_bytes(f"c/{doc.name}") == doc.read_bytes()
    assert doc.read_text() == json.dumps(changed(both), indent=2) + "\n", "the style is kept"
    assert m.drafts() == []


def done(value):
    value["tasks"][0]["done"] = True


def test_jq_and_mv(m, doc):
    need("jq")
    run("sh", "-c", "jq '.tasks[0].done = true' day.json > t", cwd=doc.parent)
    remote(m, doc)
    run("mv", "t", "day.json", cwd=doc.parent)
    check(m, doc, done)


def test_sed_i(m, doc):
    text = doc.read_text()
    remote(m, doc)
    assert text.count('"done": false') == 3
    run("sed", "-i", '0,/"done": false/s//"done": true/', str(doc))
    check(m, doc, done)


def test_python_in_place(m, doc):
    value = json.loads(doc.read_text())
    remote(m, doc)
    done(value)
    doc.write_text(json.dumps(value, indent=2) + "\n")
    check(m, doc, done)


def test_an_element_goes(m, doc):
    value = json.loads(doc.read_text())
    remote(m, doc)
    del value["tasks"][2]
    temp = doc.with_name("day.json.new")
    temp.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temp, doc)

    def gone(result):
        result["tasks"] = [task for task in result["tasks"] if task["id"] != 3]
    check(m, doc, gone)


def test_an_element_moves(m, doc):
    value = json.loads(doc.read_text())
    remote(m, doc)
    value["tasks"].insert(0, value["tasks"].pop())
    doc.write_text(json.dumps(value, indent=2) + "\n")

    def moved(result):
        result["tasks"].insert(0, result["tasks"].pop(2))
    check(m, doc, moved)


def test_numbers_are_one_value(m, doc):
    value = json.loads(doc.read_text())
    remote(m, doc)
    value["position"] = [54.4, 10.2]
    doc.write_text(json.dumps(value, indent=2) + "\n")

    def sailed(result):
        result["position"] = [54.4, 10.2]
    check(m, doc, sailed)


def test_a_log_that_both_append_to(m):
    """Two devices add to the end of one array, many times, one of them always from what it read long
    ago: all is there once, and what each wrote is in its order."""
    (m.dir / "c").mkdir()
    doc = m.dir / "c" / "log.json"
    doc.write_text('["begin"]\n')
    m.settle_and_sync()
    ours, theirs = ["begin"], ["begin"]
    for number in range(20):
        ours = json.loads(doc.read_text()) + [f"here {number}"]
        theirs = json.loads(m.remote_bytes("c/log.json")) + [f"there {number}"]
        m.remote_put("c/log.json", json.dumps(theirs) + "\n")
        doc.write_text(json.dumps(ours) + "\n")
        if number % 5 == 0:
            m.settle_and_sync()
    m.settle_and_sync()
    result = json.loads(doc.read_text())
    assert json.loads(m.remote_bytes("c/log.json")) == result
    assert [x for x in result if x.startswith("here")] == [f"here {n}" for n in range(20)]
    assert [x for x in result if x.startswith("there")] == [f"there {n}" for n in range(20)]
    assert len(result) == 41
