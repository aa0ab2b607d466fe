/* SPDX-License-Identifier: GPL-2.0-or-later */

/* What competes in a file, as people see it, and its end. A value is named by what it is, not by
 * who wrote it, so that its name is the same on every device and after somebody took it back:
 *     four digits of SHA-256(pointer), six of SHA-256(what kind of value, the value). */

#include "engine/replica-impl.h"

#include <errno.h>
#include <strings.h>

#include "engine/conflict.h"
#include "engine/element.h"
#include "engine/json.h"
#include "engine/jsonptr.h"
#include "engine/render.h"
#include "engine/text.h"

#define PLACE_DIGITS 4

/* ---- what ---- */

static void put_digits(const struct sha256_part *part, size_t n, unsigned digits, char *to)
{
	char hex[ID_HEX];
	struct id id;
	sha256_id(part, n, &id);
	memcpy(to, id_hex(&id, hex), digits);
	to[digits] = 0;
}

static void name_place(const char *pointer, size_t len, char *to)
{
	const struct sha256_part part = { pointer, len };
	put_digits(&part, 1, PLACE_DIGITS, to);
}

/* A value that stands at the slot. inline_text: one line of JSON, or a text, for the name. */
static void name_value(const struct value *v, const struct buf *inline_text, char *to)
{
	const char *kind = v->kind == VALUE_BLOB ? "blob" :
			   v->kind == VALUE_LINK ? "link" :
			   v->kind == VALUE_TEXT ? "text" : "json";
	const struct sha256_part part[2] = {
		{ kind, 4 },
		value_is_json(v->kind) || v->kind == VALUE_TEXT ?
			(struct sha256_part){ inline_text->data, inline_text->len } :
			(struct sha256_part){ v->data, v->len },
	};
	put_digits(part, 2, RIVAL_ID_SIZE - 1 - PLACE_DIGITS, to + PLACE_DIGITS);
}

struct naming {
	const struct replica *r;
	struct arena *a;
	uint8_t layout; /* of the text, as enum json_layout */
};

static int rival_make(const struct naming *k, const struct conflict *c, const struct entry *e,
		      struct rival *ret)
{
	_cleanup_(buf_done) struct buf line = { 0 }, broken = { 0 };
	struct buf *text = &line;
	struct rival v = { .kind = e->value.kind, .actor = e->dot.actor, .hlc = e->hlc };
	int rc = 0;
	if (value_is_json(v.kind))
		rc = render_value(k->a, k->r->actors, c->slot, &e->value, JSON_LAYOUT_INLINE, &line);
	else if (v.kind == VALUE_BLOB)
		rc = blob_ref_decode(&e->value, &v.blob);
	else if (v.kind == VALUE_TEXT)
		rc = slot_text(c->slot, k->r->actors, &line, NULL);
	else
		buf_put(&line, e->value.data, e->value.len);
	if (rc == 0 && value_is_json(v.kind) && k->layout != JSON_LAYOUT_INLINE) {
		text = &broken;
		rc = render_value(k->a, k->r->actors, c->slot, &e->value, k->layout, text);
	}
	if (rc == 0 && (buf_failed(&line) || buf_failed(text)))
		rc = -ENOMEM;
	if (rc < 0)
		return rc;
	name_place(c->pointer, c->len, v.id);
	name_value(&e->value, &line, v.id);
	if (v.kind != VALUE_BLOB) {
		v.text = arena_dup(k->a, text->data, text->len);
		v.len = text->len;
		if (!v.text)
			return -ENOMEM;
	}
	*ret = v;
	return 0;
}

static struct rival *rival_find(struct contest *t, const char *id)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (!strcmp(t->lost[i].id, id))
			return &t->lost[i];
	return NULL;
}

/* Of two devices that wrote the same one stays, the later. */
static int contest_make(const struct naming *k, const struct conflict *c, struct contest *ret)
{
	struct contest t = { .pointer = arena_dup(k->a, c->pointer, c->len), .len = c->len,
			     .lost = arena_array(k->a, c->n, sizeof(*t.lost)) };
	if (!t.pointer || !t.lost)
		return -ENOMEM;
	int rc = rival_make(k, c, c->shown, &t.shown);
	for (uint32_t i = 0; rc == 0 && i < c->n; i++) {
		struct rival v, *same;
		rc = rival_make(k, c, c->lost[i], &v);
		if (rc < 0)
			break;
		same = rival_find(&t, v.id);
		if (!same)
			t.lost[t.n++] = v;
		else if (v.hlc > same->hlc)
			*same = v;
	}
	if (rc == 0)
		*ret = t;
	return rc;
}

struct collect {
	struct naming naming;
	struct buf contests;
};

static int collect_contest(const struct conflict *c, const struct entry **ret_take, void *userdata)
{
	struct collect *k = userdata;
	struct contest t;
	(void)ret_take;
	int rc = contest_make(&k->naming, c, &t);
	if (rc == 0)
		buf_put(&k->contests, &t, sizeof(t));
	return rc;
}

static int record_contests(struct replica *r, const struct record *rec, struct arena *a,
			   uint8_t layout, struct contest **ret, uint32_t *ret_n)
{
	struct collect k = { .naming = { r, a, layout } };
	int rc = record_conflict_places(rec, r->actors, collect_contest, &k);
	uint32_t n = (uint32_t)(k.contests.len / sizeof(**ret));
	struct contest *list = rc == 0 ? arena_array(a, n ? n : 1, sizeof(*list)) : NULL;
	if (rc == 0 && (!list || buf_failed(&k.contests)))
		rc = -ENOMEM;
	if (rc == 0) {
		if (n)
			memcpy(list, k.contests.data, n * sizeof(*list));
		*ret = list;
		*ret_n = n;
	}
	buf_done(&k.contests);
	return rc;
}

int replica_contests(struct replica *r, const struct id *id, bool lines, struct arena *a,
		     struct contest **ret, uint32_t *ret_n)
{
	struct stored s;
	int rc = record_live(r, a, id, &s);
	if (rc == 0)
		rc = record_contests(r, s.record, a,
				     lines ? JSON_LAYOUT_INLINE : JSON_LAYOUT_BROKEN, ret, ret_n);
	return rc;
}

/* ---- the end ---- */

struct wanted {
	struct naming naming;
	const char *pointer; /* NULL: everywhere */
	size_t len;
	const char *take;    /* NULL: what is shown stays; else a whole identifier */
	struct commit *c;
	struct pointers told;
	uint32_t n;
};

static bool inside(const char *pointer, size_t len, const char *top, size_t top_len)
{
	return len >= top_len && !memcmp(pointer, top, top_len) &&
	       (len == top_len || pointer[top_len] == '/');
}

static int pick(const struct wanted *k, const struct conflict *c, const struct entry **ret)
{
	struct rival v;
	if (!k->take) {
		*ret = c->shown;
		return 0;
	}
	for (uint32_t i = 0; i < c->n; i++) {
		int rc = rival_make(&k->naming, c, c->lost[i], &v);
		if (rc < 0)
			return rc;
		if (!strcmp(v.id, k->take)) {
			*ret = c->lost[i];
			return 0;
		}
	}
	return 0;
}

static int choose(const struct conflict *c, const struct entry **ret_take, void *userdata)
{
	struct wanted *k = userdata;
	if (k->pointer && !inside(c->pointer, c->len, k->pointer, k->len))
		return 0;
	int rc = pick(k, c, ret_take);
	if (rc < 0 || !*ret_take)
		return rc;
	k->n++;
	pointers_add(k->c, &k->told, c->pointer, c->len);
	return 0;
}

static int settle_locked(struct commit *c, const struct id *id, struct wanted *k)
{
	struct stored old;
	struct touched *t;
	const struct record *rec;
	int rc = record_live(c->r, &c->arena, id, &old);
	if (rc == 0)
		rc = record_settle(&c->arena, c->r->actors, old.record, choose, k, &c->stamp, &rec);
	if (rc < 0 || rec == old.record)
		return rc;
	rc = commit_put(c, &old, rec, CHANGE_CONTENT, &t);
	if (rc == 0)
		pointers_give(&k->told, t);
	return rc;
}

/* ---- what `take` means ---- */

struct search {
	struct naming naming;
	const struct wanted *wanted;
	size_t digits;
	char found[RIVAL_ID_SIZE];
	bool several;
	struct buf pointer;
};

static void search_one(struct search *s, const char *id)
{
	if (strncasecmp(id, s->wanted->take, s->digits) != 0)
		return;
	s->several |= s->found[0] && strcmp(s->found, id) != 0;
	memcpy(s->found, id, RIVAL_ID_SIZE);
}

static int search_shown(struct search *s, const struct slot *slot);

static int search_parts(struct search *s, const struct slot *slot, enum value_kind kind)
{
	_cleanup_(arena_done) struct arena tmp = { 0 };
	struct slot **part;
	uint32_t n;
	int rc = slot_parts(&tmp, s->naming.r->actors, slot, kind, &part, &n);
	for (uint32_t i = 0; rc == 0 && i < n; i++) {
		size_t len = s->pointer.len;
		pointer_step(&s->pointer, kind, part[i], i);
		rc = search_shown(s, part[i]);
		s->pointer.len = len;
	}
	return rc;
}

/* Is it what is shown somewhere? Of values elsewhere only the place is computed. */
static int search_shown(struct search *s, const struct slot *slot)
{
	char id[RIVAL_ID_SIZE];
	const struct entry *shown;
	enum value_kind kind;
	int rc = 0;
	if (!slot_shown(slot, s->naming.r->actors, &shown, &kind))
		return 0;
	const struct entry made = { .value.kind = kind };
	const struct conflict c = { .pointer = buf_cstr(&s->pointer), .len = s->pointer.len,
				    .slot = slot, .shown = shown ? shown : &made };
	if (!c.pointer)
		return -ENOMEM;
	name_place(c.pointer, c.len, id);
	if ((!s->wanted->pointer ||
	     inside(c.pointer, c.len, s->wanted->pointer, s->wanted->len)) &&
	    !strncasecmp(id, s->wanted->take, PLACE_DIGITS)) {
		struct rival v;
		rc = rival_make(&s->naming, &c, c.shown, &v);
		if (rc == 0)
			search_one(s, v.id);
	}
	return rc < 0 || !value_is_container(kind) ? rc : search_parts(s, slot, kind);
}

/* The whole identifier. 1: it is shown already. */
static int search(struct replica *r, struct arena *a, const struct record *rec,
		  const struct wanted *k, char ret[static RIVAL_ID_SIZE], struct err *e)
{
	struct search s = { .naming = k->naming, .wanted = k, .digits = strlen(k->take) };
	const struct slot *content = rec->top ? slot_find(rec->top, TOP_CONTENT, strlen(TOP_CONTENT)) :
						NULL;
	struct contest *t;
	uint32_t n;
	if (s.digits < PLACE_DIGITS || s.digits >= RIVAL_ID_SIZE ||
	    s.digits != strspn(k->take, "0123456789abcdefABCDEF"))
		return err_set(e, -EINVAL, "\"%.40s\" is no identifier: those have %d to %d "
			       "hexadecimal digits", k->take, PLACE_DIGITS, RIVAL_ID_SIZE - 1);
	int rc = record_contests(r, rec, a, JSON_LAYOUT_INLINE, &t, &n);
	for (uint32_t i = 0; rc == 0 && i < n; i++)
		for (uint32_t j = 0; j < t[i].n; j++)
			if (!k->pointer || inside(t[i].pointer, t[i].len, k->pointer, k->len))
				search_one(&s, t[i].lost[j].id);
	bool lost = s.found[0];
	if (rc == 0 && !lost && content)
		rc = search_shown(&s, content);
	buf_done(&s.pointer);
	if (rc < 0)
		return err_errno(e, rc, "cannot look at the values that lost");
	if (s.several)
		return err_set(e, -ENOTUNIQ, "several values begin with %s: give more digits", k->take);
	if (!s.found[0])
		return err_set(e, -ENOENT, "no value that lost there has the identifier %s", k->take);
	memcpy(ret, s.found, RIVAL_ID_SIZE);
	return !lost;
}

static int check_pointer(struct arena *a, const struct actors *actors, const struct record *rec,
			 const char *pointer, size_t len, struct err *e)
{
	_cleanup_(buf_done) struct buf token = { 0 };
	const struct slot *s = rec->top ? slot_find(rec->top, TOP_CONTENT, strlen(TOP_CONTENT)) : NULL;
	const char *p = pointer;
	while (len > 0) {
		int rc = json_pointer_next(&p, &len, &token, e);
		if (rc == 0)
			rc = slot_step(a, actors, s, token.len ? (const char *)token.data : "",
				       token.len, &s);
		if (rc < 0)
			return rc;
	}
	return slot_live(s) ? 0 : err_set(e, -ENOENT, "\"%.100s\" is no place with a value of its own",
					  pointer);
}

int replica_settle(struct replica *r, const struct id *id, const char *pointer, const char *take,
		   uint32_t *ret_n, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct wanted k = { .naming = { r, &a, JSON_LAYOUT_INLINE }, .pointer = pointer,
			    .len = pointer ? strlen(pointer) : 0, .take = take };
	char whole[RIVAL_ID_SIZE];
	struct stored s;
	struct commit c;
	int rc = record_live(r, &a, id, &s);
	if (rc < 0)
		return err_errno(e, rc, "cannot look at it");
	if (pointer)
		rc = check_pointer(&a, r->actors, s.record, pointer, k.len, e);
	if (rc == 0 && take)
		rc = search(r, &a, s.record, &k, whole, e);
	if (rc != 0) {
		if (rc > 0)
			*ret_n = 0;
		return rc < 0 ? rc : 0;
	}
	if (take)
		k.take = whole;
	commit_begin(&c, r, false);
	k.c = &c;
	rc = settle_locked(&c, id, &k);
	if (rc < 0)
		err_errno(e, rc, "cannot settle it");
	else if (take && k.n == 0) /* since it was looked for */
		rc = err_set(e, -EAGAIN, "it has changed at this moment: look again");
	else
		rc = commit_end(&c, e);
	commit_done(&c);
	pointers_done(&k.told);
	if (rc == 0)
		*ret_n = k.n;
	return rc;
}
