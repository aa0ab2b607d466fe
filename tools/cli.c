/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/mounts.h"

int cli_fail(const struct cli *c, const struct err *e)
{
	const char *name = c->line.command ? c->line.command->name : NULL;
	fflush(stdout);
	fprintf(stderr, "shoal%s%s: %s\n", name ? " " : "", name ? name : "", e->message);
	return e->code == -ESRCH ? EXIT_NO_DAEMON : EXIT_FAILED;
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
	const char *name = c->line.command ? c->line.command->name : NULL;
	va_list ap;
	fflush(stdout);
	fprintf(stderr, "shoal%s%s: ", name ? " " : "", name ? name : "");
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see shoal%s%s --help\n", name ? " " : "", name ? name : "");
	return EXIT_USAGE;
}

int cli_find_store(struct cli *c, const char *dir, struct err *e)
{
	if (!c->line.store && dir && mounts_at(dir, &c->store) == 0)
		return 0;
	return storedir_find(c->line.store, &c->store, e);
}

int cli_open_store(struct cli *c, bool create, struct storedir **ret, struct err *e)
{
	return storedir_open((const char *)c->store.data, create, ret, e);
}

int cli_connect(struct cli *c, struct ctlclient **ret, struct err *e)
{
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	int r = c->store.len ? 0 : cli_find_store(c, NULL, e);
	if (r == 0)
		r = cli_open_store(c, false, &dir, e);
	if (r == -ENOENT)
		return err_set(e, -ESRCH, "there is no store at %s, and so no daemon; `shoal up` "
				       "makes and starts both", (const char *)c->store.data);
	return r < 0 ? r : ctlclient_new(dir, ret, e);
}

static int keep(const struct json *result, const char *raw, size_t len, bool last, void *userdata)
{
	struct buf *b = userdata;
	(void)result;
	(void)last;
	buf_reset(b);
	buf_put(b, raw, len);
	return buf_cstr(b) ? 0 : -ENOMEM;
}

int cli_ask(struct ctlclient *k, const char *method, const struct buf *params, struct buf *ret,
	    struct arena *a, struct json **ret_json, struct err *e)
{
	int r = ctlclient_call(k, method, params, CALL_TIMEOUT_US, keep, ret, e);
	if (r == -ENOMEM && !e->code)
		err_errno(e, r, "cannot read the answer");
	if (r < 0 || !a)
		return r;
	return json_parse(a, (const char *)ret->data, ret->len, NULL, ret_json, e);
}

int cli_run(struct cli *c, const struct question *q)
{
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf params = { 0 }, text = { 0 };
	struct json *answer;
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = q->put(c, &params, &e);
	if (r == 0)
		r = cli_ask(k, q->method, &params, &text, &a, &answer, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (c->line.json)
		return cli_print(&text);
	q->print(c, &a, answer);
	return EXIT_DONE;
}

int cli_read_input(struct buf *ret, size_t max, const char *what, const char *hint, struct err *e)
{
	for (;;) {
		uint8_t *p = buf_reserve(ret, 65536);
		ssize_t n = p ? read(STDIN_FILENO, p, 65536) : -1;
		if (n < 0 && p && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, p ? -errno : -ENOMEM, "cannot read standard input");
		if (n == 0)
			break;
		ret->len += (size_t)n;
		if (ret->len > max)
			return err_set(e, -EFBIG, "%s may have %zu MiB, not more: %s", what, max >> 20, hint);
	}
	if (ret->len && memchr(ret->data, 0, ret->len))
		return err_set(e, -EINVAL, "standard input has NUL bytes, which %s has not", what);
	return buf_cstr(ret) ? 0 : err_errno(e, -ENOMEM, "cannot read standard input");
}

int cli_print(const struct buf *b)
{
	fwrite(b->data, 1, b->len, stdout);
	putchar('\n');
	if (fflush(stdout) == 0)
		return EXIT_DONE;
	fprintf(stderr, "shoal: cannot write the answer: %s\n", strerror(errno));
	return EXIT_FAILED;
}

static bool is_utf8(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	while (*p) {
		unsigned n = *p < 0x80 ? 0 : *p >= 0xc2 && *p < 0xe0 ? 1 : *p >= 0xe0 && *p < 0xf0 ? 2 :
			     *p >= 0xf0 && *p < 0xf5 ? 3 : 9;
		if (n == 9)
			return false;
		for (p++; n; n--, p++)
			if ((*p & 0xc0) != 0x80)
				return false;
	}
	return true;
}

int cli_path(const struct cli *c, const char *path, struct buf *ret, struct err *e)
{
	_cleanup_(buf_done) struct buf absolute = { 0 }, dir = { 0 }, source = { 0 };
	const char *store = (const char *)c->store.data;
	if (!is_utf8(path))
		return err_set(e, -EILSEQ, "a path whose bytes are not UTF-8 cannot be asked for "
					   "yet; read it in the mount");
	_cleanup_free_ char *real = realpath(store, NULL);
	int r = path_absolute(path, &absolute);
	if (r < 0)
		return err_errno(e, r, "cannot tell where %s is", path);
	buf_reset(ret);
	if (mounts_of(path, &dir, &source) == 0 && real &&
	    strcmp((const char *)source.data, real) == 0) {
		/* mounts_of resolves the links above the path; so must we. */
		_cleanup_free_ char *resolved = realpath((const char *)absolute.data, NULL);
		const char *p = resolved ? resolved : (const char *)absolute.data;
		if (strncmp(p, (const char *)dir.data, dir.len) != 0)
			p = (const char *)absolute.data;
		p = strlen(p) > dir.len ? p + dir.len + (dir.len > 1) : "";
		buf_puts(ret, p);
	} else if (*path == '/') {
		return err_set(e, -EXDEV, "%.100s is not inside the mount of the store %.100s; name "
					  "another store with --store", path, store);
	} else {
		/* From the root of the collection. */
		_cleanup_(buf_done) struct buf rooted = { 0 }, plain = { 0 };
		buf_putf(&rooted, "/%s", path);
		const char *text = buf_cstr(&rooted);
		r = text ? path_absolute(text, &plain) : -ENOMEM;
		if (r < 0)
			return err_errno(e, r, "cannot tell where %s is", path);
		buf_puts(ret, (const char *)plain.data + 1);
	}
	return buf_cstr(ret) ? 0 : err_errno(e, -ENOMEM, "cannot read the command line");
}

void cli_put_text(struct buf *b, const char *text)
{
	json_write_string(b, text, strlen(text), JSON_ESCAPE_MINIMAL);
}

int cli_put_paths(const struct cli *c, struct buf *params, struct err *e)
{
	buf_puts(params, "\"paths\":[");
	for (unsigned i = 0; i < c->line.n_args; i++) {
		_cleanup_(buf_done) struct buf path = { 0 };
		int r = cli_path(c, c->line.arg[i], &path, e);
		if (r < 0)
			return r;
		if (i)
			buf_u8(params, ',');
		json_write_string(params, (const char *)path.data, path.len, JSON_ESCAPE_MINIMAL);
	}
	buf_puts(params, "]");
	return 0;
}

const char *cli_text(struct arena *a, const struct json *o, const char *key, const char *fallback)
{
	const char *text = fallback;
	const struct json *v = o ? json_get_z(o, key) : NULL;
	return v && json_text(a, v, &text) == 0 ? text : fallback;
}

uint64_t cli_uint(const struct json *o, const char *key)
{
	uint64_t n = 0;
	const struct json *v = o ? json_get_z(o, key) : NULL;
	return v && json_uint(v, UINT64_MAX, &n) == 0 ? n : 0;
}

bool cli_true(const struct json *o, const char *key)
{
	const struct json *v = o ? json_get_z(o, key) : NULL;
	return v && v->type == JSON_TRUE;
}

const char *human_bytes(uint64_t n, char text[static HUMAN_SIZE])
{
	static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB", "EB" };
	double v = (double)n;
	unsigned u = 0;
	for (; v >= 999.5 && u < 6; u++)
		v /= 1000;
	snprintf(text, HUMAN_SIZE, u && v < 9.95 ? "%.1f %s" : "%.0f %s", v, unit[u]);
	return text;
}

const char *human_time(uint64_t us, char text[static HUMAN_SIZE])
{
	double s = (double)us / 1e6;
	if (us < 1000)
		snprintf(text, HUMAN_SIZE, "%u us", (unsigned)us);
	else if (us < 1000000)
		snprintf(text, HUMAN_SIZE, us < 10000 ? "%.1f ms" : "%.0f ms", (double)us / 1e3);
	else if (s < 120)
		snprintf(text, HUMAN_SIZE, "%.0f s", s);
	else if (s < 7200)
		snprintf(text, HUMAN_SIZE, "%.0f min", s / 60);
	else if (s < 172800)
		snprintf(text, HUMAN_SIZE, "%.0f h", s / 3600);
	else
		snprintf(text, HUMAN_SIZE, "%.0f days", s / 86400);
	return text;
}

/* How wide a terminal shows it: code points, near enough for names. */
static unsigned width(const char *text)
{
	unsigned n = 0;
	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

void listing_cell(struct listing *t, const char *text)
{
	if (t->n == t->cap) {
		unsigned cap = t->cap ? t->cap * 2 : 64;
		char **p = reallocarray(t->cell, cap, sizeof(*p));
		if (!p) {
			t->failed = true;
			return;
		}
		t->cell = p;
		t->cap = cap;
	}
	char *copy = strdup(text);
	if (copy)
		t->cell[t->n++] = copy;
	else
		t->failed = true;
}

void listing_print(struct listing *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		unsigned column = i % t->columns, wide = 0;
		bool last = column + 1 == t->columns || i + 1 == t->n;
		for (unsigned k = column; !last && k < t->n; k += t->columns)
			if (width(t->cell[k]) > wide)
				wide = width(t->cell[k]);
		fputs(t->cell[i], stdout);
		if (last) {
			putchar('\n');
			continue;
		}
		for (unsigned k = width(t->cell[i]); k < wide + 2; k++)
			putchar(' ');
	}
}

void listing_done(struct listing *t)
{
	for (unsigned i = 0; i < t->n; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct listing){ 0 };
}
