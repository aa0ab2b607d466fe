/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* A copy of a store, as somebody makes who copies its files. */

#include "engine/store.h"

/* What is in it now, in one in memory. NULL: out of memory. */
_unused_ static struct store *store_copy(struct store *from)
{
	_cleanup_(store_batch_freep) struct store_batch *b = NULL;
	struct store *to = NULL;
	int r = store_open_memory(&to);
	if (r == 0)
		r = store_batch_new(&b);
	for (int f = 0; r == 0 && f < STORE_FAMILIES; f++) {
		_cleanup_(store_iter_freep) struct store_iter *it = NULL;
		r = store_iter_new(from, NULL, (enum store_family)f, NULL, 0, NULL, 0, &it);
		for (; r == 0 && store_iter_valid(it); store_iter_next(it)) {
			size_t key_len, len;
			const uint8_t *key = store_iter_key(it, &key_len);
			const uint8_t *value = store_iter_value(it, &len);
			store_put(b, (enum store_family)f, key, key_len, value, len);
		}
	}
	if (r == 0)
		r = store_write(to, b, NULL);
	if (r == 0)
		r = store_flush(to, NULL);
	if (r < 0 && to) {
		store_close(to);
		to = NULL;
	}
	return to;
}
