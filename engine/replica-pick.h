/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What making picks (replica-pick.c, which has the layout) and reading them (replica-picked.c) share. */

#include "engine/pick.h"
#include "engine/replica-impl.h"

#define PICK_FORMAT 1
#define BUCKET_BITS 12

enum { PICK_HEAD = 'H', PICK_MEMBER = 'M', PICK_SUM = 'S' };

struct picked {
	struct view *view; /* NULL: what is in the store now */
	struct store *store;
	struct id name;
};

void pick_name(const struct id *scope, const char *where, struct id *ret);
/* Keys of STORE_PICKS; what was in the buffer goes. */
void pick_key(struct buf *b, uint8_t kind, const struct id *name, const void *p, size_t n);
void pick_sum_key(struct buf *key, const struct id *name, unsigned no);
int pick_sum_decode(const void *data, size_t len, struct reconcile_sum *ret); /* -EBADMSG */
/* 1: the node is picked, with that hash; 0: it is not; -errno. */
int pick_member(struct store *store, const struct store_snapshot *snap, const struct id *name,
		const struct id *node, struct id *ret_hash);
