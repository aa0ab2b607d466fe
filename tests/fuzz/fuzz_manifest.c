/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A node of a manifest that is accepted encodes to the same bytes, and adds up. */
#include <errno.h>
#include <string.h>

#include "engine/manifest.h"
#include "tests/fuzz/replay.h"

static void check_node(const struct manifest_node *m, const uint8_t *data, size_t len)
{
	struct buf again = { 0 };
	uint64_t size = 0, stored = 0;
	FUZZ_CHECK(m->n <= MANIFEST_ENTRIES_MAX && m->level < MANIFEST_LEVELS);
	FUZZ_CHECK(m->size <= MANIFEST_SIZE_MAX && m->data <= m->size);
	for (uint32_t i = 0; i < m->n; i++) {
		const struct manifest_entry *e = &m->entry[i];
		FUZZ_CHECK(e->offset == size && e->size > 0 && e->data <= e->size);
		FUZZ_CHECK(m->level > 0 || e->data == 0 || e->size <= CHUNK_MAX);
		size += e->size;
		stored += e->data;
	}
	FUZZ_CHECK(size == m->size && stored == m->data);
	manifest_encode(m, data[0] == 1, &again);
	FUZZ_CHECK(again.len == len && memcmp(again.data, data, len) == 0);
	buf_done(&again);
	FUZZ_CHECK(manifest_sizes(data, len, &size, &stored) == 0 && size == m->size &&
		   stored == m->data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct arena a = { 0 };
	struct manifest_node m;
	int rc = manifest_decode(&a, data, len, &m);
	if (rc == 0)
		check_node(&m, data, len);
	else
		FUZZ_CHECK(rc == -EBADMSG || rc == -EPROTONOSUPPORT);
	arena_done(&a);
	return 0;
}
