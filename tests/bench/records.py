# SPDX-License-Identifier: GPL-2.0-or-later
"""Documents as a business has them, each about 1 KB of JSON: names, streets, dates, prices, numbers of
all kinds, and a note somebody typed. The same in each run.

They are alike as such records are, in their fields, their places and the words that are used more
often than others, and not more than that: zstd -3 makes some 350 bytes of each."""
import itertools
import json
import multiprocessing
import os
import random
import subprocess
import tempfile

SEED = 20240229
WORDS = 8000  # that notes are made of; the n-th is 1/n as frequent as the first
NAMES = 800
STREETS = 2000
TOWNS = 400
PARTS = 3000
STATES = ("open", "quoted", "ordered", "delivered", "invoiced", "paid")
RETURNED, REFUNDED = "returned", "refunded"  # which no record is as it is made
UNITS = ("pcs", "m", "kg", "h", "box")


def words(dice, count, least, most):
    """Words that can be spoken, of so many syllables."""
    return ["".join(dice.choice("bdfghklmnprstvwz") + dice.choice(("a", "e", "i", "o", "u", "ei", "ou"))
                    + dice.choice(("", "", "", "l", "n", "r", "s", "t"))
                    for _ in range(dice.randint(least, most))) for _ in range(count)]


class Packed:
    """What zstd -3 makes of texts, one after the other."""

    def __enter__(self):
        self.file = tempfile.TemporaryFile()
        self.process = subprocess.Popen(["zstd", "-q", "-3", "-c"], stdin=subprocess.PIPE,
                                        stdout=self.file, text=True)
        return self

    def add(self, text):
        self.process.stdin.write(text)

    def __exit__(self, *_):
        self.process.stdin.close()
        if self.process.wait(timeout=60):
            raise RuntimeError("zstd failed")
        self.size = self.file.tell()
        self.file.close()


def date(dice):
    return f"{dice.randint(2019, 2026)}-{dice.randint(1, 12):02d}-{dice.randint(1, 28):02d}"


class Records:
    """Record n is the same however many there are."""

    def __init__(self, seed=SEED):
        dice = random.Random(seed)
        self.seed = seed
        self.words = words(dice, WORDS, 1, 3)
        self.weights = list(itertools.accumulate(1 / n for n in range(1, WORDS + 1)))
        self.names = [name.capitalize() for name in words(dice, NAMES, 2, 3)]
        self.streets = [f"{name.capitalize()} {dice.choice(('Street', 'Road', 'Lane', 'Square'))}"
                        for name in words(dice, STREETS, 2, 3)]
        self.towns = [(name.capitalize(), f"{dice.randint(10000, 99999)}")
                      for name in words(dice, TOWNS, 2, 3)]
        self.parts = [(f"{dice.randint(1000, 9999)}-{dice.choice('ABCDEFGH')}", text,
                       dice.randint(100, 90000)) for text in words(dice, PARTS, 3, 5)]

    def note(self, dice, count):
        text = []
        while count > 0:
            sentence = dice.choices(self.words, cum_weights=self.weights, k=dice.randint(4, 14))
            count -= len(sentence)
            text.append(" ".join(sentence).capitalize() + ".")
        return " ".join(text)

    def record(self, number):
        dice = random.Random(self.seed * 1_000_003 + number)
        first, last = dice.choices(self.names, k=2)
        town, code = dice.choice(self.towns)
        lines = [{"part": part, "text": text, "quantity": dice.randint(1, 40),
                  "unit": dice.choice(UNITS), "price": cents / 100}
                 for part, text, cents in dice.choices(self.parts, k=dice.choice((1, 1, 2)))]
        return {
            "id": f"{dice.getrandbits(128):032x}",
            "number": 100_000 + number,
            "status": dice.choice(STATES),
            "customer": {
                "name": f"{first} {last}",
                "email": f"{first}.{last}@example.org".lower(),
                "phone": f"+49 {dice.randint(30, 9999)} {dice.randint(100_000, 9_999_999)}",
                "street": f"{dice.choice(self.streets)} {dice.randint(1, 180)}",
                "zip": code,
                "city": town,
                "account": f"DE{dice.randint(10**19, 10**20 - 1)}",
            },
            "created": f"{date(dice)}T{dice.randint(6, 19):02d}:{dice.randint(0, 59):02d}:"
                       f"{dice.randint(0, 59):02d}Z",
            "due": date(dice),
            "lines": lines,
            "total": round(sum(line["quantity"] * line["price"] for line in lines), 2),
            "paid": dice.random() < 0.6,
            "note": self.note(dice, 70),
        }

    def text(self, number):
        return json.dumps(self.record(number)) + "\n"


def name_of(number):
    return f"{number}.json"


def edited(path, field, value):
    """The text of a record with another value in one field."""
    record = json.loads(path.read_text())
    record[field] = value
    return json.dumps(record) + "\n"


def edit(path, field, value):
    """Saves one field of a record, as a program does that knows nothing but the file."""
    path.write_text(edited(path, field, value))


def create(directory, count):
    """Writes that many records into a directory, each with a save of its own, and returns how many
    bytes zstd -3 makes of all of them, one after the other."""
    records = Records()
    # Another process makes them up: it is the directory that is waited for.
    with multiprocessing.Pool(1) as pool, Packed() as packed:
        for number, text in enumerate(pool.imap(records.text, range(count), chunksize=250)):
            with open(f"{directory}/{name_of(number)}", "w") as file:
                file.write(text)
            packed.add(text)
    return packed.size


# Two people who cannot see each other, and what each changes in every document.
APART = {"anna": ("status", "settled by Anna"), "ben": ("due", "2031-01-01")}


def edits_lost(directories, count):
    """Of the two edits in each of so many documents, how many are not in all directories."""
    there = dict.fromkeys(itertools.product(range(count), APART), 0)
    for directory in directories:
        for number in range(count):
            record = json.loads((directory / name_of(number)).read_text())
            for who, (field, value) in APART.items():
                there[number, who] += record[field] == value
    return sum(times < len(directories) for times in there.values())


def strays(directories, count):
    """Files that nobody made, in the directory that has most of them."""
    made = set(map(name_of, range(count)))
    return max(len({name for name in os.listdir(directory) if not name.startswith(".")} - made)
               for directory in directories)
