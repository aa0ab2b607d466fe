/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A stored record that is accepted encodes to the same bytes, and everything that is done with
 * records works on it: no state of one is out of reach. */
#include <errno.h>
#include <string.h>

#include "engine/delta.h"
#include "engine/jdiff.h"
#include "engine/json.h"
#include "engine/render.h"
#include "tests/fuzz/replay.h"

#define ACTORS 4

static int count(const char *pointer, const struct entry *shown, const struct entry *lost,
		 void *userdata)
{
	FUZZ_CHECK(pointer && shown && lost && shown != lost);
	(void)userdata;
	return 0;
}

static void change(struct arena *a, struct actors *actors, const struct record *r)
{
	static const char text[] = "{\n  \"a\": {\"b\": 1},\n  \"c\": [1],\n  \"b\": null\n}\n";
	struct stamp st = { { 0, UINT64_MAX }, UINT64_C(1) << 62 };
	struct json *j;
	struct patch *p;
	const struct record *s, *t;
	struct buf out = { 0 };
	FUZZ_CHECK(json_parse(a, text, strlen(text), NULL, &j, NULL) == 0);
	FUZZ_CHECK(jdiff(a, NULL, j, &p) == 0);
	int err = record_patch(a, actors, r, p, NULL, &st, NULL, NULL, &s);
	FUZZ_CHECK(err == 0 || err == -EBADMSG);
	if (err < 0)
		return;
	err = render_remember(a, actors, s, text, strlen(text), j, false, NULL, &st, &t);
	FUZZ_CHECK(err == 0);
	/* All of the head was seen, so what was written is what is there. */
	FUZZ_CHECK(render_json(a, actors, t, &out) == 0);
	FUZZ_CHECK(out.len == strlen(text) && memcmp(out.data, text, out.len) == 0);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct arena a = { 0 };
	struct actors *actors = NULL;
	struct record *r;
	struct buf again = { 0 }, text = { 0 };
	FUZZ_CHECK(actors_new(&actors) == 0);
	for (uint32_t i = 0, no; i < ACTORS; i++) {
		struct actor_id id = { { { (uint8_t)(200 - 50 * i) } }, i };
		FUZZ_CHECK(actors_intern(actors, &id, &no) == 0);
	}
	struct err e = { 0 };
	int err = record_decode(&a, actors, data, len, &r, &e);
	FUZZ_CHECK(err == 0 ||
		   ((err == -EBADMSG || err == -EPROTONOSUPPORT) && e.code == err && e.message[0]));
	if (err == 0) {
		const struct record *joined;
		struct id print;
		struct vv known = { 0 };
		struct delta *d;
		record_encode(r, actors, &again);
		FUZZ_CHECK(again.len == len && memcmp(again.data, data, len) == 0);
		record_fingerprint(r, actors, &print);
		record_mtime_ns(r, actors);
		record_mode(r, actors, 0644);
		record_alive(r);
		FUZZ_CHECK(record_conflicts(r, actors, count, NULL) == 0);
		render_json(&a, actors, r, &text);
		/* A text is looked into only by who needs it. */
		err = record_join(&a, actors, r, r, &joined);
		FUZZ_CHECK(err == 0 || err == -EBADMSG);
		FUZZ_CHECK(vv_raise(&known, 0, 3) == 0);
		d = NULL;
		int made = delta_make(&a, actors, r, &known, false, &d);
		FUZZ_CHECK(made == 0 || (made == -EBADMSG && err < 0));
		if (made == 0 && d && err == 0)
			FUZZ_CHECK(delta_join(&a, actors, r, d, &joined) == 0);
		vv_done(&known);
		change(&a, actors, r);
	}
	buf_done(&again);
	buf_done(&text);
	actors_free(actors);
	arena_done(&a);
	return 0;
}
