/* SPDX-License-Identifier: GPL-2.0-or-later */

/* One pick in a view: its members and their sums. */

#include "engine/replica-pick.h"

#include <errno.h>

static const struct store_snapshot *snapshot_of(const struct picked *p)
{
	return p->view ? view_snapshot(p->view) : NULL;
}

int picked_new(struct view *v, const struct id *scope, const char *where, struct picked **ret)
{
	_cleanup_(buf_done) struct buf key = { 0 }, head = { 0 };
	struct id name;
	struct store *store = view_replica(v)->store;
	pick_name(scope, where, &name);
	pick_key(&key, PICK_HEAD, &name, NULL, 0);
	if (buf_failed(&key))
		return -ENOMEM;
	int rc = store_get(store, view_snapshot(v), STORE_PICKS, key.data, key.len, &head);
	if (rc < 0)
		return rc;
	if (head.len < 2 || head.data[0] != PICK_FORMAT || head.data[1] != 1)
		return -ENOENT;
	struct picked *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct picked){ .view = view_ref(v), .store = store, .name = name };
	*ret = p;
	return 0;
}

void picked_free(struct picked *p)
{
	if (!p)
		return;
	view_unref(p->view);
	free(p);
}

bool picked_has(const struct picked *p, const struct id *node)
{
	struct id hash;
	return pick_member(p->store, snapshot_of(p), &p->name, node, &hash) == 1;
}

static int picked_items(const struct id *prefix, unsigned bits, reconcile_fn f, void *f_userdata,
			void *userdata)
{
	const struct picked *p = userdata;
	_cleanup_(buf_done) struct buf key = { 0 }, end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	pick_key(&key, PICK_MEMBER, &p->name, prefix->b, ID_SIZE);
	buf_put(&end, key.data, 1 + ID_SIZE);
	if (buf_failed(&key) || buf_failed(&end))
		return -ENOMEM;
	struct id last = *prefix;
	for (unsigned i = bits; i < 8 * ID_SIZE; i++)
		last.b[i / 8] |= (uint8_t)(0x80 >> i % 8);
	buf_put(&end, last.b, ID_SIZE);
	buf_u8(&end, 0); /* the first key behind the last one */
	if (buf_failed(&end))
		return -ENOMEM;
	int rc = store_iter_new(p->store, snapshot_of(p), STORE_PICKS, key.data, key.len, end.data,
				end.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct reconcile_item x;
		size_t key_len, len;
		const uint8_t *at = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		if (key_len != 1 + 2 * ID_SIZE || len != ID_SIZE)
			return -EBADMSG;
		memcpy(x.id.b, at + 1 + ID_SIZE, ID_SIZE);
		memcpy(x.hash.b, value, ID_SIZE);
		rc = f(&x, f_userdata);
		if (rc)
			return rc;
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

struct adding {
	struct reconcile_sum *sum;
	unsigned bits, step;
};

static int add_item(const struct reconcile_item *x, void *userdata)
{
	struct adding *a = userdata;
	reconcile_add(&a->sum[reconcile_which(&x->id, a->bits, a->step)], x);
	return 0;
}

/* From the buckets, or from the items where it goes below them. */
static int picked_sums(const struct id *prefix, unsigned bits, unsigned step, struct reconcile_sum *ret,
		       void *userdata)
{
	const struct picked *p = userdata;
	memset(ret, 0, sizeof(*ret) << step);
	if (bits + step > BUCKET_BITS) {
		struct adding a = { ret, bits, step };
		return picked_items(prefix, bits, add_item, &a, userdata);
	}
	_cleanup_(buf_done) struct buf low = { 0 }, high = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	unsigned first = (unsigned)prefix->b[0] << 4 | prefix->b[1] >> 4;
	pick_sum_key(&low, &p->name, first);
	pick_sum_key(&high, &p->name, first + (1u << (BUCKET_BITS - bits)));
	if (buf_failed(&low) || buf_failed(&high))
		return -ENOMEM;
	int rc = store_iter_new(p->store, snapshot_of(p), STORE_PICKS, low.data, low.len, high.data,
				high.len, &it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		struct reconcile_sum x;
		size_t key_len, len;
		const uint8_t *at = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &len);
		rc = key_len == 1 + ID_SIZE + 2 ? pick_sum_decode(value, len, &x) : -EBADMSG;
		if (rc == 0) {
			unsigned no = (unsigned)at[1 + ID_SIZE] << 8 | at[2 + ID_SIZE];
			reconcile_join(&ret[(no - first) >> (BUCKET_BITS - bits - step)], &x);
		}
	}
	return rc == 0 ? store_iter_error(it) : rc;
}

int picked_sum(struct picked *p, struct reconcile_sum *ret)
{
	return picked_sums(&(struct id){ 0 }, 0, 0, ret, p);
}

struct reconcile_source picked_source(struct picked *p)
{
	return (struct reconcile_source){ .sums = picked_sums, .items = picked_items, .userdata = p };
}
