# SPDX-License-Identifier: GPL-2.0-or-later
"""Random histories of the tree's model, as text for tests/unit/test_treemodel.

    treehistories.py MODEL FIRST COUNT

MODEL is the executable model of the tree (tree.py beside the test data). Its own functions make the
states; here are only the choices. What is written, a line each, for every history:

    H SEED KEPT              a new one; KEPT: see newest() below
    E REPLICA NODE PARENT COUNTER ACTOR NAME
                             a change: the node gets this edge (NAME is - for the empty one)
    M REPLICA OTHER          a merge of OTHER into REPLICA
    J REPLICA OTHER NODE     a merge of one node only: its parent may not be known
    V REPLICA COUNT          what the model says the replica shows; for each node:
    P NODE PARENT LIVE EDGE...
                             where it hangs; its edges PARENT,COUNTER, the newest first
"""
import importlib.util
import random
import sys

MAX_REPLICAS = 5


def load(path):
    spec = importlib.util.spec_from_file_location("tree_model", path)
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode = True
    spec.loader.exec_module(module)
    return module


def rank(edge):
    return edge[1], edge[0]


class Kept:
    """The one rule that the model does not know: the edge to TRASH is never the one that goes when
    there are more than K, because it says what the remover saw; the oldest other one goes."""

    def __init__(self, model):
        self.model, self.plain, self.differed = model, model.newest, False

    def newest(self, edges):
        kept = self.plain(edges)
        trash = self.model.TRASH
        if len(edges) > self.model.K and trash in edges and trash not in kept:
            self.differed = True
            del kept[min(kept.items(), key=rank)[0]]
            kept[trash] = edges[trash]
        return kept


def inside(model, parent_of, directory, node):
    while directory not in (model.ROOT, model.LOST):
        if directory == node:
            return True
        directory = parent_of[directory]
    return False


class History:
    def __init__(self, model, seed):
        self.model, self.random = model, random.Random(seed)
        self.n = self.random.randint(2, MAX_REPLICAS)
        self.states = [{} for _ in range(MAX_REPLICAS)]
        self.clocks = [0] * MAX_REPLICAS
        self.shown = [({}, set()) for _ in range(MAX_REPLICAS)]
        self.created, self.lines = 0, []
        # Some histories move a few nodes about again and again, out of TRASH as well: those get
        # more than K edges.
        self.hot = self.random.random() < .3
        # The model's counters come from a clock that each replica has. The engine takes the highest
        # counter of the node alone, so that edges of several nodes may have one stamp.
        self.per_node = self.random.random() < .5

    def edge(self, i, node, parent, counter, name):
        model, state = self.model, self.states[i]
        state[node] = model.newest({**state.get(node, {}), parent: (counter, i, name)})
        self.clocks[i] = counter
        self.shown[i] = model.resolve(state)
        self.lines.append(f"E {i} {node} {parent} {counter} {i} {name or '-'}")

    def merge(self, i, j, node=None):
        other = self.states[j] if node is None else {node: self.states[j][node]}
        self.states[i] = self.model.join(self.states[i], other)
        self.clocks[i] = max(self.clocks[i], self.clocks[j])
        self.shown[i] = self.model.resolve(self.states[i])
        self.lines.append(f"M {i} {j}" if node is None else f"J {i} {j} {node}")
        self.view(i)

    def view(self, i):
        parent_of, live = self.shown[i]
        state = self.states[i]
        self.lines.append(f"V {i} {len(state)}")
        for node, edges in state.items():
            listed = sorted(edges.items(), key=rank, reverse=True)
            self.lines.append(f"P {node} {parent_of[node]} {node in live:d} "
                              + " ".join(f"{parent},{stamp[0]}" for parent, stamp in listed))

    def step(self):
        model, rnd = self.model, self.random
        i, op = rnd.randrange(self.n), rnd.random()
        parent_of, live = self.shown[i]
        nodes = sorted(live)
        if op < .2 and not (self.hot and self.created > 6) or not nodes:
            self.created += 1
            self.edge(i, f"n{self.created}", rnd.choice(nodes + [model.ROOT] * 2),
                      1 if self.per_node else self.clocks[i] + 1, f"f{self.created % 3}")
            return
        node = rnd.choice(list(self.states[i])[:2] if self.hot else nodes)
        after = max(stamp[0] for stamp in self.states[i][node].values())
        counter = (after if self.per_node else max(after, self.clocks[i])) + 1
        if op < .65:
            parent = rnd.choice(nodes + [model.ROOT])
            if parent == model.ROOT or not inside(model, parent_of, parent, node):
                self.edge(i, node, parent, counter, "g")
        elif op < .8:
            if node not in parent_of.values():
                self.edge(i, node, model.TRASH, counter, "")
        else:
            j = rnd.randrange(self.n)
            if j != i and op < .9:
                self.merge(i, j)
            elif j != i and self.states[j]:
                self.merge(i, j, rnd.choice(list(self.states[j])))

    def run(self):
        for _ in range(self.random.randint(5, 45 if self.hot else 30)):
            self.step()
        # Everybody merges everybody, in two orders; the model must agree with itself.
        order = list(range(self.n))
        self.random.shuffle(order)
        first, last = order[0], order[-1]
        for j in order[1:]:
            self.merge(first, j)
        for j in order[-2::-1]:
            self.merge(last, j)
        assert self.shown[first] == self.shown[last], "the model does not converge"
        return self.lines


def main():
    path, start, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model = load(path)
    kept = Kept(model)
    model.newest = kept.newest
    for seed in range(start, start + count):
        kept.differed = False
        lines = History(model, seed).run()
        sys.stdout.write(f"H {seed} {kept.differed:d}\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
