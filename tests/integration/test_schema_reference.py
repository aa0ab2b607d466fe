# SPDX-License-Identifier: GPL-2.0-or-later
"""Generated schemas and documents: what fits is what python3-jsonschema says fits."""
import json
import random
import subprocess

import jsonschema
import pytest

from lab import BUILD

PAIRS = 1500
NAMES = ["a", "b", "ab", "x-1"]
PATTERNS = ["a", "^a", "b$", "^[a-c]+$", "^$", "x-[0-9]"]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.definitions = 0

    def scalar(self):
        r = self.random
        return r.choice([None, True, False, r.randint(-4, 12), r.randint(-8, 24) / 2, 1.0, 10 ** 20,
                         "", "a", "ab", "abc", "x-1", "ä", "2024-02-29"])

    def value(self, depth=0):
        r = self.random
        if depth > 2 or r.random() < 0.4:
            return self.scalar()
        if r.random() < 0.5:
            return [self.value(depth + 1) for _ in range(r.randint(0, 4))]
        return {name: self.value(depth + 1) for name in r.sample(NAMES, r.randint(0, 4))}

    def schema(self, depth=0):
        r = self.random
        if r.random() < 0.08:
            return r.random() < 0.6
        if self.definitions and r.random() < 0.1:
            return {"$ref": f"#/$defs/d{r.randrange(self.definitions)}"}
        words = {}
        for _ in range(r.randint(1, 3)):
            key, value = self.keyword(depth)
            words[key] = value
        return words

    def schemas(self, depth):
        return [self.schema(depth + 1) for _ in range(self.random.randint(1, 3))]

    def keyword(self, depth):
        r = self.random
        count = r.randint(0, 3)
        flat = [
            lambda: ("type", r.choice(["null", "boolean", "number", "integer", "string", "array",
                                       "object", ["string", "integer"], ["array", "object", "null"]])),
            lambda: ("enum", [self.value(1) for _ in range(3)]),
            lambda: ("const", self.value(1)),
            lambda: (r.choice(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
                     r.choice([r.randint(-2, 6), r.randint(-4, 12) / 2])),
            lambda: ("multipleOf", r.choice([1, 2, 3, 0.5, 1.5])),
            lambda: (r.choice(["minLength", "maxLength", "minItems", "maxItems", "minProperties",
                               "maxProperties"]), count),
            lambda: ("pattern", r.choice(PATTERNS)),
            lambda: ("uniqueItems", r.random() < 0.8),
            lambda: ("required", r.sample(NAMES, min(count, 2))),
            lambda: ("dependentRequired", {r.choice(NAMES): r.sample(NAMES, 1)}),
        ]
        nested = [
            lambda: ("properties", {n: self.schema(depth + 1) for n in r.sample(NAMES, 2)}),
            lambda: ("patternProperties", {r.choice(PATTERNS): self.schema(depth + 1)}),
            lambda: ("additionalProperties", self.schema(depth + 1)),
            lambda: ("propertyNames", self.schema(depth + 1)),
            lambda: ("items", self.schema(depth + 1)),
            lambda: ("prefixItems", self.schemas(depth)),
            lambda: ("contains", self.schema(depth + 1)),
            lambda: (r.choice(["minContains", "maxContains"]), count),
            lambda: (r.choice(["allOf", "anyOf", "oneOf"]), self.schemas(depth)),
            lambda: ("not", self.schema(depth + 1)),
            lambda: (r.choice(["if", "then", "else"]), self.schema(depth + 1)),
        ]
        return r.choice(flat if depth > 2 or r.random() < 0.45 else nested)()

    def pair(self):
        # Definitions refer to nothing: python3-jsonschema has no end of what refers to itself.
        self.definitions = 0
        definitions = {f"d{k}": self.schema(2) for k in range(2)}
        self.definitions = 2
        schema = self.schema()
        if isinstance(schema, dict):
            schema["$defs"] = definitions
        else:
            self.definitions = 0
        return schema, self.value()


@pytest.mark.parametrize("seed", range(1, 5))
def test_the_same_documents_fit(seed):
    maker = Maker(seed)
    pairs = [maker.pair() for _ in range(PAIRS)]
    text = "".join(json.dumps(pair) + "\n" for pair in pairs)
    answers = subprocess.run([BUILD / "tests/helpers/schemacheck"], input=text, text=True, check=True,
                             stdout=subprocess.PIPE, timeout=60).stdout.splitlines()
    assert len(answers) == PAIRS
    said = {"fits": 0, "breaks": 0}
    for (schema, document), answer in zip(pairs, answers):
        fits = jsonschema.Draft202012Validator(schema).is_valid(document)
        word = answer.split()[0]
        assert word == ("fits" if fits else "breaks"), (json.dumps(schema), json.dumps(document), answer)
        said[word] += 1
    # Neither is rare, or this would show nothing.
    assert min(said.values()) > PAIRS / 10, said
