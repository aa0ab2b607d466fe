/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries: what stands in tables, exact values, names, errors with their places, and what is not allowed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/queries.h"

static struct rep p;

static void doc(const struct id *dir, const char *name, const char *text)
{
	struct attr at;
	int rc = rep_create(p.r, dir, name, text, &at);
	if (rc < 0)
		tap_bail("%s: %d", name, rc);
}

static void dir(const struct id *parent, const char *name, struct attr *ret)
{
	if (rep_mkdir(p.r, parent, name, ret) < 0)
		tap_bail("mkdir %s", name);
}

static void is(const char *sql, const char *want)
{
	is_str(ask(p.r, sql), want, "%.150s", sql);
}

int main(void)
{
	struct attr cars, old, people;
	tap_plan(8);
	rep_open(&p, NULL, 1, 7);
	dir(&NODE_ROOT, "cars", &cars);
	dir(&cars.id, "old", &old);
	dir(&NODE_ROOT, "people", &people);
	doc(&cars.id, "7.json", "{\"maker\": \"vw\", \"doors\": 3, \"price\": 1.10, \"owner\": \"anna\"}\n");
	doc(&cars.id, "8.json", "{\"maker\": \"fiat\", \"doors\": 5, \"price\": 18446744073709551616, \"owner\": 1}\n");
	doc(&old.id, "1.json", "{\"maker\": \"dkw\", \"doors\": 2, \"price\": 1e400, \"tags\": [\"a\", {\"b\": 2}], \"at\": [1.50, 2]}\n");
	doc(&people.id, "anna.json", "{\"name\": \"Anna\"}\n");
	doc(&people.id, "1.json", "{\"name\": \"Eins\"}\n");
	is("SELECT _id, _path FROM cars ORDER BY _id", "7|cars/7.json\n8|cars/8.json\nold/1|cars/old/1.json\n");
	is("SELECT _id, _path FROM \"cars/old\"", "1|cars/old/1.json\n");
	is("SELECT body ->> '$.price', body -> '$.price' FROM cars ORDER BY _id",
	   "r1.1000000000000001|1.10\n18446744073709551616|18446744073709551616\n1e400|1e400\n");
	is("SELECT body FROM cars WHERE _id = 7", "{\"maker\": \"vw\", \"doors\": 3, \"price\": 1.10, \"owner\": \"anna\"}\n\n");
	is("SELECT c._id, p.body ->> 'name' FROM cars c JOIN people p ON c.body ->> 'owner' = p._id ORDER BY 1", "7|Anna\n8|Eins\n");
	is("SELECT body ->> '$.tags[1].b', body ->> '$.at[0]', body ->> '$.tags' FROM cars WHERE body ->> 'maker' = 'dkw'",
	   "2|r1.5|[\"a\",{\"b\":2}]\n");
	is("SELECT sum(body ->> 'doors'), count(*) FROM cars", "10|3\n");
	is("SELECT nix FROM cars", "");
	printf("# %s\n", ask(p.r, "EXPLAIN SELECT c._id, p.body ->> 'name' FROM cars c JOIN people p ON c.body ->> 'owner' = p._id ORDER BY 1"));
	rep_close(&p);
	return tap_done();
}
