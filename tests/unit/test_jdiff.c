/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "engine/jdiff.h"
#include "engine/jsonptr.h"
#include "tests/jsontext.h"

/* "set /a/b moved, remove /c": one word a patch, in its order. */
static void describe(const struct patch *p, struct buf *pointer, struct buf *out)
{
	static const char *const kind[] = { "set", "remove", "into", "look" };
	size_t len = pointer->len;
	if (p->key)
		json_pointer_append(pointer, p->key, p->key_len);
	if (p->kind != PATCH_INTO || p->moved || p->look)
		buf_putf(out, "%s%s %.*s%s%s%s", out->len ? ", " : "", kind[p->kind],
			 (int)pointer->len, (const char *)pointer->data, p->moved ? " moved" : "",
			 p->look && !p->moved ? " laid out" : "",
			 p->look && p->layout & LOOK_INLINE ? " inline" : "");
	for (const struct patch *q = p->first; q; q = q->next)
		describe(q, pointer, out);
	pointer->len = len;
}

static void diff(const char *base, const char *next, const char *want, const char *name)
{
	struct arena a = { 0 };
	struct patch *p;
	_cleanup_(buf_done) struct buf pointer = { 0 }, out = { 0 };
	if (jdiff(&a, base ? parsed(&a, base) : NULL, parsed(&a, next), NULL, &p) < 0)
		tap_bail("jdiff");
	buf_puts(&pointer, "");
	if (p)
		describe(p, &pointer, &out);
	is_str(p ? buf_cstr(&out) : "nothing", want, "%s", name);
	arena_done(&a);
}

int main(void)
{
	tap_plan(20);
	diff("{\"a\":1}", "{\"a\":1}", "nothing", "equal texts");
	diff("{\"a\":1.0,\"b\":[1,{\"x\":1}]}", "{ \"a\" : 10e-1, \"b\":[1.0, {\"x\": 1}] }",
	     "nothing", "equal values, written differently");
	diff(NULL, "{\"a\":1}", "set ", "no base: all is new");
	diff("{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":3}", "set /b", "a changed value");
	diff("{\"a\":1,\"b\":2}", "{\"a\":1}", "remove /b", "a key that went");
	diff("{\"a\":1}", "{\"a\":1,\"b\":2}", "set /b moved", "a key that came");
	diff("{\"a\":{\"b\":{\"c\":1,\"d\":2}}}", "{\"a\":{\"b\":{\"c\":1,\"d\":3}}}", "set /a/b/d",
	     "deep inside");
	diff("{\"a\":[1,2]}", "{\"a\":[2,1]}", "set /a", "arrays are compared in order");
	diff("[1]", "[2]", "set ", "an array at the root");
	diff("1", "{}", "set ", "another type at the root");
	diff("{\"a\":1}", "{\"a\":\"1\"}", "set /a", "another type");
	diff("{\"a\":{\"b\":1}}", "{\"a\":5}", "set /a", "an object becomes a number");
	diff("{\"a\":5}", "{\"a\":{\"b\":1}}", "set /a", "and back");
	diff("{\"a\":1,\"b\":2,\"c\":3,\"d\":4}", "{\"d\":4,\"a\":1,\"b\":2,\"c\":3}",
	     "look /d moved", "only what left the order moves");
	diff("{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":3,\"a\":1,\"b\":5}", "look /c moved, set /b",
	     "a move and a change");
	diff("{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":9,\"a\":1}", "set /c moved, remove /b",
	     "a moved key with another value");
	diff("{\n\"a\":{\n\"x\":1},\n\"b\":2}", "{\n\"a\":{\"x\":1},\n\"b\":2}",
	     "look /a laid out inline", "a container joined into one line");
	diff("{\n\"a\":{\"x\":1}}", "{\n\"a\":{\n\"x\":2}}", "into /a laid out, set /a/x",
	     "one broken into several, and changed");
	diff("{\"\":1,\"a/b\":1}", "{\"\":2,\"a/b\":2}", "set /, set /a~1b", "odd keys");

	/* Every key of a large object, in reverse order: the best sequence that stays is one. */
	struct arena a = { 0 };
	_cleanup_(buf_done) struct buf x = { 0 }, y = { 0 };
	struct patch *p;
	unsigned moved = 0;
	for (int i = 0; i < 20000; i++) {
		buf_putf(&x, "%s\"k%d\":1", i ? "," : "{", i);
		buf_putf(&y, "%s\"k%d\":1", i ? "," : "{", 19999 - i);
	}
	buf_puts(&x, "}");
	buf_puts(&y, "}");
	if (jdiff(&a, parsed(&a, buf_cstr(&x)), parsed(&a, buf_cstr(&y)), NULL, &p) < 0)
		tap_bail("jdiff");
	for (const struct patch *q = p->first; q; q = q->next)
		moved += q->moved;
	is_uint(moved, 19999, "20,000 keys in reverse");
	arena_done(&a);
	return tap_done();
}
