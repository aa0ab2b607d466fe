/* SPDX-License-Identifier: GPL-2.0-or-later */
/* An entry of the history that is accepted, as a version or as a deletion, encodes to the same bytes;
 * none is both. */
#include <errno.h>
#include <string.h>

#include "engine/edge.h"
#include "engine/history.h"
#include "tests/fuzz/replay.h"

#define ACTORS 4

static void check_refusal(int rc, const struct err *e)
{
	FUZZ_CHECK((rc == -EBADMSG || rc == -EPROTONOSUPPORT) && e->code == rc && e->message[0]);
}

static bool is_version(struct actors *actors, const uint8_t *data, size_t len)
{
	struct arena a = { 0 };
	struct history_version h;
	struct buf again = { 0 };
	struct err e = { 0 };
	int rc = history_version_decode(&a, actors, data, len, &h, &e);
	if (rc == 0) {
		FUZZ_CHECK(h.form > 0 && h.form <= HISTORY_FORM_MAX && h.len <= HISTORY_INLINE_MAX);
		FUZZ_CHECK(h.author == ACTOR_NONE || h.author < ACTORS);
		FUZZ_CHECK(h.blob ? h.ref.size <= BLOB_SIZE_MAX && !h.data : !h.len || h.data);
		history_version_encode(&h, actors, &again);
		FUZZ_CHECK(again.len == len && memcmp(again.data, data, len) == 0);
		FUZZ_CHECK(history_cost(&h, len) > len);
	} else {
		check_refusal(rc, &e);
	}
	buf_done(&again);
	arena_done(&a);
	return rc == 0;
}

static bool is_deletion(struct actors *actors, const uint8_t *data, size_t len)
{
	struct history_deletion d;
	struct buf again = { 0 };
	struct err e = { 0 };
	int rc = history_deletion_decode(actors, data, len, &d, &e);
	if (rc == 0) {
		FUZZ_CHECK(edge_name_valid(d.name, d.name_len));
		FUZZ_CHECK(d.actor == ACTOR_NONE || d.actor < ACTORS);
		history_deletion_encode(&d, &again);
		FUZZ_CHECK(again.len == len && memcmp(again.data, data, len) == 0);
	} else {
		check_refusal(rc, &e);
	}
	buf_done(&again);
	return rc == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct actors *actors = NULL;
	FUZZ_CHECK(actors_new(&actors) == 0);
	for (uint32_t i = 0, no; i < ACTORS; i++) {
		struct actor_id id = { { { (uint8_t)(200 - 50 * i) } }, i };
		FUZZ_CHECK(actors_intern(actors, &id, &no) == 0);
	}
	bool version = is_version(actors, data, len), deletion = is_deletion(actors, data, len);
	FUZZ_CHECK(!version || !deletion);
	actors_free(actors);
	return 0;
}
