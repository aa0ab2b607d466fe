/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What an implementation of engine/store.h provides; only store*.c include this. */

#include "engine/pins.h"
#include "engine/store.h"

struct store_ops {
	void (*close)(struct store *s);
	uint64_t (*crash)(struct store *s, uint64_t keep);      /* NULL: cannot */
	void (*fail)(struct store *s, uint64_t nth, int error); /* NULL: cannot */
	int (*write)(struct store *s, struct store_batch *b, struct err *e);
	int (*flush)(struct store *s, struct err *e);
	int (*get)(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
		   const void *key, size_t key_len, struct buf *value);
	int (*has)(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
		   const void *key, size_t key_len); /* 1, 0 or -errno */
	int (*snapshot)(struct store *s, struct store_snapshot **ret);
	void (*snapshot_free)(struct store *s, struct store_snapshot *snap);
	int (*iter_new)(struct store *s, const struct store_snapshot *snapshot, enum store_family f,
			const void *lower, size_t lower_len, const void *upper, size_t upper_len,
			struct store_iter **ret);
	void (*iter_free)(struct store_iter *it);
	bool (*iter_valid)(const struct store_iter *it);
	void (*iter_next)(struct store_iter *it);
	const uint8_t *(*iter_key)(const struct store_iter *it, size_t *ret_len);
	const uint8_t *(*iter_value)(const struct store_iter *it, size_t *ret_len);
	int (*iter_error)(const struct store_iter *it);
	uint64_t (*size)(struct store *s);
	int (*compact)(struct store *s, uint64_t room, struct err *e); /* NULL: nothing to do */
};

/* The first member of each implementation's own struct. */
struct store {
	const struct store_ops *ops;
	struct pins pins; /* pins_init by the implementation, pins_done by store_close */
};

struct store_iter {
	const struct store_ops *ops;
};

/* A batch is a list of these, each followed by the key's and the value's bytes. */
struct store_op {
	uint64_t len; /* of the value */
	uint32_t key_len;
	uint8_t family;
	bool put; /* else delete */
};

struct store_batch {
	struct buf ops;
	uint32_t count;
};

/* Steps through a batch; *at starts with 0. False at the end. key and value are borrowed. */
bool store_batch_next(const struct store_batch *b, size_t *at, struct store_op *ret,
		      const uint8_t **ret_key, const uint8_t **ret_value);
