/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/field.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonw.h"
#include "engine/utf8.h"
#include "fusefs/fs.h"
#include "fusefs/saver.h"

struct field {
	struct version *base; /* the document that its writer had read */
	struct buf pointer;
	struct buf before;    /* the text there; empty: there was none */
	bool there;           /* in base */
	bool string;
};

static bool is_json_string(const char *text, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *v;
	return memchr(text, '"', len) && json_parse(&a, text, len, NULL, &v, NULL) == 0 &&
	       v->type == JSON_STRING;
}

void field_text(const struct json *v, struct buf *b)
{
	if (v->type == JSON_STRING && v->len > 0 && is_json_string(v->text, v->len))
		json_write_string(b, v->text, v->len, JSON_ESCAPE_MINIMAL);
	else
		buf_put(b, v->text, v->len);
	buf_u8(b, '\n');
}

int field_new(struct doctree *t, const char *pointer, size_t len, const struct json *v,
	      struct field **ret)
{
	struct field *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->base = version_ref(doctree_version(t));
	buf_put(&f->pointer, pointer, len);
	f->there = v;
	f->string = v && v->type == JSON_STRING;
	if (v)
		field_text(v, &f->before);
	if (buf_failed(&f->pointer) || buf_failed(&f->before)) {
		field_free(f);
		return -ENOMEM;
	}
	*ret = f;
	return 0;
}

void field_free(struct field *f)
{
	if (!f)
		return;
	version_unref(f->base);
	buf_done(&f->pointer);
	buf_done(&f->before);
	free(f);
}

void field_save(struct saver *s, const struct field *f)
{
	save_version(s, f->base);
	save_bytes(s, f->pointer.data, f->pointer.len);
	save_bytes(s, f->before.data, f->before.len);
	save_bool(s, f->there);
	save_bool(s, f->string);
}

struct field *field_load(struct loader *l)
{
	size_t len;
	struct field *f = calloc(1, sizeof(*f));
	if (!f) {
		load_fail(l, -ENOMEM);
		return NULL;
	}
	f->base = load_version(l);
	const void *p = load_bytes(l, &len);
	buf_put(&f->pointer, p, len);
	p = load_bytes(l, &len);
	buf_put(&f->before, p, len);
	f->there = load_bool(l);
	f->string = load_bool(l);
	if (buf_failed(&f->pointer) || buf_failed(&f->before))
		load_fail(l, -ENOMEM);
	if (!f->base)
		load_fail(l, -EBADMSG);
	if (load_ok(l))
		return f;
	if (f->base)
		version_unref(f->base);
	buf_done(&f->pointer);
	buf_done(&f->before);
	free(f);
	return NULL;
}

/* ---- into the document ---- */

static void put_member(struct jsonw *w, const char *name, const struct buf *text)
{
	jsonw_key(w, name);
	jsonw_string_n(w, text->len ? (char *)text->data : "", text->len);
}

int field_edit(struct fusefs *fs, struct version *base, const char *op, const struct buf *from,
	       const struct buf *path, const char *value, size_t len, struct version **ret,
	       struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(version_unrefp) struct version *known = NULL;
	struct json *patch;
	struct jsonw w;
	jsonw_init(&w, &b, 0);
	jsonw_array_begin(&w);
	jsonw_object_begin(&w);
	jsonw_key(&w, "op");
	jsonw_string(&w, op);
	if (from)
		put_member(&w, "from", from);
	put_member(&w, "path", path);
	if (value) {
		jsonw_key(&w, "value");
		jsonw_raw(&w, value, len);
	}
	jsonw_object_end(&w);
	jsonw_array_end(&w);
	jsonw_end(&w);
	const char *text = buf_cstr(&b);
	int r = text ? json_parse(&a, text, b.len, NULL, &patch, e) : -ENOMEM;
	/* Not as the mount's own change: the kernel is to hear of it as of others' changes. */
	if (r == 0)
		r = replica_edit(fs->replica, base, patch, &known, e);
	if (r < 0)
		return r;
	atomic_fetch_add(&fs->saves, 1);
	if (ret)
		*ret = TAKE_PTR(known);
	return 0;
}

/* The value that a text means, as JSON. */
static int value_of(const struct field *f, const char *text, size_t len, struct buf *ret)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *v = NULL;
	if (!utf8_valid((const uint8_t *)text, len))
		return -EINVAL;
	int r = json_parse(&a, text, len, NULL, &v, NULL);
	if (r == -ENOMEM)
		return r;
	if (r == 0 && (!f->string || v->type == JSON_STRING))
		buf_put(ret, text + v->offset, v->end - v->offset);
	else
		json_write_string(ret, text, len, JSON_ESCAPE_MINIMAL);
	return buf_failed(ret) ? -ENOMEM : 0;
}

static int read_all(struct copy *c, struct buf *ret)
{
	size_t size = (size_t)copy_size(c);
	uint8_t *p = buf_reserve(ret, size + 1);
	ssize_t n = p ? copy_pread(c, p, size, 0) : -ENOMEM;
	if (n < 0 || (size_t)n < size)
		return n < 0 ? (int)n : -EIO;
	ret->len = size;
	return 0;
}

/* What the writer knows now. */
static void take_base(struct field *f, struct version *known, struct buf *text)
{
	version_unref(f->base);
	f->base = known;
	f->there = true;
	buf_done(&f->before);
	f->before = *text;
	*text = (struct buf){ 0 };
}

int field_commit(struct fusefs *fs, struct copy *c, struct err *e)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	_cleanup_(buf_done) struct buf value = { 0 };
	struct version *known;
	struct field *f = c->field;
	if (copy_size(c) > DOCUMENT_SIZE_MAX)
		return err_errno(e, -EFBIG, "cannot change the value");
	int r = read_all(c, &text);
	if (r < 0)
		return err_errno(e, r, "cannot read what was written");
	bool same = text.len == f->before.len &&
		    (text.len == 0 || memcmp(text.data, f->before.data, text.len) == 0);
	if (text.len > 0 && !same) {
		size_t len = text.len - (text.data[text.len - 1] == '\n');
		r = value_of(f, (char *)text.data, len, &value);
		if (r < 0)
			return err_errno(e, r, "a value is UTF-8");
		r = field_edit(fs, f->base, f->there ? "replace" : "add", NULL, &f->pointer,
			       (char *)value.data, value.len, &known, e);
		if (r < 0)
			return r;
		take_base(f, known, &text);
	}
	c->dirty = c->unfinished = false;
	return 0;
}
