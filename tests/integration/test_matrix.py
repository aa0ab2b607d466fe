# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way of saving (programs.py), with a change of another field from elsewhere at every moment
that matters. Whatever happens: both edits survive, it stays one document with the identity that it
had, nothing else reaches the other device, and what does reach it is one delta with the changed
field alone."""
import os

import pytest

from fsmount import Mount
from programs import PROGRAMS, START, Moment


@pytest.fixture(scope="module")
def shared():
    """One mount for all: each case has a directory of its own."""
    mount = Mount()
    mount.changes()
    yield mount
    mount.close()


class Case:
    """A document that both devices hold, in a directory of its own; all in one collection."""

    def __init__(self, m, name):
        self.m, self.name = m, "c/" + name
        self.path = f"{self.name}/d.json"
        self.document = m.path(self.path)
        m.new_document(self.path, START)
        self.identity = os.getxattr(self.document, "user.shoal.id")
        m.changes()

    def check(self, program, want):
        """What is true after every save. Returns what was told here and there of its content."""
        m = self.m
        m.settle_and_sync()
        assert m.json(self.path) == want
        assert m.remote_bytes(self.path) == self.document.read_bytes()
        assert os.getxattr(self.document, "user.shoal.id") == self.identity
        assert set(os.listdir(self.document.parent)) == {"d.json"} | program.leaves
        assert [x for x in m.remote_paths() if x.startswith(self.name + "/")] == [self.path]
        here, there = ([dict(c, path=c["path"][len(self.name) + 1:]) for c in changes
                        if c["path"].startswith(self.name + "/")] for changes in m.changes())
        there = [c for c in there if c["path"] not in program.passing]
        assert {c["path"] for c in there} == {"d.json"}, there
        assert not any(c["created"] or c["removed"] for c in there), there
        assert program.attributes or all(c["content"] for c in there), there
        return [c for c in here if c["path"] == "d.json" and c["content"]], \
               [c for c in there if c["content"]]


def pointers(changes, remote):
    return [c["pointers"] for c in changes if c["remote"] == remote]


@pytest.mark.parametrize("program, when", [
    pytest.param(program, when, id=f"{program.name}-{when}")
    for program in PROGRAMS for when in program.moments])
def test_save(shared, request, tmp_path, program, when):
    case = Case(shared, request.node.callspec.id)
    moment = Moment(when, case.document, lambda: shared.remote_set(case.path, count=7))
    with moment:
        program.run(case.document.parent, tmp_path, moment)
    here, there = case.check(program, dict(START, title=program.title, count=7))
    assert pointers(here, remote=False) == pointers(there, remote=True) == [["/title"]]
    assert pointers(here, remote=True) == pointers(there, remote=False) == [["/count"]]


@pytest.mark.parametrize("program", [
    pytest.param(program, id=program.name) for program in PROGRAMS if not program.lazy])
def test_save_of_what_was_read(shared, request, tmp_path, program):
    """Nothing was changed here: nothing leaves this device, whatever has come in meanwhile."""
    case = Case(shared, "same-" + request.node.callspec.id)
    moment = Moment("read", case.document, lambda: shared.remote_set(case.path, count=7))
    with moment:
        program.run(case.document.parent, tmp_path, moment, title=START["title"])
    here, there = case.check(program, dict(START, count=7))
    assert pointers(here, remote=False) == pointers(there, remote=True) == \
        [[]] * program.restyles
