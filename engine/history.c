/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Values:
 *
 *     u8 format (1)
 *     u8 kind: 1 a version whose bytes are here, 2 a version as a reference to chunks
 *         u8 form, id version, u64 written, varint author + 1, vector context
 *         1: the rest: bytes         2: varint size, 32 bytes of SHA-256
 *     or 3 a deletion, 4 a deletion or 5 a move
 *         id node, id parent, u8 kind of node, varint microseconds, varint actor + 1
 *         4, 5: varint microseconds when it came there, of 4 not 0; the rest: name
 *
 * Actors are local numbers, so the bytes mean something in one store only. */
#include "engine/history.h"

#include <errno.h>

#include "engine/cursor.h"
#include "engine/edge.h"

#define FORMAT 1
#define HOUR_US 3600000000ull
#define DAY_US (24 * HOUR_US)

enum { KIND_BYTES = 1, KIND_BLOB = 2, KIND_DELETION = 3, KIND_DELETION_SINCE = 4,
       KIND_MOVE = 5 };

void history_key(const struct id *node, uint64_t stamp, uint8_t key[static HISTORY_KEY_SIZE])
{
	struct buf b = { key, 0, HISTORY_KEY_SIZE, false };
	buf_put(&b, node->b, ID_SIZE);
	buf_u64(&b, stamp);
}

int history_key_decode(const void *key, size_t len, struct id *ret_node, uint64_t *ret_stamp)
{
	struct cursor c = cursor_make(key, len);
	const uint8_t *node = cursor_take(&c, ID_SIZE);
	uint64_t stamp = cursor_u64(&c);
	if (!cursor_end(&c))
		return -EBADMSG;
	memcpy(ret_node->b, node, ID_SIZE);
	*ret_stamp = stamp;
	return 0;
}

static void put_actor(struct buf *b, uint32_t actor)
{
	buf_varint(b, actor == ACTOR_NONE ? 0 : (uint64_t)actor + 1);
}

static uint32_t take_actor(struct cursor *c, const struct actors *actors)
{
	return (uint32_t)cursor_varint_max(c, actors_count(actors)) - 1;
}

static void take_id(struct cursor *c, struct id *ret)
{
	const uint8_t *p = cursor_take(c, ID_SIZE);
	if (p)
		memcpy(ret->b, p, ID_SIZE);
}

static int damaged(struct err *e)
{
	return err_set(e, -EBADMSG, "damaged entry of the history");
}

/* The format and the kind of what follows. */
static int take_head(struct cursor *c, uint8_t *ret_kind, struct err *e)
{
	uint8_t format = cursor_u8(c), kind = cursor_u8(c);
	if (cursor_ok(c) && format != FORMAT)
		return err_set(e, -EPROTONOSUPPORT,
			       "an earlier version has format %u, which a newer version of Shoal "
			       "wrote: update this device", format);
	if (!cursor_ok(c))
		return damaged(e);
	*ret_kind = kind;
	return 0;
}

void history_version_encode(const struct history_version *h, struct actors *actors, struct buf *b)
{
	buf_u8(b, FORMAT);
	buf_u8(b, h->blob ? KIND_BLOB : KIND_BYTES);
	buf_u8(b, h->form);
	buf_put(b, h->version.b, ID_SIZE);
	buf_u64(b, h->written);
	put_actor(b, h->author);
	vv_encode(&h->context, actors, NULL, b);
	if (h->blob) {
		buf_varint(b, h->ref.size);
		buf_put(b, h->ref.manifest.b, SHA256_SIZE);
	} else {
		buf_put(b, h->data, h->len);
	}
}

int history_version_decode(struct arena *a, const struct actors *actors, const void *data, size_t len,
			   struct history_version *ret, struct err *e)
{
	struct cursor c = cursor_make(data, len);
	struct history_version h = { 0 };
	uint8_t kind = 0;
	int rc = take_head(&c, &kind, e);
	if (rc < 0)
		return rc;
	h.form = cursor_u8(&c);
	take_id(&c, &h.version);
	h.written = cursor_u64(&c);
	h.author = take_actor(&c, actors);
	rc = cursor_ok(&c) ? vv_decode_arena(a, &c, actors, NULL, &h.context) : -EBADMSG;
	if (rc == -ENOMEM)
		return rc;
	h.blob = kind == KIND_BLOB;
	if (h.blob) {
		h.ref.size = cursor_varint_max(&c, BLOB_SIZE_MAX);
		const uint8_t *hash = cursor_take(&c, SHA256_SIZE);
		if (hash)
			memcpy(h.ref.manifest.b, hash, SHA256_SIZE);
	} else {
		h.len = cursor_left(&c);
		h.data = cursor_take(&c, h.len);
	}
	if (rc < 0 || !cursor_end(&c) || (kind != KIND_BYTES && kind != KIND_BLOB) || h.form == 0 ||
	    h.form > HISTORY_FORM_MAX || h.len > HISTORY_INLINE_MAX)
		return damaged(e);
	*ret = h;
	return 0;
}

void history_deletion_encode(const struct history_deletion *d, struct buf *b)
{
	const uint8_t kind = d->moved ? KIND_MOVE : d->since_us ? KIND_DELETION_SINCE : KIND_DELETION;
	buf_u8(b, FORMAT);
	buf_u8(b, kind);
	buf_put(b, d->node.b, ID_SIZE);
	buf_put(b, d->parent.b, ID_SIZE);
	buf_u8(b, (uint8_t)d->kind);
	buf_varint(b, d->when_us);
	put_actor(b, d->actor);
	if (kind != KIND_DELETION)
		buf_varint(b, d->since_us);
	buf_put(b, d->name, d->name_len);
}

int history_deletion_decode(const struct actors *actors, const void *data, size_t len,
			    struct history_deletion *ret, struct err *e)
{
	struct cursor c = cursor_make(data, len);
	struct history_deletion d = { 0 };
	uint8_t kind = 0;
	int rc = take_head(&c, &kind, e);
	if (rc < 0)
		return rc;
	take_id(&c, &d.node);
	take_id(&c, &d.parent);
	d.kind = (enum node_kind)cursor_u8(&c);
	d.when_us = cursor_varint(&c);
	d.actor = take_actor(&c, actors);
	if (kind != KIND_DELETION)
		d.since_us = cursor_varint(&c);
	d.moved = kind == KIND_MOVE;
	d.name_len = cursor_left(&c);
	d.name = (const char *)cursor_take(&c, d.name_len);
	if (!cursor_end(&c) || kind < KIND_DELETION || kind > KIND_MOVE ||
	    (kind == KIND_DELETION_SINCE && d.since_us == 0) || d.kind < NODE_DIR || d.kind > NODE_LINK ||
	    !edge_name_valid(d.name, d.name_len))
		return damaged(e);
	*ret = d;
	return 0;
}

uint64_t history_cost(const struct history_version *h, size_t entry_len)
{
	return HISTORY_KEY_SIZE + entry_len + (h->blob ? h->ref.size : 0);
}

bool history_burst(uint64_t written_us, uint32_t author, uint64_t next_us, uint32_t next_author)
{
	return author == next_author && written_us / HISTORY_BURST_US == next_us / HISTORY_BURST_US;
}

/* A clock that was ahead may say that it was written after it was replaced. */
static uint64_t written(const struct history_time *t)
{
	return t->written_us < t->replaced_us ? t->written_us : t->replaced_us;
}

void history_thin(const struct history_time *t, uint32_t n, uint64_t now_us, uint64_t keep_us,
		  bool *keep)
{
	for (uint32_t i = 0; i < n; i++) {
		uint64_t age = now_us > t[i].replaced_us ? now_us - t[i].replaced_us : 0;
		uint64_t slot = age < DAY_US ? HOUR_US : DAY_US;
		keep[i] = age < keep_us;
		if (age >= HOUR_US && i + 1 < n && written(&t[i]) / slot == written(&t[i + 1]) / slot)
			keep[i] = false;
	}
}
