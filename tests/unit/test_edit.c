/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A patch of the version that its author had read, saved as he would have saved it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/json.h"
#include "tests/replicas.h"

static int edit(struct rep *p, struct version *base, const char *patch, struct version **ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *v;
	struct err e = { 0 };
	if (json_parse(&a, patch, strlen(patch), NULL, &v, &e) < 0)
		tap_bail("%s: %s", patch, e.message);
	return replica_edit(p->r, base, v, ret, &e);
}

static void reads(struct rep *p, const struct attr *at, const char *want, const char *what)
{
	_cleanup_free_ char *got = rep_read(p->r, &at->id);
	is_str(got, want, "%s", what);
}

static void test_against_what_was_read(struct rep *p, const struct attr *at)
{
	_cleanup_(version_unrefp) struct version *base = NULL;
	_cleanup_(version_unrefp) struct version *known = NULL;
	_cleanup_(version_unrefp) struct version *later = NULL;
	replica_read(p->r, &at->id, &base);
	rep_save(p->r, &at->id, base, "{\n\t\"n\": 1,\n\t\"m\": 9,\n\t\"l\": [0, 1, 2]\n}\n");
	is_int(edit(p, base, "[{\"op\":\"replace\",\"path\":\"/n\",\"value\":2},"
			     "{\"op\":\"remove\",\"path\":\"/l/0\"}]", &known),
	       0, "a patch of an older version");
	reads(p, at, "{\n\t\"n\": 2,\n\t\"m\": 9,\n\t\"l\": [1, 2]\n}\n",
	      "merges with what was saved since, in the document's style");
	_cleanup_free_ char *text = rep_bytes(known, NULL);
	is_str(text, "{\n\t\"n\": 2,\n\t\"m\": 1,\n\t\"l\": [1, 2]\n}\n",
	       "its author knows what he made of what he had read");
	is_int(edit(p, known, "[{\"op\":\"replace\",\"path\":\"/n\",\"value\":3}]", &later), 0,
	       "and can go on from there");
	reads(p, at, "{\n\t\"n\": 3,\n\t\"m\": 9,\n\t\"l\": [1, 2]\n}\n", "so it does");
}

static void test_refused(struct rep *p, const struct attr *at, const struct attr *plain)
{
	_cleanup_(version_unrefp) struct version *base = NULL;
	_cleanup_(version_unrefp) struct version *text = NULL;
	struct version *none = NULL;
	uint64_t commits = replica_commits(p->r);
	replica_read(p->r, &at->id, &base);
	replica_read(p->r, &plain->id, &text);
	is_errno(edit(p, base, "[{\"op\":\"remove\",\"path\":\"/x\"}]", &none), -ENOENT,
		 "what is not there cannot be removed");
	is_errno(edit(p, base, "[{\"op\":\"test\",\"path\":\"/n\",\"value\":7}]", &none), -ECANCELED,
		 "a test that fails");
	is_errno(edit(p, base, "{}", &none), -EINVAL, "what is no patch");
	is_errno(edit(p, text, "[]", &none), -EINVAL, "of what is no document");
	ok(!none && replica_commits(p->r) == commits, "nothing has changed, nothing is given");
	replica_remove(p->r, &at->id, 0);
	is_errno(edit(p, base, "[{\"op\":\"replace\",\"path\":\"/n\",\"value\":7}]", &none), -ENOENT,
		 "of what was deleted");
}

int main(int argc, char **argv)
{
	struct rep p;
	struct attr at, plain;
	tap_plan(11);
	rep_open(&p, NULL, 0, tap_seed(argc, argv));
	rep_create(p.r, &NODE_ROOT, "x.json", "{\n\t\"n\": 1,\n\t\"m\": 1,\n\t\"l\": [0, 1, 2]\n}\n",
		   &at);
	rep_create(p.r, &NODE_ROOT, "x.txt", "text\n", &plain);
	test_against_what_was_read(&p, &at);
	test_refused(&p, &at, &plain);
	rep_close(&p);
	return tap_done();
}
