/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Operations on a record as a whole. Registers and slots are engine/slot.c, edges
 * engine/edge.c, the encoding engine/recordcodec.c, changes to JSON engine/patch.c. */
#include "engine/crdt.h"

#include <assert.h>
#include <errno.h>
#include <nettle/sha2.h>
#include <string.h>

#include "engine/edge.h"
#include "engine/purged.h"
#include "engine/slotseq.h"

const struct id NODE_ROOT = { { [15] = 1 } };
const struct id NODE_TRASH = { { [15] = 2 } };
const struct id NODE_TYPES = { { [15] = 4 } };
const struct id NODE_LOST = { { [15] = 3 } };
const struct id NODE_INODES = { { [15] = 5 } };

int record_new(struct arena *a, const struct id *id, const struct id *scope, enum node_kind kind,
	       struct record **ret)
{
	struct record *r = arena_new(a, struct record);
	if (!r)
		return -ENOMEM;
	r->id = *id;
	r->scope = *scope;
	r->kind = kind;
	*ret = r;
	return 0;
}

void record_version(const struct record *r, const struct actors *actors, struct id *ret)
{
	vv_fingerprint(&r->ctx, actors, ret);
}

static struct seen seen_make(const struct record *r, const struct vv *base, const struct stamp *st)
{
	return (struct seen){ base ? base : &r->ctx, st->dot };
}

/* A copy of r whose context covers the stamp. */
static int advance(struct arena *a, const struct record *r, const struct stamp *st,
		   struct record **ret)
{
	struct record *c = arena_new(a, struct record);
	if (!c)
		return -ENOMEM;
	*c = *r;
	int err = vv_arena_raise(a, &r->ctx, st->dot, &c->ctx);
	if (err < 0)
		return err;
	*ret = c;
	return 0;
}

static const struct slot *top_slot(const struct record *r, const char *top)
{
	return r->top ? slot_find(r->top, top, strlen(top)) : NULL;
}

static bool is_shown(const struct reg *reg, const struct actors *actors, const struct value *value)
{
	const struct entry *e = reg_shown(reg, actors);
	return e && value_same(&e->value, value);
}

/* Writes or (value NULL) removes the slot s (may be NULL). *ret == s: no change. */
static int write_slot(struct arena *a, const struct actors *actors, struct slot *s, const char *key,
		      size_t key_len, const struct value *value, const struct seen *seen,
		      const struct stamp *st, struct slot **ret)
{
	bool took;
	if (!value) {
		*ret = s;
		return s ? slot_remove(a, s, seen, ret) : 0;
	}
	if (s && is_shown(&s->val, actors, value)) {
		/* Already so; but losers that the writer saw are settled by writing it. */
		bool loser = slot_touched_below(s, seen);
		for (uint32_t i = 0; i < s->val.n; i++)
			loser = loser || (!value_same(&s->val.entry[i].value, value) &&
					  seen_has(seen, s->val.entry[i].dot));
		if (!loser) {
			*ret = s;
			return 0;
		}
	}
	if (!s) {
		/* The key is the caller's and may not live as long as the record. */
		key = arena_dup(a, key, key_len);
		if (!key)
			return -ENOMEM;
	}
	struct slot *c = slot_copy(a, s, key, key_len);
	if (!c)
		return -ENOMEM;
	struct entry e = { st->dot, st->hlc, *value };
	if (value->len > 0) {
		e.value.data = (const uint8_t *)arena_dup(a, value->data, value->len);
		if (!e.value.data)
			return -ENOMEM;
	}
	struct reg in = c->val;
	int r = reg_write(a, actors, &in, seen, &e, &c->val, &took);
	if (r == 0)
		r = slot_remove_below(a, c, seen);
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}

/* Puts a changed slot below the top and finishes the new record. */
static int replace_top(struct arena *a, const struct record *r, const char *top, struct slot *s,
		       const struct stamp *st, struct record **ret)
{
	struct record *c;
	int err = advance(a, r, st, &c);
	if (err == 0)
		err = slot_put(a, r->top, top, strlen(top), s, &c->top);
	if (err < 0)
		return err;
	*ret = c;
	return 0;
}

int record_set(struct arena *a, const struct actors *actors, const struct record *r,
	       const char *top, const char *name, size_t name_len, const struct value *value,
	       const struct vv *base, const struct stamp *st, const struct record **ret)
{
	struct seen seen = seen_make(r, base, st);
	bool content = strcmp(top, TOP_CONTENT) == 0;
	struct slot *old = r->top ? slot_find(r->top, top, strlen(top)) : NULL, *s;
	struct record *c;
	int err;
	assert(!name || !content);
	if (name) {
		struct slot *below = old ? slot_find(old, name, name_len) : NULL, *t;
		err = write_slot(a, actors, below, name, name_len, value, &seen, st, &t);
		if (err < 0)
			return err;
		if (t == below) {
			*ret = r;
			return 0;
		}
		if (old)
			err = slot_put(a, old, t->key, t->key_len, t, &s);
		else {
			struct slot *empty =
				slot_copy(a, NULL, arena_dup(a, top, strlen(top)), strlen(top));
			if (!empty || !empty->key)
				return -ENOMEM;
			err = slot_put(a, empty, t->key, t->key_len, t, &s);
		}
	} else {
		err = write_slot(a, actors, old, top, strlen(top), value, &seen, st, &s);
	}
	if (err < 0)
		return err;
	if (s == old) {
		*ret = r;
		return 0;
	}
	err = replace_top(a, r, top, s, st, &c);
	if (err == 0)
		err = record_bound_marks(a, c);
	if (err < 0)
		return err;
	*ret = c;
	return content ? record_touch(a, actors, c, st, ret) : 0;
}

int record_touch(struct arena *a, const struct actors *actors, const struct record *r,
		 const struct stamp *st, const struct record **ret)
{
	static const struct value now = { .kind = VALUE_NULL };
	const struct slot *s = top_slot(r, TOP_MTIME);
	struct seen seen = seen_make(r, NULL, st);
	struct slot *t;
	struct record *c;
	/* What the batch itself said needs no second saying; older times are written over, even
	 * equal ones, because the value is the entry's own stamp. */
	if (s && s->val.n == 1 && s->val.entry[0].dot.actor == st->dot.actor &&
	    s->val.entry[0].dot.seq == st->dot.seq && s->val.entry[0].value.kind == VALUE_NULL) {
		*ret = r;
		return 0;
	}
	struct slot bare = { 0 };
	if (s)
		bare = *s;
	struct entry e = { st->dot, st->hlc, now };
	bool took;
	t = slot_copy(a, s, TOP_MTIME, strlen(TOP_MTIME));
	int err = t ? reg_write(a, actors, &bare.val, &seen, &e, &t->val, &took) : -ENOMEM;
	if (err == 0)
		err = replace_top(a, r, TOP_MTIME, t, st, &c);
	if (err < 0)
		return err;
	*ret = c;
	return 0;
}

int record_set_content(struct arena *a, const struct actors *actors, const struct record *r,
		       const struct value *value, const struct vv *base, const struct stamp *st,
		       const struct record **ret)
{
	/* What the layout of a JSON document was is of no use to something else. */
	static const char *const style[] = { TOP_STYLE, TOP_SOURCE };
	const struct record *c = r;
	int err = record_set(a, actors, r, TOP_CONTENT, NULL, 0, value, base, st, &c);
	/* base NULL means all of r, not all of what this call made of it. */
	if (!base)
		base = &r->ctx;
	for (size_t i = 0; err == 0 && c != r && i < 2; i++)
		err = record_set(a, actors, c, style[i], NULL, 0, NULL, base, st, &c);
	if (err == 0)
		*ret = c;
	return err;
}

int record_clear(struct arena *a, const struct record *r, const struct stamp *st,
		 const struct record **ret)
{
	struct seen seen = seen_make(r, NULL, st);
	struct record *c;
	*ret = r;
	if (!r->top || !slot_touched_below(r->top, &seen))
		return 0;
	int err = advance(a, r, st, &c);
	if (err < 0)
		return err;
	c->top = slot_copy(a, r->top, NULL, 0);
	err = c->top ? slot_remove_below(a, c->top, &seen) : -ENOMEM;
	if (err == 0)
		err = record_bound_marks(a, c);
	if (err == 0)
		*ret = c;
	return err;
}

int record_move(struct arena *a, const struct actors *actors, const struct record *r,
		const struct id *parent, const char *name, size_t name_len, const struct stamp *st,
		const struct record **ret)
{
	bool trash = id_equal(parent, &NODE_TRASH);
	struct record *c;
	if (trash ? name_len != 0 : !edge_name_valid(name, name_len))
		return -EINVAL;
	const struct edge *old = r->n_edges > 0 ? &r->edge[0] : NULL;
	if (old && id_equal(&old->parent, parent) && !trash &&
	    key_cmp(old->name, old->name_len, name, name_len) == 0) {
		*ret = r;
		return 0;
	}
	/* A file whose counters somebody has used up can be deleted all the same. */
	if (old && old->counter == EDGE_PURGED - 1 && trash && r->kind != NODE_DIR)
		return record_purge(a, actors, r, st, ret);
	if (old && old->counter >= EDGE_PURGED - 1)
		return -EOVERFLOW;
	struct visit visit[2] = { { *parent, hlc_us(st->hlc), st->dot } };
	struct edge e = { .parent = *parent, .dot = st->dot };
	uint32_t n = 1;
	e.counter = old ? old->counter + 1 : 1;
	e.name = arena_dup(a, name, name_len);
	e.name_len = name_len;
	int err = advance(a, r, st, &c);
	if (err < 0 || !e.name)
		return -ENOMEM;
	if (trash)
		e.seen = c->ctx;
	/* The directory that it leaves changes as well. */
	if (old && edge_is_trash(old))
		old = r->n_edges > 1 ? &r->edge[1] : NULL;
	if (old && !id_equal(&old->parent, parent)) {
		visit[n] = visit[0];
		visit[n++].parent = old->parent;
	}
	err = edge_join(a, actors, c, &e, 1);
	if (err < 0)
		return err;
	visit_join(actors, c, visit, n);
	*ret = c;
	return 0;
}

bool record_alive(const struct record *r)
{
	if (r->n_edges == 0 || !edge_is_trash(&r->edge[0]))
		return true;
	if (r->kind == NODE_DIR)
		return false;
	const struct slot *content = top_slot(r, TOP_CONTENT);
	return content && !slot_covered(content, &r->edge[0].seen);
}

int value_int(const struct value *v, int64_t *ret)
{
	struct cursor c = cursor_make(v->data, v->len);
	uint64_t z = cursor_varint(&c);
	if (v->kind != VALUE_INT || !cursor_end(&c))
		return -EBADMSG;
	*ret = (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
	return 0;
}

struct value value_of_int(int64_t n, uint8_t data[static VALUE_INT_MAX])
{
	uint64_t z = (uint64_t)n << 1 ^ (uint64_t)(n >> 63);
	size_t len = 0;
	for (; z >= 0x80; z >>= 7)
		data[len++] = (uint8_t)(z | 0x80);
	data[len++] = (uint8_t)z;
	return (struct value){ VALUE_INT, data, len };
}

uint64_t dot_sum(const struct actors *actors, struct dot d)
{
	const struct actor_id *id = actors_get(actors, d.actor);
	const uint8_t *b = id->device.b;
	uint64_t h = d.seq * UINT64_C(0x9e3779b97f4a7c15) + id->incarnation;
	for (size_t n = 0; n < ID_SIZE; n++)
		h = (h ^ b[n]) * UINT64_C(0x100000001b3);
	return h ^ (h >> 32);
}

/* Most entries are of the batch of the one before. */
struct summing {
	const struct actors *actors;
	struct dot last;
	uint64_t of_last, sum;
};

/* A sum over the dots of all entries here and below: which of them there are, on every device. */
static void add_entries(struct summing *k, const struct slot *s)
{
	const struct reg *reg[2] = { &s->val, &s->look };
	for (unsigned i = 0; i < 2; i++)
		for (uint32_t n = 0; n < reg[i]->n; n++) {
			const struct entry *e = &reg[i]->entry[n];
			if (e->dot.seq != k->last.seq || e->dot.actor != k->last.actor)
				k->of_last = dot_sum(k->actors, e->dot);
			k->last = e->dot;
			k->sum += k->of_last;
		}
	for (uint32_t i = 0; i < s->n; i++)
		add_entries(k, s->child[i]);
}

/* Of every change of content, and not of the context, because chmod(2) and rename(2) must leave the
 * time alone. */
uint64_t record_entries_sum(const struct record *r, const struct actors *actors)
{
	static const char *const parts[] = { TOP_CONTENT, TOP_STYLE, TOP_SOURCE };
	struct summing k = { .actors = actors };
	for (size_t i = 0; i < 3; i++) {
		const struct slot *part = top_slot(r, parts[i]);
		if (part)
			add_entries(&k, part);
	}
	return k.sum;
}

static const struct entry *mtime_entry(const struct record *r, const struct actors *actors)
{
	const struct slot *s = top_slot(r, TOP_MTIME);
	return s ? reg_shown(&s->val, actors) : NULL;
}

int64_t record_mtime_of(const struct record *r, const struct actors *actors, uint64_t sum)
{
	const struct entry *e = mtime_entry(r, actors);
	int64_t ns;
	if (!e)
		return 0;
	if (value_int(&e->value, &ns) == 0)
		return ns;
	/* Something of the content below the microsecond: every merge shows another time, so
	 * programs that compare times notice it, and every device shows the same. */
	return (int64_t)(hlc_us(e->hlc) * 1000 + sum % 1000);
}

int64_t record_mtime_ns(const struct record *r, const struct actors *actors)
{
	const struct entry *e = mtime_entry(r, actors);
	int64_t ns;
	bool given = !e || value_int(&e->value, &ns) == 0;
	return record_mtime_of(r, actors, given ? 0 : record_entries_sum(r, actors));
}

uint32_t record_mode(const struct record *r, const struct actors *actors, uint32_t normal)
{
	const struct slot *s = top_slot(r, TOP_MODE);
	const struct entry *e = s ? reg_shown(&s->val, actors) : NULL;
	int64_t mode;
	if (!e || value_int(&e->value, &mode) < 0 || mode < 0 || mode > 07777)
		return normal;
	return (uint32_t)mode;
}

static void hash_u64(struct sha256_ctx *h, uint64_t v)
{
	uint8_t b[8];
	for (unsigned i = 0; i < 8; i++)
		b[i] = (uint8_t)(v >> (56 - 8 * i));
	sha256_update(h, sizeof(b), b);
}

static void hash_bytes(struct sha256_ctx *h, const void *data, size_t len)
{
	hash_u64(h, len);
	sha256_update(h, len, data ? data : "");
}

static void hash_dot(struct sha256_ctx *h, const struct actors *actors, struct dot d)
{
	const struct actor_id *id = actors_get(actors, d.actor);
	sha256_update(h, ID_SIZE, id->device.b);
	hash_u64(h, id->incarnation);
	hash_u64(h, d.seq);
}

static void hash_reg(struct sha256_ctx *h, const struct actors *actors, const struct reg *reg)
{
	hash_u64(h, reg->n);
	for (uint32_t i = 0; i < reg->n; i++) {
		const struct entry *e = &reg->entry[i];
		hash_dot(h, actors, e->dot);
		hash_u64(h, e->hlc);
		hash_u64(h, e->value.kind);
		hash_bytes(h, e->value.data, e->value.len);
	}
}

static bool hash_seq(struct sha256_ctx *h, const struct slot *s, const struct actors *actors)
{
	_cleanup_(seq_freep) struct seq *seq = NULL;
	struct id print = { { 0 } };
	if (!s->seq_len)
		return false;
	/* What cannot be read differs from everything that can. */
	if (slotseq_load(s, actors, &seq) == 0)
		seq_fingerprint(seq, &print);
	sha256_update(h, ID_SIZE, print.b);
	return true;
}

/* False when there is no entry here or below: the slot is there for its removal marks only. */
static bool hash_slot(const struct slot *s, const struct actors *actors, struct id *ret)
{
	struct sha256_ctx h;
	bool any = s->val.n + s->look.n > 0;
	sha256_init(&h);
	hash_bytes(&h, s->key, s->key_len);
	hash_reg(&h, actors, &s->val);
	hash_reg(&h, actors, &s->look);
	any |= hash_seq(&h, s, actors);
	for (uint32_t i = 0; i < s->n; i++) {
		struct id below;
		if (!hash_slot(s->child[i], actors, &below))
			continue;
		sha256_update(&h, ID_SIZE, below.b);
		any = true;
	}
	sha256_digest(&h, ID_SIZE, ret->b);
	return any;
}

void record_fingerprint(const struct record *r, const struct actors *actors, struct id *ret)
{
	struct sha256_ctx h;
	struct id part;
	sha256_init(&h);
	sha256_update(&h, ID_SIZE, r->id.b);
	sha256_update(&h, ID_SIZE, r->scope.b);
	hash_u64(&h, r->kind);
	vv_fingerprint(&r->ctx, actors, &part);
	sha256_update(&h, ID_SIZE, part.b);
	for (uint32_t i = 0; i < r->n_edges; i++) {
		const struct edge *e = &r->edge[i];
		sha256_update(&h, ID_SIZE, e->parent.b);
		hash_u64(&h, e->counter);
		hash_dot(&h, actors, e->dot);
		hash_bytes(&h, e->name, e->name_len);
		vv_fingerprint(&e->seen, actors, &part);
		sha256_update(&h, ID_SIZE, part.b);
	}
	for (uint32_t i = 0; i < r->n_visits; i++) {
		sha256_update(&h, ID_SIZE, r->visit[i].parent.b);
		hash_u64(&h, r->visit[i].us);
		hash_dot(&h, actors, r->visit[i].dot);
	}
	if (r->top && hash_slot(r->top, actors, &part))
		sha256_update(&h, ID_SIZE, part.b);
	sha256_digest(&h, ID_SIZE, ret->b);
}
