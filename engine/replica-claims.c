/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Who claims a name in a directory, and under which names they show (engine/replica.h, Names). */

#include "engine/replica-at.h"

#include <errno.h>

#define CLAIM_MIN (ID_SIZE + 3)
#define DEVICE_DIGITS 6
#define EXTENSION_MAX 64 /* a longer one is part of the stem */

int claims_decode(struct arena *a, const void *data, size_t len, struct claims *ret)
{
	struct cursor c = cursor_make(data, len);
	size_t max = len / CLAIM_MIN;
	struct claim *claim = arena_array(a, max ? max : 1, sizeof(*claim));
	uint32_t n = 0;
	if (!claim)
		return -ENOMEM;
	while (cursor_left(&c) > 0) {
		const uint8_t *id = cursor_take(&c, ID_SIZE);
		uint8_t kind = cursor_u8(&c);
		uint64_t counter = cursor_varint(&c);
		uint32_t actor = (uint32_t)cursor_varint_max(&c, UINT32_MAX) - 1;
		if (!cursor_ok(&c) || n == max || kind < NODE_DIR || kind > NODE_LINK)
			return -EBADMSG;
		claim[n] = (struct claim){ .kind = kind, .counter = counter, .actor = actor };
		memcpy(claim[n++].id.b, id, ID_SIZE);
	}
	if (!cursor_end(&c) || n == 0)
		return -EBADMSG;
	*ret = (struct claims){ claim, n };
	return 0;
}

void claims_encode(const struct claims *c, struct buf *b)
{
	for (uint32_t i = 0; i < c->n; i++) {
		buf_put(b, c->claim[i].id.b, ID_SIZE);
		buf_u8(b, (uint8_t)c->claim[i].kind);
		buf_varint(b, c->claim[i].counter);
		buf_varint(b, (uint64_t)(uint32_t)(c->claim[i].actor + 1));
	}
}

/* Negative: x shows before y. */
static int claim_cmp(const struct actors *actors, const struct claim *x, const struct claim *y)
{
	if ((x->kind == NODE_DIR) != (y->kind == NODE_DIR))
		return x->kind == NODE_DIR ? -1 : 1;
	if (x->counter != y->counter)
		return x->counter > y->counter ? -1 : 1;
	if (x->actor != y->actor) {
		if (x->actor == ACTOR_NONE || y->actor == ACTOR_NONE)
			return x->actor == ACTOR_NONE ? 1 : -1;
		return actors_cmp(actors, y->actor, x->actor);
	}
	return id_cmp(&x->id, &y->id);
}

int claims_put(struct arena *a, const struct actors *actors, struct claims *c,
	       const struct claim *add)
{
	struct claim *claim = arena_array(a, c->n + 1, sizeof(*claim));
	uint32_t n = 0;
	bool in = false;
	if (!claim)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n; i++) {
		if (id_equal(&c->claim[i].id, &add->id))
			continue;
		if (!in && claim_cmp(actors, add, &c->claim[i]) < 0) {
			claim[n++] = *add;
			in = true;
		}
		claim[n++] = c->claim[i];
	}
	if (!in)
		claim[n++] = *add;
	*c = (struct claims){ claim, n };
	return 0;
}

int claims_drop(struct arena *a, struct claims *c, const struct id *id)
{
	struct claim *claim = arena_array(a, c->n ? c->n : 1, sizeof(*claim));
	uint32_t n = 0;
	if (!claim)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n; i++)
		if (!id_equal(&c->claim[i].id, id))
			claim[n++] = c->claim[i];
	*c = (struct claims){ claim, n };
	return 0;
}

uint64_t claims_highest(const struct claims *c, const struct id *but)
{
	uint64_t highest = 0;
	for (uint32_t i = 0; i < c->n; i++)
		if (!(but && id_equal(&c->claim[i].id, but)) && c->claim[i].counter > highest)
			highest = c->claim[i].counter;
	return highest;
}

void dirent_key(struct buf *b, const struct id *parent, const char *name, size_t len)
{
	buf_put(b, parent->b, ID_SIZE);
	buf_put(b, name, len);
}

int claims_get(struct replica *r, const struct store_snapshot *snap, struct arena *a,
	       const struct id *parent, const char *name, size_t len, struct claims *ret)
{
	_cleanup_(buf_done) struct buf v = { 0 };
	uint8_t key[ID_SIZE + NAME_MAX_BYTES];
	if (len > NAME_MAX_BYTES)
		return -ENAMETOOLONG;
	memcpy(key, parent->b, ID_SIZE);
	memcpy(key + ID_SIZE, name, len);
	int rc = store_get(r->store, snap, STORE_DIRENTS, key, ID_SIZE + len, &v);
	if (rc < 0)
		return rc;
	return claims_decode(a, v.data, v.len, ret);
}

/* Length of the name without its extension. */
static size_t stem_len(const char *name, size_t len)
{
	for (size_t i = len; i > 1; i--)
		if (name[i - 1] == '.')
			return len - (i - 1) <= EXTENSION_MAX ? i - 1 : len;
	return len;
}

/* STEM~DEVICE[~K].EXT into text; the stem is cut at a character's edge where it must be. */
static size_t loser_name(const struct actors *actors, const struct claim *c, const char *name,
			 size_t len, unsigned k, char text[static NAME_MAX_BYTES + 1])
{
	char hex[ID_HEX] = "00000000", middle[32];
	size_t stem = stem_len(name, len), ext = len - stem;
	if (c->actor != ACTOR_NONE)
		id_hex(&actors_get(actors, c->actor)->device, hex);
	int n = k > 1 ? snprintf(middle, sizeof(middle), "~%.*s~%u", DEVICE_DIGITS, hex, k) :
			snprintf(middle, sizeof(middle), "~%.*s", DEVICE_DIGITS, hex);
	size_t add = (size_t)n;
	while (stem > 0 && stem + add + ext > NAME_MAX_BYTES)
		do
			stem--;
		while (stem > 0 && ((uint8_t)name[stem] & 0xc0) == 0x80);
	memcpy(text, name, stem);
	memcpy(text + stem, middle, add);
	memcpy(text + stem + add, name + len - ext, ext);
	text[stem + add + ext] = 0;
	return stem + add + ext;
}

void claims_names(const struct actors *actors, const struct claims *c, const char *name, size_t len,
		  taken_fn taken, void *userdata, char (*ret)[NAME_MAX_BYTES + 1])
{
	for (uint32_t i = 0; i < c->n; i++) {
		if (i == 0) {
			memcpy(ret[0], name, len);
			ret[0][len] = 0;
			continue;
		}
		for (unsigned k = 1;; k++) {
			size_t n = loser_name(actors, &c->claim[i], name, len, k, ret[i]);
			bool used = taken(ret[i], n, userdata);
			for (uint32_t j = 0; j < i && !used; j++)
				used = !strcmp(ret[i], ret[j]);
			if (!used)
				break;
		}
	}
}

struct taken {
	struct replica *r;
	const struct store_snapshot *snap;
	const struct id *parent;
};

static bool taken_in_store(const char *name, size_t len, void *userdata)
{
	const struct taken *t = userdata;
	uint8_t key[ID_SIZE + NAME_MAX_BYTES];
	memcpy(key, t->parent->b, ID_SIZE);
	memcpy(key + ID_SIZE, name, len);
	return store_has(t->r->store, t->snap, STORE_DIRENTS, key, ID_SIZE + len);
}

/* The names of all claims on one name, in the arena. */
static int names_of(struct replica *r, const struct store_snapshot *snap, struct arena *a,
		    const struct id *parent, const char *name, size_t len, const struct claims *c,
		    char (**ret)[NAME_MAX_BYTES + 1])
{
	struct taken t = { r, snap, parent };
	char (*names)[NAME_MAX_BYTES + 1] = arena_array(a, c->n, sizeof(*names));
	if (!names)
		return -ENOMEM;
	claims_names(r->actors, c, name, len, taken_in_store, &t, names);
	*ret = names;
	return 0;
}

/* The name that a loser's name was made of: false if it cannot be one. */
static bool loser_base(const char *name, size_t len, char *base, size_t *ret_len)
{
	size_t stem = stem_len(name, len), ext = len - stem, i = stem;
	while (i > 0 && name[i - 1] >= '0' && name[i - 1] <= '9')
		i--;
	if (i > 0 && i < stem && name[i - 1] == '~' && stem - i < DEVICE_DIGITS)
		stem = i - 1;
	if (stem < DEVICE_DIGITS + 1 || name[stem - DEVICE_DIGITS - 1] != '~')
		return false;
	for (i = stem - DEVICE_DIGITS; i < stem; i++)
		if (!strchr("0123456789abcdef", name[i]) || !name[i])
			return false;
	stem -= DEVICE_DIGITS + 1;
	memcpy(base, name, stem);
	memcpy(base + stem, name + len - ext, ext);
	*ret_len = stem + ext;
	return *ret_len > 0;
}

static int find_loser(struct replica *r, const struct store_snapshot *snap, struct arena *a, const struct id *parent, const char *base,
		      size_t base_len, const struct claims *c, const char *name, size_t len,
		      struct id *ret)
{
	char (*names)[NAME_MAX_BYTES + 1];
	int rc = names_of(r, snap, a, parent, base, base_len, c, &names);
	if (rc < 0)
		return rc;
	for (uint32_t i = 1; i < c->n; i++)
		if (strlen(names[i]) == len && !memcmp(names[i], name, len)) {
			*ret = c->claim[i].id;
			return 0;
		}
	return -ENOENT;
}

/* A name that was cut to make room does not say what it was made of. */
static int find_cut_loser(struct replica *r, const struct store_snapshot *snap, const struct id *parent,
			  const char *name, size_t len, struct id *ret)
{
	_cleanup_(buf_done) struct buf end = { 0 };
	_cleanup_(store_iter_freep) struct store_iter *it = NULL;
	store_prefix_end(parent->b, ID_SIZE, &end);
	int rc = store_iter_new(r->store, snap, STORE_DIRENTS, parent->b, ID_SIZE, end.data, end.len,
				&it);
	for (; rc == 0 && store_iter_valid(it); store_iter_next(it)) {
		_cleanup_(arena_done) struct arena a = { 0 };
		struct claims c;
		size_t key_len, value_len;
		const uint8_t *key = store_iter_key(it, &key_len);
		const uint8_t *value = store_iter_value(it, &value_len);
		rc = claims_decode(&a, value, value_len, &c);
		if (rc < 0 || c.n < 2)
			continue;
		rc = find_loser(r, snap, &a, parent, (const char *)key + ID_SIZE, key_len - ID_SIZE, &c,
				name, len, ret);
		if (rc != -ENOENT)
			return rc;
		rc = 0;
	}
	return rc < 0 ? rc : -ENOENT;
}

int dirent_find_at(struct replica *r, const struct store_snapshot *snap, const struct id *parent,
		   const char *name, size_t len, struct id *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct claims c;
	char base[NAME_MAX_BYTES + 1];
	size_t base_len;
	if (len == 0)
		return -ENOENT;
	int rc = claims_get(r, snap, &a, parent, name, len, &c);
	if (rc == 0)
		*ret = c.claim[0].id;
	if (rc != -ENOENT || !loser_base(name, len, base, &base_len))
		return rc;
	rc = claims_get(r, snap, &a, parent, base, base_len, &c);
	if (rc == 0)
		rc = find_loser(r, snap, &a, parent, base, base_len, &c, name, len, ret);
	if (rc == -ENOENT && len >= NAME_MAX_BYTES - 4)
		rc = find_cut_loser(r, snap, parent, name, len, ret);
	return rc;
}

int dirent_find(struct replica *r, const struct id *parent, const char *name, size_t len,
		struct id *ret)
{
	return dirent_find_at(r, NULL, parent, name, len, ret);
}

int dirent_shown(struct replica *r, const struct node *n, char *ret)
{
	return dirent_shown_at(r, NULL, n, ret);
}

int dirent_shown_at(struct replica *r, const struct store_snapshot *snap, const struct node *n, char *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct claims c;
	char (*names)[NAME_MAX_BYTES + 1] = NULL;
	int rc = claims_get(r, snap, &a, &n->parent, n->name, n->name_len, &c);
	if (rc == 0)
		rc = names_of(r, snap, &a, &n->parent, n->name, n->name_len, &c, &names);
	if (rc < 0)
		return rc;
	for (uint32_t i = 0; i < c.n; i++)
		if (id_equal(&c.claim[i].id, &n->attr.id)) {
			memcpy(ret, names[i], strlen(names[i]) + 1);
			return 0;
		}
	return -ENOENT;
}
