/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `cat` and `log`: a file's content, and what its record still knows of its past: who last wrote
 * each value that is there, and when. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/clock.h"
#include "engine/jsonptr.h"
#include "engine/jsonw.h"
#include "tools/base64.h"
#include "tools/control.h"
#include "tools/daemon.h"

#define CAT_CHUNK 49152 /* a multiple of three, so that the encoded parts can be joined */
#define LOG_ITEMS_MAX 4096
#define LOG_POINTERS_MAX 256 /* named of one batch */

struct cat {
	struct version *version;
	uint64_t offset;
};

static void cat_free(struct cat *c)
{
	version_unref(c->version);
	free(c);
}

static void cat_cancel(struct call *call, void *userdata)
{
	(void)call;
	cat_free(userdata);
}

static void cat_go_on(struct call *call, void *userdata)
{
	struct cat *c = userdata;
	uint8_t data[CAT_CHUNK];
	bool last = false;
	while (!last && call_backlog(call) < CTL_ROOM) {
		ssize_t n = version_pread(c->version, data, sizeof(data), c->offset);
		if (n < 0) {
			cat_free(c);
			call_fail(call, (int)n, "cannot read the contents: %s",
				  n == -EHOSTDOWN ? "they are not on this device, and nobody who has them is here" :
						    "the store failed; try `shoal verify`");
			return;
		}
		c->offset += (uint64_t)n;
		last = n == 0 || c->offset >= version_size(c->version);
		_cleanup_(buf_done) struct buf b = { 0 };
		buf_puts(&b, "{\"data\":\"");
		base64_encode(data, (size_t)n, &b);
		buf_puts(&b, "\"}");
		if (last)
			cat_free(c);
		call_result(call, &b, !last);
	}
}

static int find(struct daemon *d, const char *path, struct attr *ret, struct err *e)
{
	int r = path_resolve(d->replica, path, ret, e);
	if (r != -ENOENT)
		return r;
	daemon_settle(d);
	return path_resolve(d->replica, path, ret, e);
}

/* version: empty, or the first digits of a version's id. */
static int check_version(const struct version *v, const char *path, const char *version,
			 struct err *e)
{
	char hex[ID_HEX];
	if (strncasecmp(id_hex(version_id(v), hex), version, strlen(version)) == 0)
		return 0;
	return err_set(e, -ENOENT,
		       "no version %.40s of \"%.80s\" is kept here; the one that is there is %.12s",
		       version, path, hex);
}

void method_cat(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = "", *version = "";
	struct err e = { 0 };
	struct attr attr;
	_cleanup_(version_unrefp) struct version *v = NULL;
	int r = param_text(call_arena(call), params, "path", &path, &e);
	if (r == 0)
		r = param_text(call_arena(call), params, "version", &version, &e);
	if (r == 0)
		r = find(d, path, &attr, &e);
	if (r == 0 && attr.kind != NODE_FILE)
		r = err_set(&e, attr.kind == NODE_DIR ? -EISDIR : -EINVAL, "\"%.120s\" is %s", path,
			    attr.kind == NODE_DIR ? "a directory" : "a symbolic link");
	if (r == 0) {
		r = replica_read(d->replica, &attr.id, &v);
		if (r < 0)
			err_errno(&e, r, "cannot read \"%.120s\"", path);
	}
	if (r == 0)
		r = check_version(v, path, version, &e);
	struct cat *c = r == 0 ? calloc(1, sizeof(*c)) : NULL;
	if (r == 0 && !c)
		r = err_errno(&e, -ENOMEM, "cannot read \"%.120s\"", path);
	if (r < 0) {
		call_error(call, &e);
		return;
	}
	c->version = TAKE_PTR(v);
	call_keep(call, cat_cancel, cat_go_on, c);
	cat_go_on(call, c);
}

/* What one batch of one device left in the record. */
struct item {
	struct dot dot;
	uint64_t hlc;
	bool content, name, attributes;
	struct buf pointers; /* JSON texts, separated by commas */
	uint32_t n_pointers;
};

struct history {
	struct item item[LOG_ITEMS_MAX];
	uint32_t n;
	bool more; /* older ones were left out */
};

static struct item *item_of(struct history *h, const struct dot *dot, uint64_t hlc)
{
	for (uint32_t i = h->n; i-- > 0;)
		if (h->item[i].dot.actor == dot->actor && h->item[i].dot.seq == dot->seq) {
			if (hlc > h->item[i].hlc)
				h->item[i].hlc = hlc;
			return &h->item[i];
		}
	if (h->n == LOG_ITEMS_MAX) {
		h->more = true;
		return NULL;
	}
	h->item[h->n] = (struct item){ .dot = *dot, .hlc = hlc };
	return &h->item[h->n++];
}

static void add_pointer(struct item *i, const struct buf *pointer)
{
	if (i->n_pointers++ >= LOG_POINTERS_MAX)
		return;
	if (i->pointers.len)
		buf_u8(&i->pointers, ',');
	json_write_string(&i->pointers, pointer->data ? (const char *)pointer->data : "",
			  pointer->len, JSON_ESCAPE_MINIMAL);
}

/* The content's slots; pointer is that of s. Records bound their own depth (RECORD_DEPTH_MAX). */
static void walk_content(struct history *h, const struct slot *s, struct buf *pointer)
{
	for (uint32_t i = 0; i < s->val.n; i++) {
		struct item *it = item_of(h, &s->val.entry[i].dot, s->val.entry[i].hlc);
		if (!it)
			continue;
		it->content = true;
		add_pointer(it, pointer);
	}
	for (uint32_t i = 0; i < s->n; i++) {
		size_t len = pointer->len;
		json_pointer_append(pointer, s->child[i]->key, s->child[i]->key_len);
		walk_content(h, s->child[i], pointer);
		pointer->len = len;
	}
}

static void walk_attributes(struct history *h, const struct slot *s)
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

static void walk_record(struct history *h, const struct record *r)
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
	jsonw_uint(w, i->n_pointers > LOG_POINTERS_MAX ? i->n_pointers - LOG_POINTERS_MAX : 0);
	jsonw_object_end(w);
}

static void put_history(struct daemon *d, const char *path, const struct attr *attr,
			struct history *h, struct buf *b)
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

void method_log(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = "";
	struct err e = { 0 };
	struct attr attr;
	struct delta *delta = NULL;
	_cleanup_(view_unrefp) struct view *view = NULL;
	_cleanup_(buf_done) struct buf b = { 0 };
	struct history *h = NULL;
	int r = param_text(call_arena(call), params, "path", &path, &e);
	if (r == 0)
		r = find(d, path, &attr, &e);
	if (r == 0)
		r = read_record(d, &attr, call_arena(call), &delta, &view, &e);
	if (r == 0) {
		h = calloc(1, sizeof(*h));
		r = -ENOMEM;
	}
	if (!h) {
		if (!e.code)
			err_errno(&e, r, "cannot read the history of \"%.120s\"", path);
		call_error(call, &e);
		return;
	}
	walk_record(h, &delta->state);
	put_history(d, path, &attr, h, &b);
	for (uint32_t i = 0; i < h->n; i++)
		buf_done(&h->item[i].pointers);
	free(h);
	call_result(call, &b, false);
}
