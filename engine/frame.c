/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/frame.h"

#include <assert.h>
#include <errno.h>

/* Longest payload of each type. */
static const struct {
	const char *name;
	uint32_t max;
} types[FRAME_TYPES] = {
	[FRAME_HELLO] = { "HELLO", 4096 },
	[FRAME_SCOPES] = { "SCOPES", 1 + FRAME_SCOPES_MAX * 2 * ID_SIZE },
	[FRAME_VECTOR] = { "VECTOR", FRAME_LARGE },
	[FRAME_ROUND] = { "ROUND", FRAME_LARGE },
	[FRAME_DELTA] = { "DELTA", 1 + FRAME_PIECE },
	[FRAME_END] = { "END", 0 },
	[FRAME_ACK] = { "ACK", FRAME_LARGE },
	[FRAME_WHOLE] = { "WHOLE", BUF_VARINT_MAX + ID_SIZE },
	[FRAME_WANT] = { "WANT", FRAME_WANT_MAX * 32 },
	[FRAME_CHUNK] = { "CHUNK", FRAME_LARGE },
	[FRAME_CREDIT] = { "CREDIT", 1 + BUF_VARINT_MAX },
	[FRAME_PING] = { "PING", BUF_VARINT_MAX },
	[FRAME_PONG] = { "PONG", BUF_VARINT_MAX },
	[FRAME_RECORD] = { "RECORD", BUF_VARINT_MAX + ID_SIZE + 1 + FRAME_PIECE },
	[FRAME_BUNDLE] = { "BUNDLE", 1 + FRAME_PIECE },
	[FRAME_MARK] = { "MARK", 2 * BUF_VARINT_MAX + 20 },
	[FRAME_RAISE] = { "RAISE", FRAME_LARGE },
	[FRAME_PACE] = { "PACE", BUF_VARINT_MAX + 1 + FRAME_PACE_FILLER },
	[FRAME_RESUME] = { "RESUME", FRAME_LARGE },
	[FRAME_PRESENCE] = { "PRESENCE", FRAME_PRESENCE_MAX },
	[FRAME_EAGER] = { "EAGER", BUF_VARINT_MAX + ID_SIZE + FRAME_EAGER_MAX * (BUF_VARINT_MAX + ACTOR_ID_SIZE + 1) },
	[FRAME_SEEK] = { "SEEK", 1 + FRAME_SEEK_HEAD },
	[FRAME_PACK] = { "PACK", FRAME_PACK_MAX },
	[FRAME_FOUND] = { "FOUND", FRAME_LARGE },
	[FRAME_WITNESS] = { "WITNESS", BUF_VARINT_MAX + 2 + FRAME_TAGS_MAX * (BUF_VARINT_MAX + 4) },
	[FRAME_INTEREST] = { "INTEREST", FRAME_INTEREST_MAX },
	[FRAME_COMPARE] = { "COMPARE", 16 + 65536 },
	[FRAME_HOLD] = { "HOLD", FRAME_LIST_MAX },
	[FRAME_TAKE] = { "TAKE", FRAME_LIST_MAX },
	[FRAME_LEAVE] = { "LEAVE", FRAME_LIST_MAX },
	[FRAME_PART] = { "PART", 26 },
	[FRAME_HOLDS] = { "HOLDS", BUF_VARINT_MAX + 1 + FRAME_HOLDS_MAX * (ID_SIZE + BUF_VARINT_MAX + 32) },
	[FRAME_HELD] = { "HELD", BUF_VARINT_MAX + FRAME_HOLDS_MAX / 8 },
};

const char *frame_name(enum frame_type t)
{
	return (unsigned)t < FRAME_TYPES && types[t].name ? types[t].name : "?";
}

int frame_head(const void *data, size_t len, enum frame_type *ret_type, size_t *ret_head,
	       size_t *ret_len, struct err *e)
{
	const uint8_t *p = data;
	if (len < 1)
		return 0;
	if (p[0] >= FRAME_TYPES || !types[p[0]].name)
		return err_set(e, -EPROTO, "the peer sent a frame of the unknown type %u", p[0]);
	/* A head that is too long to end within FRAME_HEAD_MAX is beyond every limit. */
	size_t head = 1;
	while (head < len && head < FRAME_HEAD_MAX && (p[head] & 0x80))
		head++;
	if (head == len)
		return 0;
	struct cursor c = cursor_make(p + 1, head < FRAME_HEAD_MAX ? head : FRAME_HEAD_MAX - 1);
	uint64_t n = cursor_varint_max(&c, types[p[0]].max);
	if (!cursor_end(&c))
		return err_set(e, -EPROTO, "the peer sent a %s frame of a bad length",
			       types[p[0]].name);
	*ret_type = (enum frame_type)p[0];
	*ret_head = 1 + (size_t)(c.p - (p + 1));
	*ret_len = (size_t)n;
	return 1;
}

int frame_put2(struct buf *out, enum frame_type t, const struct buf *first, const void *data,
	       size_t len)
{
	size_t n = (first ? first->len : 0) + len;
	if (first && buf_failed(first))
		return -ENOMEM;
	if (n > types[t].max)
		return -E2BIG;
	buf_u8(out, (uint8_t)t);
	buf_varint(out, n);
	if (first)
		buf_put(out, first->data, first->len);
	buf_put(out, data, len);
	return buf_failed(out) ? -ENOMEM : 0;
}

int frame_put(struct buf *out, enum frame_type t, const struct buf *payload)
{
	return frame_put2(out, t, payload, NULL, 0);
}

void hello_encode(const struct hello *h, struct buf *b)
{
	buf_varint(b, h->version);
	buf_varint(b, h->oldest);
	buf_varint(b, h->window);
	buf_put(b, h->self.device.b, ID_SIZE);
	buf_u32(b, h->self.incarnation);
	buf_varint(b, h->acknowledged);
	buf_put(b, h->fingerprint.b, ID_SIZE);
}

static void id_get(struct cursor *c, struct id *ret)
{
	const uint8_t *p = cursor_take(c, ID_SIZE);
	if (p)
		memcpy(ret->b, p, ID_SIZE);
}

int hello_decode(struct cursor *c, uint64_t speaks, struct hello *ret, struct err *e)
{
	struct hello h = { 0 };
	h.version = cursor_varint(c);
	h.oldest = cursor_varint(c);
	if (!cursor_ok(c) || h.oldest == 0 || h.oldest > h.version)
		return err_set(e, -EPROTO, "the peer's HELLO is malformed");
	if (h.oldest > speaks)
		return err_set(
			e, -EPROTO,
			"the peer speaks version %llu of the protocol and later, this device %llu: "
			"update Shoal on this device",
			(unsigned long long)h.oldest, (unsigned long long)speaks);
	h.window = cursor_varint(c);
	id_get(c, &h.self.device);
	h.self.incarnation = cursor_u32(c);
	h.acknowledged = cursor_varint_max(c, FRAME_SEQ_MAX);
	id_get(c, &h.fingerprint);
	if (!cursor_ok(c) || (h.version <= speaks && !cursor_end(c)) ||
	    h.window < FRAME_WINDOW_MIN || h.window > FRAME_WINDOW_MAX)
		return err_set(e, -EPROTO, "the peer's HELLO is malformed");
	*ret = h;
	return 0;
}

int frame_vector_put(struct buf *b, const struct vv *now, const struct vv *told,
		     struct actors *actors, struct actor_codec *codec)
{
	_cleanup_(vv_done) struct vv diff = { 0 };
	for (uint32_t i = 0; i < now->n; i++) {
		uint64_t seq = now->item[i].seq, base = vv_get(told, now->item[i].actor);
		if (seq <= base)
			continue;
		int r = vv_raise(&diff, now->item[i].actor, seq - base);
		if (r < 0)
			return r;
	}
	vv_encode(&diff, actors, codec, b);
	return buf_failed(b) ? -ENOMEM : 0;
}

int frame_vector_get(struct cursor *c, struct vv *heard, struct actors *actors,
		     struct actor_codec *codec, struct err *e)
{
	_cleanup_(vv_done) struct vv diff = { 0 };
	int r = vv_decode(c, actors, codec, &diff);
	if (r == -ENOMEM)
		return err_set(e, r, "out of memory");
	if (r < 0)
		return err_set(e, -EPROTO, "the peer sent a malformed vector");
	for (uint32_t i = 0; i < diff.n; i++) {
		uint64_t base = vv_get(heard, diff.item[i].actor);
		if (diff.item[i].seq > FRAME_SEQ_MAX - base)
			return err_set(e, -EPROTO, "the peer sent a vector beyond all bounds");
		r = vv_raise(heard, diff.item[i].actor, base + diff.item[i].seq);
		if (r < 0)
			return err_set(e, r, "out of memory");
	}
	return 0;
}

void frame_tags_put(struct buf *b, const uint32_t *tag, uint32_t n)
{
	assert(n <= FRAME_TAGS_MAX);
	buf_varint(b, n);
	for (uint32_t i = 0; i < n; i++)
		buf_u32(b, tag[i]);
}

int frame_tags_get(struct cursor *c, uint32_t *ret, uint32_t *ret_n, struct err *e)
{
	uint32_t n = (uint32_t)cursor_varint_max(c, FRAME_TAGS_MAX);
	for (uint32_t i = 0; i < n && cursor_ok(c); i++)
		ret[i] = cursor_u32(c);
	if (!cursor_ok(c))
		return err_set(e, -EPROTO, "the peer sent malformed tags");
	*ret_n = n;
	return 0;
}

void frame_witness_put(struct buf *b, uint64_t held, const struct witness *w, uint32_t n)
{
	uint64_t last = 0;
	assert(n <= FRAME_TAGS_MAX);
	buf_varint(b, held);
	buf_varint(b, n);
	for (uint32_t i = 0; i < n; i++) {
		buf_varint(b, w[i].seq - last);
		buf_u32(b, w[i].tag);
		last = w[i].seq;
	}
}

int frame_witness_get(struct cursor *c, uint64_t *ret_held, struct witness *ret, uint32_t *ret_n,
		      struct err *e)
{
	uint64_t last = 0, held = cursor_varint_max(c, FRAME_SEQ_MAX);
	uint32_t n = (uint32_t)cursor_varint_max(c, FRAME_TAGS_MAX);
	for (uint32_t i = 0; i < n && cursor_ok(c); i++) {
		uint64_t step = cursor_varint_max(c, FRAME_SEQ_MAX - last);
		ret[i] = (struct witness){ last + step, cursor_u32(c) };
		last += step;
		c->bad |= step == 0 || ret[i].tag == 0;
	}
	if (!cursor_end(c))
		return err_set(e, -EPROTO, "the peer sent a malformed WITNESS frame");
	*ret_held = held;
	*ret_n = n;
	return 0;
}

void frame_holds_put(struct buf *b, uint64_t number, const struct holding *h, uint32_t n)
{
	assert(n > 0 && n <= FRAME_HOLDS_MAX);
	buf_varint(b, number);
	buf_varint(b, n);
	for (uint32_t i = 0; i < n; i++) {
		buf_put(b, h[i].node.b, ID_SIZE);
		buf_varint(b, h[i].ref.size);
		buf_put(b, h[i].ref.manifest.b, SHA256_SIZE);
	}
}

int frame_holds_get(struct cursor *c, uint64_t *ret_number, struct holding *ret, uint32_t *ret_n,
		    struct err *e)
{
	uint64_t number = cursor_varint(c);
	uint32_t n = (uint32_t)cursor_varint_max(c, FRAME_HOLDS_MAX);
	c->bad |= n == 0;
	for (uint32_t i = 0; i < n && cursor_ok(c); i++) {
		id_get(c, &ret[i].node);
		ret[i].ref.size = cursor_varint_max(c, BLOB_SIZE_MAX);
		const uint8_t *hash = cursor_take(c, SHA256_SIZE);
		if (hash)
			memcpy(ret[i].ref.manifest.b, hash, SHA256_SIZE);
	}
	if (!cursor_end(c))
		return err_set(e, -EPROTO, "the peer sent a malformed HOLDS frame");
	*ret_number = number;
	*ret_n = n;
	return 0;
}

void frame_seek_put(struct buf *b, uint64_t id, const struct sha256 *hash)
{
	buf_u64(b, id);
	buf_put(b, hash->b, SHA256_SIZE);
}

bool frame_seek_get(struct cursor *c, uint64_t *ret_id, struct sha256 *ret_hash)
{
	const uint64_t id = cursor_u64(c);
	const uint8_t *hash = cursor_take(c, SHA256_SIZE);
	if (!hash)
		return false;
	*ret_id = id;
	memcpy(ret_hash->b, hash, SHA256_SIZE);
	return true;
}

int frame_piece_get(struct cursor *c, bool *ret_more, const uint8_t **ret_data, size_t *ret_len,
		    struct err *e)
{
	uint8_t flags = cursor_u8(c);
	size_t n = cursor_left(c);
	const uint8_t *p = cursor_take(c, n);
	/* The last piece is not empty, and the others are not so small that they cost more than they bring. */
	if (!cursor_ok(c) || flags > FRAME_MORE || n == 0 || n > FRAME_PIECE ||
	    (flags == FRAME_MORE && n < FRAME_PIECE_MIN))
		return err_set(e, -EPROTO, "the peer sent a malformed piece of a delta");
	*ret_more = flags == FRAME_MORE;
	*ret_data = p;
	*ret_len = n;
	return 0;
}
