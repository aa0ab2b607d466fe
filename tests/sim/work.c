/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What programs do: they read, think, and write whole files; they make, move and remove things. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/deleted.h"
#include "engine/element.h"
#include "engine/text.h"
#include "tests/sim/doc.h"
#include "tests/sim/typed.h"

/* ---- sets of values ---- */

void numbers_push(struct numbers *n, uint64_t v)
{
	if (n->n == n->cap) {
		n->cap = n->cap ? 2 * n->cap : 16;
		n->v = reallocarray(n->v, n->cap, sizeof(*n->v));
		if (!n->v)
			abort();
	}
	n->v[n->n++] = v;
}

void numbers_add(struct numbers *n, uint64_t v)
{
	uint32_t at = 0;
	while (at < n->n && n->v[at] < v)
		at++;
	if (at < n->n && n->v[at] == v)
		return;
	numbers_push(n, v);
	memmove(&n->v[at + 1], &n->v[at], (n->n - 1 - at) * sizeof(*n->v));
	n->v[at] = v;
}

bool numbers_has(const struct numbers *n, uint64_t v)
{
	for (uint32_t i = 0; i < n->n; i++)
		if (n->v[i] == v)
			return true;
	return false;
}

void numbers_clear(struct numbers *n)
{
	free(n->v);
	*n = (struct numbers){ 0 };
}

static void each_number(const void *data, size_t len, void (*f)(struct numbers *n, uint64_t v),
			struct numbers *n)
{
	const uint8_t *p = data;
	for (size_t i = 0; i + 1 < len; i++) {
		if (p[i] != 'v' || p[i + 1] < '0' || p[i + 1] > '9')
			continue;
		uint64_t v = 0;
		for (i++; i < len && p[i] >= '0' && p[i] <= '9'; i++)
			v = 10 * v + (uint64_t)(p[i] - '0');
		f(n, v);
	}
}

void numbers_of(struct numbers *n, const void *data, size_t len)
{
	each_number(data, len, numbers_add, n);
}

void numbers_append(struct numbers *n, const void *data, size_t len)
{
	each_number(data, len, numbers_push, n);
}

struct losers {
	struct numbers *n;
	struct device *d;
	const struct slot *content;
};

static void add_below(struct numbers *n, const struct slot *s)
{
	for (uint32_t i = 0; i < s->val.n; i++)
		numbers_of(n, s->val.entry[i].value.data, s->val.entry[i].value.len);
	for (uint32_t i = 0; i < s->n; i++)
		add_below(n, s->child[i]);
}

/* An object or a list that lost is listed as one: its values stand in the record below. */
static void add_parts(struct losers *l, const char *pointer)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	const struct slot *s = l->content;
	while (s && *pointer == '/') {
		size_t len = strcspn(++pointer, "/");
		if (slot_step(&a, replica_actors(l->d->replica), s, pointer, len, &s) < 0)
			abort();
		pointer += len;
	}
	for (uint32_t i = 0; s && i < s->n; i++)
		add_below(l->n, s->child[i]);
}

static int add_loser(const char *pointer, const struct entry *shown, const struct entry *lost,
		     void *userdata)
{
	struct losers *l = userdata;
	(void)shown;
	if (value_is_container(lost->value.kind)) {
		add_parts(l, pointer);
		return 0;
	}
	if (lost->value.kind == VALUE_TEXT) {
		_cleanup_(buf_done) struct buf b = { 0 };
		if (slot_text(l->content, replica_actors(l->d->replica), &b, NULL) == 0)
			numbers_of(l->n, b.data, b.len);
		return 0;
	}
	if (lost->value.kind != VALUE_BLOB) {
		numbers_of(l->n, lost->value.data, lost->value.len);
		return 0;
	}
	struct blob_ref ref;
	char text[64];
	if (blob_ref_decode(&lost->value, &ref) < 0)
		return 0;
	ssize_t len = evict_read(l->d, &ref, text, sizeof(text));
	if (len > 0)
		numbers_of(l->n, text, (size_t)len);
	return 0;
}

/* The whole content; the caller frees it. */
static uint8_t *version_bytes(struct version *v, size_t *ret_len)
{
	size_t len = (size_t)version_size(v);
	uint8_t *p = malloc(len + 1);
	if (!p)
		abort();
	if (version_data(v)) {
		memcpy(p, version_data(v), len);
	} else if (version_pread(v, p, len, 0) != (ssize_t)len) {
		free(p);
		return NULL;
	}
	*ret_len = len;
	return p;
}

int file_numbers(struct device *d, const struct id *id, struct numbers *ret,
		 struct version **ret_version)
{
	struct version *v;
	int r = replica_read(d->replica, id, &v);
	if (r < 0)
		return r;
	size_t len = 0;
	uint8_t *p = version_bytes(v, &len);
	char away[32];
	ssize_t n_away = !p && version_blob(v) ? evict_read(d, version_blob(v), away, sizeof(away)) : -1;
	if (n_away > 0)
		numbers_of(ret, away, (size_t)n_away);
	/* A blob has its value in front. */
	if (p)
		numbers_of(ret, p, version_form(v) == FORM_BLOB && len > 32 ? 32 : len);
	free(p);
	struct arena a = { 0 };
	const struct record *record;
	struct losers l = { .n = ret, .d = d };
	if (check_record(d, &a, id, &record) == 0 && record->top)
		l.content = slot_find(record->top, TOP_CONTENT, strlen(TOP_CONTENT));
	replica_conflicts(d->replica, id, add_loser, &l);
	arena_done(&a);
	if (ret_version)
		*ret_version = v;
	else
		version_unref(v);
	return p || n_away >= 0 ? 0 : -EIO;
}

/* ---- the tree, as a program finds it ---- */

#define FOUND_MAX 64

struct found {
	struct attr attr;
	struct id parent;
	char name[NAME_MAX_BYTES + 1];
};

struct finding {
	struct found f[FOUND_MAX];
	unsigned n;
	struct id parent;
};

static int add_found(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	struct finding *f = userdata;
	if (f->n == FOUND_MAX)
		return 1;
	if (typed_name(name, len))
		return 0;
	struct found *x = &f->f[f->n++];
	x->attr = *attr;
	x->parent = f->parent;
	memcpy(x->name, name, len);
	x->name[len] = 0;
	return 0;
}

static void find_all(struct device *d, struct finding *f)
{
	f->n = 0;
	f->parent = NODE_ROOT;
	replica_list(d->replica, &f->parent, add_found, f);
	for (unsigned i = 0; i < f->n; i++)
		if (f->f[i].attr.kind == NODE_DIR) {
			f->parent = f->f[i].attr.id;
			replica_list(d->replica, &f->parent, add_found, f);
		}
}

static const struct found *pick(struct world *w, const struct finding *f, enum node_kind kind)
{
	for (int tries = 0; f->n > 0 && tries < 8; tries++) {
		const struct found *x = &f->f[prng_below(&w->r, f->n)];
		if (kind == 0 || x->attr.kind == kind)
			return x;
	}
	return NULL;
}

static struct id pick_dir(struct world *w, const struct finding *f)
{
	const struct found *x = prng_chance(&w->r, 70) ? pick(w, f, NODE_DIR) : NULL;
	return x ? x->attr.id : NODE_ROOT;
}

static const char *pick_name(struct world *w, enum node_kind kind)
{
	static const char *const file[] = { "a.json", "b.json", "c.json", "x.bin", "y.txt" };
	static const char *const dir[] = { "d", "e", "f" };
	if (kind == NODE_DIR)
		return dir[prng_below(&w->r, 3)];
	const char *name = file[prng_below(&w->r, 5)];
	if (w->parted && prng_chance(&w->part, 30))
		name = file[3];
	return w->slow && name == file[3] ? file[4] : name;
}

/* Remainders of the seeds of histories with hard links. */
#define LINKING (1u << 4 | 1u << 7 | 1u << 8 | 1u << 11)

/* What a file is saved as says the name that it had when it got its first hard link: the others are to
 * say the same. NULL: none was found. */
static const char *pick_name_like(struct world *w, const char *name)
{
	for (int tries = 0; tries < 8; tries++) {
		const char *other = pick_name(w, NODE_FILE);
		if (strcmp(strrchr(other, '.'), strrchr(name, '.') ? strrchr(name, '.') : "") == 0)
			return other;
	}
	return NULL;
}

static bool is_json(const char *name)
{
	size_t n = strlen(name);
	return n > 5 && strcmp(name + n - 5, ".json") == 0;
}

/* What is not JSON there is a text. */
static bool is_text(const char *name)
{
	size_t n = strlen(name);
	return is_json(name) || (n > 4 && strcmp(name + n - 4, ".txt") == 0);
}

/* What a failed operation may answer; anything else is a bug. */
static void allow(struct world *w, struct device *d, const char *what, int r)
{
	static const int fine[] = { ENOENT, EEXIST, ENOTEMPTY, EXDEV,   EISDIR, ENOTDIR,
				    EINVAL, ELOOP,  EBUSY,     ENODATA, EPERM, EROFS };
	if (r == -EIO || r == -ENOSPC) {
		store_fail(d->store, 0, 0);
		TRACE(w, "device %u: %s fails as told", d->no, what);
		return;
	}
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		if (r == -fine[i])
			return;
	/* Contents are away. */
	if (w->parted && r == -EHOSTDOWN)
		return;
	world_fail(w, "device %u: %s: %s", d->no, what, strerror(-r));
}

/* ---- operations ---- */

static void blob_print(struct world *w, struct buf *b, uint64_t value)
{
	buf_putf(b, "v%llu\n", (unsigned long long)value);
	size_t len = prng_chance(&w->r, 10) ? prng_below(&w->r, 200000) : prng_below(&w->r, 600);
	uint8_t *p = buf_reserve(b, len + 1);
	if (!p)
		world_fail(w, "out of memory");
	struct prng r = { w->value };
	uint64_t pattern = prng_u64(&r);
	for (size_t i = 0; i < len; i++) {
		if (i % 4096 == 0)
			pattern = prng_u64(&r);
		p[i] = (uint8_t)('A' + ((pattern >> (i % 60)) & 15));
	}
	b->len += len;
}

static void check_written(struct world *w, struct device *d, const struct id *id,
			  const struct buf *b)
{
	struct version *v;
	if (replica_read(d->replica, id, &v) < 0)
		world_fail(w, "device %u cannot read what it has just written", d->no);
	size_t len = 0;
	uint8_t *p = version_bytes(v, &len);
	bool same = p && len == b->len && (len == 0 || memcmp(p, b->data, len) == 0);
	if (!same && p)
		TRACE(w, "wrote %.*s\n--- read %.*s", (int)(b->len > 400 ? 400 : b->len), b->data,
		      (int)(len > 400 ? 400 : len), p);
	free(p);
	version_unref(v);
	if (!same)
		world_fail(w, "device %u reads other bytes than it has just written", d->no);
}

static void create(struct world *w, struct device *d, const struct finding *f)
{
	struct id parent = pick_dir(w, f);
	const char *name = pick_name(w, NODE_FILE);
	struct buf b = { 0 };
	struct doc none = { 0 }, doc = { 0 };
	bool json = is_json(name) && (!prng_chance(&w->r, 5) || w->slow);
	struct numbers nothing = { 0 }, lines = { 0 };
	if (json) {
		doc_change(w, &doc);
		doc_print(w, &doc, &b);
	} else if (is_text(name)) {
		text_change(w, &nothing, &lines);
		text_print(&lines, &b);
	} else {
		blob_print(w, &b, ++w->value);
	}
	struct content c = { .data = b.data, .len = b.len, .fd = -1 };
	struct attr attr;
	struct err e;
	int r = replica_create(d->replica, &parent, name, strlen(name), 0644, &c, SAVE_BY_NAME,
			       0, &attr, NULL, &e);
	TRACE(w, "device %u creates %s: %s", d->no, name, r < 0 ? strerror(-r) : "done");
	if (r == 0) {
		char hex[ID_HEX];
		TRACE(w, "  as %.8s", id_hex(&attr.id, hex));
		struct numbers saw = { 0 };
		if (json)
			doc_model(w, d, &attr.id, &none, &doc, &saw);
		else if (is_text(name))
			text_model(w, d, &attr.id, &nothing, &lines, &saw);
		else
			model_wrote(w, d, &attr.id, "", w->value);
		w->saves++;
		check_written(w, d, &attr.id, &b);
	} else {
		allow(w, d, "create", r);
	}
	numbers_clear(&lines);
	buf_done(&b);
}

static void save(struct world *w, struct device *d, const struct found *x)
{
	struct pin fresh = { 0 };
	struct pin *base = &d->pin[prng_below(&w->r, PINS)];
	bool pinned = base->version && prng_chance(&w->r, 60);
	if (!pinned) {
		if (file_numbers(d, &x->attr.id, &fresh.saw, &fresh.version) < 0) {
			pin_clear(&fresh);
			return;
		}
		base = &fresh;
	}
	struct id id = *version_node(base->version);
	struct version *head = NULL;
	bool newest = replica_read(d->replica, &id, &head) == 0 &&
		      id_equal(version_id(head), version_id(base->version));
	if (head)
		version_unref(head);
	struct doc old, new;
	bool was_doc = doc_read(base->version, &old);
	struct buf b = { 0 };
	/* Under another name than *.json a document becomes a blob when it is saved. */
	struct id parent;
	char name[NAME_MAX_BYTES + 1] = "";
	replica_parent(d->replica, &id, &parent, name);
	bool json = was_doc && is_json(name);
	bool text = !json && is_text(name);
	if (w->slow && !json && !text) {
		pin_clear(&fresh);
		return;
	}
	struct numbers was = { 0 }, lines = { 0 };
	if (json) {
		new = old;
		doc_change(w, &new);
		doc_print(w, &new, &b);
	} else if (text) {
		if (version_form(base->version) == FORM_TEXT)
			text_read(base->version, &was);
		text_change(w, &was, &lines);
		text_print(&lines, &b);
	} else {
		blob_print(w, &b, ++w->value);
	}
	struct content c = { .data = b.data, .len = b.len, .fd = -1 };
	struct err e;
	if (w->trace) {
		model_tell(w, d, &id);
		if (version_data(base->version))
			world_trace(w, "  base %.*s", (int)version_size(base->version),
				    (const char *)version_data(base->version));
	}
	int r = replica_save(d->replica, &id, base->version, &c, SAVE_BY_NAME, NULL, &e);
	char hex[ID_HEX];
	TRACE(w, "device %u saves %.8s, %s base: %s", d->no, id_hex(&id, hex),
	      newest ? "newest" : "older", r < 0 ? strerror(-r) : "done");
	if (w->trace && r == 0 && json)
		world_trace(w, "  %.*s", (int)b.len, (const char *)b.data);
	if (r == 0) {
		if (json) {
			doc_model(w, d, &id, &old, &new, &base->saw);
		} else if (text) {
			text_model(w, d, &id, &was, &lines, &base->saw);
		} else {
			model_covered(w, d, &id, "", &base->saw);
			model_wrote(w, d, &id, "", w->value);
		}
		w->saves++;
		if (newest)
			check_written(w, d, &id, &b);
	} else {
		allow(w, d, "save", r);
	}
	if (w->trace)
		model_tell(w, d, &id);
	numbers_clear(&was);
	numbers_clear(&lines);
	buf_done(&b);
	pin_clear(&fresh);
}

static void pin(struct world *w, struct device *d, const struct found *x)
{
	struct pin *p = &d->pin[prng_below(&w->r, PINS)];
	pin_clear(p);
	if (file_numbers(d, &x->attr.id, &p->saw, &p->version) < 0)
		pin_clear(p);
}

static bool is_gone(struct device *d, const struct id *id)
{
	struct attr now;
	return replica_attr(d->replica, id, &now) == -ENOENT;
}

static void take_away(struct world *w, struct device *d, const struct found *x)
{
	struct numbers saw = { 0 };
	char hex[ID_HEX];
	file_numbers(d, &x->attr.id, &saw, NULL);
	if (w->trace)
		model_tell(w, d, &x->attr.id);
	int r = replica_remove(d->replica, &x->attr.entry, 0);
	TRACE(w, "device %u removes %s (%.8s): %s", d->no, x->name, id_hex(&x->attr.id, hex),
	      r < 0 ? strerror(-r) : "done");
	/* It may have other names; but somebody else may be removing those. */
	if (r == 0)
		model_covered(w, d, &x->attr.id, "", &saw);
	else
		allow(w, d, "remove", r);
	numbers_clear(&saw);
}

/* A file that went to another collection is another node there. */
static void moved(struct world *w, struct device *d, const struct id *old, const struct id *new,
		  const struct numbers *saw)
{
	struct version *v;
	model_covered(w, d, old, "", saw);
	if (replica_read(d->replica, new, &v) < 0)
		return;
	struct doc none = { 0 }, doc;
	struct numbers nothing = { 0 };
	if (doc_read(v, &doc)) {
		doc_model(w, d, new, &none, &doc, &nothing);
	} else if (version_form(v) == FORM_TEXT) {
		struct numbers lines = { 0 };
		text_read(v, &lines);
		text_model(w, d, new, &nothing, &lines, &nothing);
		numbers_clear(&lines);
	} else {
		struct numbers n = { 0 };
		file_numbers(d, new, &n, NULL);
		for (uint32_t i = 0; i < n.n; i++)
			model_wrote(w, d, new, "", n.v[i]);
		numbers_clear(&n);
	}
	version_unref(v);
}

static void rename_it(struct world *w, struct device *d, const struct finding *f,
		      const struct found *x)
{
	struct id parent = pick_dir(w, f), id = x->attr.entry;
	/* Who does not know yet that another one links it renames it, too. */
	bool like = x->attr.kind != NODE_DIR && LINKING & 1u << w->seed % 12;
	const char *name = like ? pick_name_like(w, x->name) : pick_name(w, x->attr.kind);
	if (!name)
		return;
	unsigned flags = prng_chance(&w->r, 20)   ? RENAME_FLAG_NOREPLACE
			 : prng_chance(&w->r, 10) ? RENAME_FLAG_EXCHANGE
						  : 0;
	struct attr target;
	bool over = replica_lookup(d->replica, &parent, name, strlen(name), &target) == 0 &&
		    !id_equal(&target.id, &x->attr.id);
	struct numbers saw = { 0 }, saw_target = { 0 };
	file_numbers(d, &x->attr.id, &saw, NULL);
	if (over)
		file_numbers(d, &target.id, &saw_target, NULL);
	int r = replica_rename(d->replica, &x->attr.entry, &parent, name, strlen(name), flags, &id);
	char hex[ID_HEX], hex_new[ID_HEX], hex_over[ID_HEX];
	TRACE(w, "device %u renames %s (%.8s) to %s (%.8s), flags %u: %s, now %.8s", d->no, x->name,
	      id_hex(&x->attr.id, hex), name, over ? id_hex(&target.id, hex_over) : "none", flags,
	      r < 0 ? strerror(-r) : "done", id_hex(&id, hex_new));
	if (r < 0) {
		allow(w, d, "rename", r);
	} else {
		if (!id_equal(&id, &x->attr.entry))
			moved(w, d, &x->attr.id, &id, &saw);
		struct attr now;
		if (over && flags == 0) {
			model_covered(w, d, &target.id, "", &saw_target);
		} else if (over && flags == RENAME_FLAG_EXCHANGE &&
			   /* Else it only has another name, and who has that one may be a third. */
			   is_gone(d, &target.id) &&
			   replica_lookup(d->replica, &x->parent, x->name, strlen(x->name), &now) ==
				   0 &&
			   !id_equal(&now.id, &target.id)) {
			moved(w, d, &target.id, &now.id, &saw_target);
		}
	}
	numbers_clear(&saw);
	numbers_clear(&saw_target);
}

static void link_it(struct world *w, struct device *d, const struct finding *f)
{
	const struct found *x = pick(w, f, prng_chance(&w->r, 90) ? NODE_FILE : NODE_LINK);
	struct id parent = pick_dir(w, f);
	const char *name = x ? pick_name_like(w, x->name) : NULL;
	char hex[ID_HEX];
	if (!name)
		return;
	int r = replica_link(d->replica, &x->attr.id, &parent, name, strlen(name), NULL);
	TRACE(w, "device %u links %s (%.8s) to %s: %s", d->no, x->name, id_hex(&x->attr.id, hex),
	      name, r < 0 ? strerror(-r) : "done");
	if (r < 0)
		allow(w, d, "link", r);
}

static void metadata(struct world *w, struct device *d, const struct found *x)
{
	static const char *const names[] = { "user.one", "user.two" };
	const char *name = names[prng_below(&w->r, 2)];
	int r;
	switch (prng_below(&w->r, 4)) {
	case 0:
		r = replica_set_mode(d->replica, &x->attr.id, (uint32_t)prng_below(&w->r, 01000));
		break;
	case 1:
		r = replica_set_mtime(d->replica, &x->attr.id,
				      (int64_t)prng_below(&w->r, 2000000000) * 1000000000);
		break;
	case 2:
		r = replica_remove_xattr(d->replica, &x->attr.id, name);
		break;
	default:
		r = replica_set_xattr(d->replica, &x->attr.id, name, &w->value, sizeof(w->value),
				      false, false);
		break;
	}
	if (r < 0)
		allow(w, d, "metadata", r);
}

/* Something that was deleted comes back, with the directories that it was in. Its values do as well;
 * nobody owes them. */
static void restore(struct world *w, struct device *d)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf path = { 0 };
	struct deleted *all;
	uint32_t n;
	int r = replica_deleted(d->replica, &a, &all, &n);
	if (r < 0)
		allow(w, d, "list of deletions", r);
	if (r < 0 || n == 0)
		return;
	const struct deleted *x = &all[prng_below(&w->r, n)];
	struct err e = { 0 };
	char hex[ID_HEX];
	r = replica_undelete(d->replica, &x->id, NULL, NULL, 0, &e);
	TRACE(w, "device %u brings back %s (%.8s): %s", d->no, x->name, id_hex(&x->id, hex),
	      r < 0 ? e.message : "done");
	if (r < 0)
		allow(w, d, "undelete", r);
	else if (replica_path(d->replica, &x->id, &path) < 0)
		world_fail(w, "device %u cannot find what it has just brought back", d->no);
}

/* What a daemon does now and then. */
static void tidy(struct world *w, struct device *d)
{
	const struct history_policy policy = { .keep_us = prng_below(&w->r, 3600) * 1000000,
					       .bytes = prng_chance(&w->r, 30) ? 1000 : UINT64_MAX };
	struct history_walk walk = { 0 };
	struct sweep_report report;
	struct err e = { 0 };
	int r;
	do
		r = replica_history_thin(d->replica, &policy, &walk, &e);
	while (r > 0);
	if (r == 0)
		r = replica_sweep(d->replica, &report, &e);
	TRACE(w, "device %u tidies up: %s", d->no, r < 0 ? e.message : "done");
	if (r < 0)
		allow(w, d, "tidying up", r);
}

static void operate(struct world *w, struct device *d)
{
	struct finding f;
	/* Not in all histories, so that those of seeds.txt stay what they were. */
	if (w->seed % 4 == 0 && prng_chance(&w->r, 8)) {
		if (prng_chance(&w->r, 70))
			restore(w, d);
		else
			tidy(w, d);
		return;
	}
	if (!w->parted && w->seed % 5 == 0 && prng_chance(&w->r, 20)) {
		int r = batch_step(w, d);
		if (r < 0)
			allow(w, d, "a batch", r);
		return;
	}
	if (!w->parted && w->seed % 7 == 0 && prng_chance(&w->r, 50)) {
		int r = typed_step(w, d);
		if (r < 0)
			allow(w, d, "a document with types", r);
		return;
	}
	find_all(d, &f);
	if (w->seed % 7 == 6 && prng_chance(&w->r, 6)) {
		struct id dir = pick_dir(w, &f);
		int r = typed_declare_any(w, d, &dir);
		if (r < 0)
			allow(w, d, "a declaration", r);
		return;
	}
	if (LINKING & 1u << w->seed % 12 && prng_chance(&w->r, 8)) {
		link_it(w, d, &f);
		return;
	}
	const struct found *x = NULL, *file = pick(w, &f, NODE_FILE);
	uint64_t what = prng_below(&w->r, 100);
	int r = 0;
	/* Saves and pins, most of one file: what one of them changed is passed on with later ones. */
	if (w->meshed && prng_chance(&w->r, 95))
		what = 22 + what % 50;
	for (unsigned i = 0; w->meshed && i < f.n && prng_chance(&w->r, 80); i++)
		if (f.f[i].attr.kind == NODE_FILE)
			file = &f.f[i];
	if (what < 15 || f.n < (w->meshed ? 2 : 3)) {
		create(w, d, &f);
	} else if (what < 20) {
		struct id parent = pick_dir(w, &f);
		struct attr attr;
		const char *name = pick_name(w, NODE_DIR);
		r = replica_mkdir(d->replica, &parent, name, strlen(name), 0755, &attr);
		TRACE(w, "device %u makes directory %s: %s", d->no, name,
		      r < 0 ? strerror(-r) : "done");
	} else if (what < 22) {
		struct id parent = pick_dir(w, &f);
		struct attr attr;
		r = replica_symlink(d->replica, &parent, "link", 4, "a.json", &attr);
		TRACE(w, "device %u makes a link: %s", d->no, r < 0 ? strerror(-r) : "done");
	} else if (what < 65 && file) {
		save(w, d, file);
	} else if (what < 75 && file) {
		pin(w, d, file);
	} else if (what < 82 && (x = pick(w, &f, 0))) {
		take_away(w, d, x);
	} else if (what < 92 && (x = pick(w, &f, 0))) {
		rename_it(w, d, &f, x);
	} else if ((x = pick(w, &f, 0))) {
		metadata(w, d, x);
	}
	if (r < 0)
		allow(w, d, "make", r);
}

void work_step(struct world *w)
{
	/* Somebody who works there saves time and again. */
	if (!w->meshed || prng_chance(&w->r, 20))
		w->writer = (unsigned)prng_below(&w->r, w->n_devices);
	struct device *d = &w->device[w->writer];
	if (d->replica && prng_chance(&w->r, 50))
		operate(w, d);
}
