/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading files, questions, and what happens elsewhere: watch, wait. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/jsonw.h"
#include "tools/base64.h"
#include "tools/control.h"
#include "tools/libshoal/client.h"

#define FORM_SIZE sizeof(((struct shoal_file *)NULL)->form)

struct reading {
	struct buf data;
	size_t max;
	char version[SHOAL_VERSION_SIZE], form[FORM_SIZE];
	uint64_t size;
	bool begun;
	struct shoal_error *e;
};

static int senseless(struct shoal_error *e)
{
	return error_set(e, -EPROTO, "the daemon's answer makes no sense");
}

static bool take_text(const struct json *v, char *ret, size_t size)
{
	if (!v || v->type != JSON_STRING || v->len >= size)
		return false;
	memcpy(ret, v->text, v->len);
	ret[v->len] = 0;
	return true;
}

static int take_head(struct reading *x, const struct json *v)
{
	if (!take_text(json_get_z(v, "version"), x->version, sizeof(x->version)) ||
	    !take_text(json_get_z(v, "form"), x->form, sizeof(x->form)) ||
	    json_uint(json_get_z(v, "size"), SIZE_MAX / 2, &x->size) < 0)
		return senseless(x->e);
	x->begun = true;
	if (x->max && x->size > x->max)
		return error_set(x->e, -EFBIG, "the file has %llu bytes, more than %zu",
				 (unsigned long long)x->size, x->max);
	return 0;
}

static int take_part(const struct shoal_answer *answer, void *userdata)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct reading *x = userdata;
	struct json *v;
	struct err why = { 0 };
	if (json_parse(&a, answer->json, answer->len, NULL, &v, &why) < 0)
		return error_give(x->e, &why);
	int r = x->begun ? 0 : take_head(x, v);
	if (r < 0)
		return r;
	const struct json *data = json_get_z(v, "data");
	if (!data || data->type != JSON_STRING)
		return senseless(x->e);
	r = base64_decode(data->text, data->len, &x->data);
	if (r == -ENOMEM)
		return error_set(x->e, r, "cannot read the file: out of memory");
	return r < 0 ? senseless(x->e) : 0;
}

static void reading_done(struct reading *x)
{
	buf_done(&x->data);
}

int shoal_get(struct shoal *s, const char *path, const char *version, size_t max,
	      struct shoal_file *ret, struct shoal_error *e)
{
	_cleanup_(reading_done) struct reading x = { .max = max, .e = e };
	_cleanup_(buf_done) struct buf params = { 0 };
	const char *const text[] = { path, version };
	int r = client_check(text, 2, e);
	if (r < 0)
		return r;
	buf_u8(&params, '{');
	client_put_text(&params, "path", path);
	client_put_text(&params, "version", version);
	buf_u8(&params, '}');
	r = client_call(s, "cat", &params, client_timeout(s), take_part, &x, e);
	if (r < 0)
		return r;
	if (x.data.len != x.size)
		return senseless(e);
	size_t len = x.data.len;
	if (!buf_cstr(&x.data))
		return error_set(e, -ENOMEM, "cannot read the file: out of memory");
	*ret = (struct shoal_file){ .data = (char *)x.data.data, .len = len };
	x.data = (struct buf){ 0 };
	memcpy(ret->version, x.version, sizeof(ret->version));
	memcpy(ret->form, x.form, sizeof(ret->form));
	return 0;
}

void shoal_file_done(struct shoal_file *f)
{
	free(f->data);
	*f = (struct shoal_file){ 0 };
}

int shoal_query(struct shoal *s, const char *sql, const struct shoal_param *param, unsigned n,
		shoal_answer_fn f, void *userdata, struct shoal_error *e)
{
	_cleanup_(buf_done) struct buf params = { 0 };
	int r = client_check(&sql, 1, e);
	for (unsigned i = 0; i < n && r == 0; i++) {
		const char *const text[] = { param[i].name, param[i].value };
		r = client_check(text, 2, e);
	}
	if (r < 0)
		return r;
	buf_u8(&params, '{');
	client_put_text(&params, "sql", sql);
	buf_puts(&params, ",\"params\":{");
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_u8(&params, ',');
		json_write_string(&params, param[i].name, strlen(param[i].name), JSON_ESCAPE_MINIMAL);
		buf_u8(&params, ':');
		json_write_string(&params, param[i].value, strlen(param[i].value), JSON_ESCAPE_MINIMAL);
	}
	buf_puts(&params, "}}");
	/* The daemon has a limit of time of its own. */
	return client_call(s, "query", &params, 0, f, userdata, e);
}

int64_t shoal_watch(struct shoal *s, const char *const *path, unsigned n, shoal_answer_fn f,
		    void *userdata, struct shoal_error *e)
{
	_cleanup_(buf_done) struct buf params = { 0 };
	int r = client_check(path, n, e);
	if (r < 0)
		return r;
	buf_u8(&params, '{');
	client_put_texts(&params, "paths", path, n);
	buf_u8(&params, '}');
	return client_request(s, "watch", &params, f, userdata, e);
}

int shoal_wait(struct shoal *s, const char *const *path, unsigned n, unsigned peers, const char *device,
	       uint64_t timeout_us, struct shoal_error *e)
{
	_cleanup_(buf_done) struct buf params = { 0 };
	int r = client_check(path, n, e);
	if (r == 0)
		r = client_check(&device, 1, e);
	if (r < 0)
		return r;
	buf_u8(&params, '{');
	client_put_texts(&params, "paths", path, n);
	client_put_text(&params, "device", device);
	if (!device)
		buf_putf(&params, ",\"peers\":%u", peers);
	if (timeout_us)
		buf_putf(&params, ",\"timeout_us\":%llu", (unsigned long long)timeout_us);
	buf_u8(&params, '}');
	/* The daemon counts the time. */
	return client_call(s, "wait", &params, 0, NULL, NULL, e);
}
