# SPDX-License-Identifier: GPL-2.0-or-later
"""Declared types: two devices with ordinary programs add up, unite and merge what they declared."""
import json
import subprocess

from lab import BUILD, wait_for
from test_conflicts import apart, calm
from test_two_hosts import equal, pair


def jq(host, path, program):
    """As people do it: jq over the file, the result moved into its place."""
    host.run("sh", "-c", 'jq "$1" "$2" > t && mv t "$2"', "sh", program, path, cwd=host.dir)


def shown(host, path):
    return json.loads((host.dir / path).read_text())


def test_counters(lab):
    lan, a, b = pair(lab)
    (a.dir / "cars").mkdir()
    (a.dir / "cars" / "x.json").write_text('{"stock": 10, "parts": [{"id": 1, "n": 1.50}]}\n')
    (a.dir / "top.json").write_text('{"n": 0}\n')
    assert a.shoal("type", "cars", "/stock", "counter") == "counter\n"
    assert a.shoal("type", a.dir / "cars", "/parts/*/n", "counter") == "counter\n"
    assert a.shoal("type", ".", "/n", "counter", "--json") == {
        "collection": ".", "pointer": "/n", "type": "counter"}
    equal(a, b)
    wait_for(lambda: b.shoal("type", ".", "/n") == "counter\n")
    declared = [{"pointer": "/parts/*/n", "type": "counter"}, {"pointer": "/stock", "type": "counter"}]
    assert b.shoal("type", "cars", "--json") == {"collection": "cars", "types": declared}

    apart(lan, a, b, lambda: jq(a, "cars/x.json", ".stock -= 3 | .parts[0].n += 0.25"),
          lambda: jq(b, "cars/x.json", ".stock -= 1 | .parts[0].n += 1"))
    for host in (a, b):
        assert shown(host, "cars/x.json") == {"stock": 6, "parts": [{"id": 1, "n": 2.75}]}
    calm(a, b)

    def often(host, n):
        for _ in range(n):
            jq(host, "top.json", ".n += 1")

    apart(lan, a, b, lambda: often(a, 7), lambda: often(b, 5))
    assert (a.dir / "top.json").read_text() == (b.dir / "top.json").read_text() == '{\n  "n": 12\n}\n'
    often(a, 3)
    often(b, 3)
    equal(a, b)
    wait_for(lambda: shown(a, "top.json") == {"n": 18} == shown(b, "top.json"))
    assert a.shoal("verify")


def test_arrays(lab):
    lan, a, b = pair(lab)
    (a.dir / "c").mkdir()
    (a.dir / "c" / "x.json").write_text('{"tags": ["new"], "people": [], "at": [1, 2], "log": [1]}\n')
    for pointer, kind in (("/tags", "set"), ("/people", "keyed:name"), ("/at", "register"), ("/log", "list")):
        a.shoal("type", "c", pointer, kind)
    equal(a, b)
    wait_for(lambda: len(b.shoal("type", "c", "--json")["types"]) == 4)
    program = '.tags += ["red", "new"] | .people += [{"name": "eve", "%s": 1}] | .log += [%d]'
    apart(lan, a, b, lambda: jq(a, "c/x.json", program % ("age", 2)),
          lambda: jq(b, "c/x.json", program % ("size", 3)))
    merged = shown(a, "c/x.json")
    assert merged == shown(b, "c/x.json")
    assert merged["tags"] == ["new", "red"]
    assert merged["people"] == [{"name": "eve", "age": 1, "size": 1}]
    assert merged["at"] == [1, 2] and sorted(merged["log"]) == [1, 2, 3]
    calm(a, b)


def by_sed(host, path, script):
    """In place: a new file that takes the other one's name."""
    host.run("sed", "-i", script, path, cwd=host.dir)


def by_python(host, path, key, change):
    """Read, changed and written over the same file."""
    document = json.loads((host.dir / path).read_text())
    document[key] = change(document[key])
    (host.dir / path).write_text(json.dumps(document, indent=2) + "\n")


def test_texts(lab):
    lan, a, b = pair(lab)
    (a.dir / "notes").mkdir()
    plain = {"title": "x", "body": "Milk.\nEggs.\n\U0001f600\n", "log": ["one two"]}
    (a.dir / "notes" / "x.json").write_text(json.dumps(plain, indent=2) + "\n")
    equal(a, b)
    assert a.shoal("type", "notes", "/body", "text") == "text\n"
    a.shoal("type", "notes", "/log/*", "text")
    wait_for(lambda: len(b.shoal("type", "notes", "--json")["types"]) == 2)

    apart(lan, a, b, lambda: by_python(a, "notes/x.json", "body", lambda s: s.replace("Milk", "Oat milk")),
          lambda: by_sed(b, "notes/x.json", r"s/Eggs\./Six eggs./"))
    for host in (a, b):
        assert shown(host, "notes/x.json") == dict(plain, body="Oat milk.\nSix eggs.\n\U0001f600\n")
    calm(a, b)

    apart(lan, a, b, lambda: jq(a, "notes/x.json", '.body += "Tea.\\n" | .log[0] |= "zero " + .'),
          lambda: jq(b, "notes/x.json", '.body |= sub("Six"; "Ten") | .log[0] += " three"'))
    for host in (a, b):
        assert shown(host, "notes/x.json")["body"] == "Oat milk.\nTen eggs.\n\U0001f600\nTea.\n"
        assert shown(host, "notes/x.json")["log"] == ["zero one two three"]
    calm(a, b)

    def swap(host, old, new):
        by_python(host, "notes/x.json", "body", lambda s: s.replace(old, new))

    apart(lan, a, b, lambda: swap(a, "Ten", "Nine"), lambda: swap(b, "Ten", "Nine"))
    assert shown(a, "notes/x.json")["body"] == "Oat milk.\nNine eggs.\n\U0001f600\nTea.\n"
    apart(lan, a, b, lambda: jq(a, "notes/x.json", "del(.body)"), lambda: swap(b, "Tea", "Green tea"))
    assert shown(b, "notes/x.json")["body"] == "Oat milk.\nNine eggs.\n\U0001f600\nGreen tea.\n"
    exact = '{"title":"x",  "body": "\\u004fat\\/milk", "log":[ ]}'
    (b.dir / "notes" / "x.json").write_text(exact)
    wait_for(lambda: all((host.dir / "notes" / "x.json").read_text() == exact for host in (a, b)))
    a.down()
    a.up()
    assert (a.dir / "notes" / "x.json").read_text() == exact
    assert a.shoal("verify") and b.shoal("verify")


def test_what_it_says(lab):
    a = lab.host("anna", lab.network())

    def fails(status, *words, says=""):
        result = a.run(BUILD / "shoal", "type", *words, check=False)
        assert result.returncode == status and says in result.stderr, (words, result.stderr)
        assert result.stderr.count("\n") == 1

    a.up()
    (a.dir / "d" / "below").mkdir(parents=True)
    (a.dir / "x.json").write_text("{}\n")
    assert a.shoal("type", "d") == "Nothing is declared.\n"
    assert a.shoal("type", "d", "/n") == "default\n"
    a.shoal("type", "d", "", "keyed:id")
    a.shoal("type", "d", "/*/~2", "set")
    assert a.shoal("type", "d") == '""     keyed:id\n/*/~2  set\n'
    assert a.shoal("type", "d", "", "default") == "default\n"
    assert a.shoal("type", "d") == "/*/~2  set\n"
    fails(1, "d", "/n", "texts", says="text, keyed:FIELD")
    fails(1, "d", "/n", "sum", says="register, counter, set, list")
    fails(1, "d", "/n", "keyed:", says="member")
    fails(1, "d", "n", "set", says="JSON pointer")
    fails(1, "d/below", "/n", "set", says="d/below: not a collection")
    fails(1, "x.json", says="not a directory")
    fails(1, "none", says="none")
    a.down()
    a.up()
    assert a.shoal("type", "d") == "/*/~2  set\n"
    (a.dir / "d" / "s.json").write_text('[{"*": [1, 1, 2]}]')
    wait_for(lambda: shown(a, "d/s.json") == [{"*": [1, 2]}])
    assert subprocess.run([BUILD / "shoal", "type", "--help"], capture_output=True).returncode == 0
