/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `blame`: what a file's record still knows of its past: who last wrote each value that is there,
 * and when. Of a text also who wrote each line. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/element.h"
#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"
#include "tools/history.h"

#define ITEMS_MAX 4096
#define POINTERS_MAX 256 /* named of one batch */
#define LINES_SIZE_MAX (4u * 1024 * 1024) /* bytes of an answer about lines, roughly */

/* What one batch of one device left in the record. */
struct item {
	struct dot dot;
	uint64_t hlc;
	bool content, name, attributes;
	struct buf pointers; /* JSON texts, separated by commas */
	uint32_t n_pointers;
};

struct origins {
	const struct actors *actors;
	struct item item[ITEMS_MAX];
	uint32_t n;
	bool more; /* older ones were left out */
};

struct text {
	struct line *line; /* arena; NULL: it is none */
	uint32_t n;
};

static struct item *item_of(struct origins *h, const struct dot *dot, uint64_t hlc)
{
	for (uint32_t i = h->n; i-- > 0;)
		if (h->item[i].dot.actor == dot->actor && h->item[i].dot.seq == dot->seq) {
			if (hlc > h->item[i].hlc)
				h->item[i].hlc = hlc;
			return &h->item[i];
		}
	if (h->n == ITEMS_MAX) {
		h->more = true;
		return NULL;
	}
	h->item[h->n] = (struct item){ .dot = *dot, .hlc = hlc };
	return &h->item[h->n++];
}

static void add_pointer(struct item *i, const struct buf *pointer)
{
	if (i->n_pointers++ >= POINTERS_MAX)
		return;
	if (i->pointers.len)
		buf_u8(&i->pointers, ',');
	json_write_string(&i->pointers, pointer->data ? (const char *)pointer->data : "",
			  pointer->len, JSON_ESCAPE_MINIMAL);
}

static void walk_content(struct origins *h, const struct slot *s, struct buf *pointer);

static void walk_parts(struct origins *h, const struct slot *s, enum value_kind kind,
		       struct buf *pointer)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct slot **part;
	uint32_t n;
	if (slot_parts(&a, h->actors, s, kind, &part, &n) < 0) {
		h->more = true;
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		size_t len = pointer->len;
		pointer_step(pointer, kind, part[i], i);
		walk_content(h, part[i], pointer);
		pointer->len = len;
	}
}

/* The content's slots; pointer is that of s. Records bound their own depth (RECORD_DEPTH_MAX). */
static void walk_content(struct origins *h, const struct slot *s, struct buf *pointer)
{
	for (uint32_t i = 0; i < s->val.n; i++) {
		struct item *it = item_of(h, &s->val.entry[i].dot, s->val.entry[i].hlc);
		if (!it)
			continue;
		it->content = true;
		add_pointer(it, pointer);
	}
	walk_parts(h, s, VALUE_MAP, pointer);
	walk_parts(h, s, VALUE_LIST, pointer);
}

static void walk_attributes(struct origins *h, const struct slot *s)
{
	for (uint32_t i = 0; i < s->val.n; i++) {
		struct item *it = item_of(h, &s->val.entry[i].dot, s->val.entry[i].hlc);
		if (it)
			it->attributes = true;
	}
	for (uint32_t i = 0; i < s->n; i++)
		walk_attributes(h, s->child[i]);
}

static bool is_key(const struct slot *s, const char *key)
{
	return s->key_len == strlen(key) && memcmp(s->key, key, s->key_len) == 0;
}

static void walk_record(struct origins *h, const struct record *r)
{
	_cleanup_(buf_done) struct buf pointer = { 0 };
	for (uint32_t i = 0; r->top && i < r->top->n; i++) {
		const struct slot *s = r->top->child[i];
		if (is_key(s, TOP_CONTENT))
			walk_content(h, s, &pointer);
		else if (is_key(s, TOP_MODE) || is_key(s, TOP_XATTR))
			walk_attributes(h, s);
		else if (is_key(s, TOP_MTIME)) /* comes with each content; named if it came alone */
			for (uint32_t k = 0; k < s->val.n; k++)
				item_of(h, &s->val.entry[k].dot, s->val.entry[k].hlc);
	}
	for (uint32_t i = 0; i < r->n_edges; i++) {
		struct item *it = item_of(h, &r->edge[i].dot, 0);
		if (it)
			it->name = true;
	}
}

static int newer_first(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	if (x->hlc != y->hlc)
		return x->hlc > y->hlc ? -1 : 1;
	return x->dot.seq > y->dot.seq ? -1 : x->dot.seq < y->dot.seq;
}

static void put_item(struct daemon *d, struct jsonw *w, struct item *i)
{
	const struct actors *actors = replica_actors(d->replica);
	char device[DEVICE_LABEL_SIZE], time[TIME_TEXT_SIZE];
	jsonw_object_begin(w);
	jsonw_key(w, "time");
	jsonw_string(w, i->hlc ? report_time(hlc_us(i->hlc), time) : NULL);
	jsonw_key(w, "device");
	jsonw_string(w, report_device(d, &actors_get(actors, i->dot.actor)->device, device));
	jsonw_key(w, "seq");
	jsonw_uint(w, i->dot.seq);
	jsonw_key(w, "what");
	jsonw_array_begin(w);
	if (i->content)
		jsonw_string(w, "content");
	if (i->name)
		jsonw_string(w, "name");
	if (i->attributes || (!i->content && !i->name))
		jsonw_string(w, "attributes");
	jsonw_array_end(w);
	jsonw_key(w, "pointers");
	buf_puts(&i->pointers, "]");
	_cleanup_(buf_done) struct buf list = { 0 };
	buf_puts(&list, "[");
	buf_put(&list, i->pointers.data, i->pointers.len);
	const char *text = buf_cstr(&list);
	if (text && !buf_failed(&i->pointers))
		jsonw_raw(w, text, list.len);
	else
		jsonw_null(w);
	jsonw_key(w, "pointers_left_out");
	jsonw_uint(w, i->n_pointers > POINTERS_MAX ? i->n_pointers - POINTERS_MAX : 0);
	jsonw_object_end(w);
}

static void put_line(struct daemon *d, struct jsonw *w, const struct line *line, uint32_t number)
{
	char device[DEVICE_LABEL_SIZE], time[TIME_TEXT_SIZE];
	size_t len = line->len - (line->text[line->len - 1] == '\n');
	jsonw_object_begin(w);
	jsonw_key(w, "line");
	jsonw_uint(w, number);
	jsonw_key(w, "time");
	jsonw_string(w, report_time(line->us, time));
	jsonw_key(w, "older");
	jsonw_bool(w, line->older);
	jsonw_key(w, "device");
	jsonw_string(w, report_device(d, &actors_get(replica_actors(d->replica), line->actor)->device,
				      device));
	jsonw_key(w, "seq");
	jsonw_uint(w, line->seq);
	jsonw_key(w, "text");
	jsonw_string_n(w, line->text, len);
	jsonw_object_end(w);
}

/* Null for what is no text. */
static void put_lines(struct daemon *d, struct jsonw *w, const struct buf *b, const struct text *t)
{
	uint32_t i = 0;
	jsonw_key(w, "lines");
	if (t->line)
		jsonw_array_begin(w);
	else
		jsonw_null(w);
	for (; i < t->n && b->len < LINES_SIZE_MAX; i++)
		put_line(d, w, &t->line[i], i + 1);
	if (t->line)
		jsonw_array_end(w);
	jsonw_key(w, "lines_left_out");
	jsonw_uint(w, t->n - i);
}

static void put_origins(struct daemon *d, const char *path, const struct attr *attr,
			struct origins *h, const struct text *text, struct buf *b)
{
	struct jsonw w;
	char hex[ID_HEX];
	qsort(h->item, h->n, sizeof(h->item[0]), newer_first);
	jsonw_init(&w, b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "path");
	jsonw_string(&w, path);
	jsonw_key(&w, "version");
	jsonw_string(&w, id_hex(&attr->version, hex));
	jsonw_key(&w, "conflict");
	jsonw_bool(&w, attr->conflict);
	jsonw_key(&w, "changes");
	jsonw_array_begin(&w);
	for (uint32_t i = 0; i < h->n; i++)
		put_item(d, &w, &h->item[i]);
	jsonw_array_end(&w);
	jsonw_key(&w, "left_out");
	jsonw_bool(&w, h->more);
	put_lines(d, &w, b, text);
	jsonw_object_end(&w);
	jsonw_end(&w);
}

/* The record comes from a durable view: what is not yet on the disk is flushed first. */
static int read_record(struct daemon *d, const struct attr *attr, struct arena *a,
		       struct delta **ret, struct view **ret_view, struct err *e)
{
	if (replica_dirty(d->replica)) {
		int r = replica_flush(d->replica, e);
		if (r < 0)
			return r;
	}
	*ret_view = replica_view(d->replica);
	int r = *ret_view ? view_whole(*ret_view, &attr->id, a, ret, e) : -EIO;
	if (r == 0 && !*ret)
		return err_set(e, -ENOENT, "nothing is recorded of it yet");
	return r;
}

/* It may have become something else at this moment. */
static int read_text(struct daemon *d, const struct attr *attr, struct arena *a, struct text *ret)
{
	int r = attr->form == FORM_TEXT ? replica_lines(d->replica, &attr->id, a, &ret->line, &ret->n)
					: 0;
	return r == -EINVAL ? 0 : r;
}

void method_blame(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = "";
	struct err e = { 0 };
	struct attr attr;
	struct delta *delta = NULL;
	_cleanup_(view_unrefp) struct view *view = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct origins *h = NULL;
	struct text text = { 0 };
	int r = param_text(call_arena(call), params, "path", &path, &e);
	if (r == 0)
		r = history_live(d, path, &attr, &e);
	if (r == 0)
		r = read_record(d, &attr, call_arena(call), &delta, &view, &e);
	if (r == 0)
		r = read_text(d, &attr, call_arena(call), &text);
	if (r == 0) {
		h = calloc(1, sizeof(*h));
		r = -ENOMEM;
	}
	if (!h) {
		if (!e.code)
			err_errno(&e, r, "cannot read who wrote \"%.120s\"", path);
		call_error(call, &e);
		return;
	}
	h->actors = replica_actors(d->replica);
	walk_record(h, &delta->state);
	put_origins(d, path, &attr, h, &text, &b);
	for (uint32_t i = 0; i < h->n; i++)
		buf_done(&h->item[i].pointers);
	free(h);
	call_result(call, &b, false);
}
