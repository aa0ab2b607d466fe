/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `import` of JSON lines and CSV: a document for each line or row, by batches of which some are under way at a time.
 * Doing it again changes nothing, so what broke off is begun again. A batch that has a line that is refused is sent
 * once more without it, or without what follows it. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/jsonptr.h"
#include "tools/cli.h"
#include "tools/copytree.h"
#include "tools/libshoal/shoal.h"
#include "tools/progress.h"
#include "tools/records.h"

#define WINDOW 4u
#define BATCH_BYTES (1024u * 1024)
#define NAME_BYTES 250u
#define REFUSED_TOLD 20u
#define PATH_BYTES 4096u

struct item {
	uint64_t line;
	size_t path, value, len; /* in the batch's text; len: of the value */
	bool refused;
};

struct batch {
	struct import *of;
	struct shoal_txn *txn;
	struct buf text;
	struct item item[SHOAL_TXN_STEPS];
	unsigned n;
	bool under_way;
	int64_t request; /* the last one */
};

struct import {
	struct cli *c;
	struct shoal *shoal;
	const char *file;       /* as messages name it */
	const char *dir;        /* where the documents go */
	const char *id;         /* what names them: a member, or a JSON pointer; NULL: the number of the record */
	bool go_on, stop;       /* past what is refused; no more is sent */
	uint64_t created, changed, unchanged, refused;
	struct err e;           /* why it stops */
	struct progress bar;
	struct batch batch[WINDOW];
	struct arena arena;
};

/* ---- names ---- */

/* Text as a file's name: what may not be in one, or would hide it, is written as %XX. */
static int put_name(struct buf *b, const char *text, size_t len, struct err *e)
{
	const size_t before = b->len;
	for (size_t i = 0; i < len; i++) {
		const unsigned char c = (unsigned char)text[i];
		if (c == '/' || c == '%' || c < 0x20 || c == 0x7f || (c == '.' && i == 0))
			buf_putf(b, "%%%02X", c);
		else
			buf_u8(b, c);
	}
	if (b->len - before > NAME_BYTES)
		return err_set(e, -ENAMETOOLONG, "what shall be its name has more than %u bytes", NAME_BYTES);
	return 0;
}

static int find_id(const char *id, const struct json *v, struct json **ret)
{
	if (*id == '/')
		return json_pointer_get(v, id, strlen(id), ret, NULL);
	*ret = json_get_z(v, id);
	return *ret ? 0 : -ENOENT;
}

static bool names_it(const char *id, const struct json *v)
{
	struct json *x;
	return find_id(id, v, &x) == 0 && (x->type == JSON_STRING || x->type == JSON_NUMBER);
}

/* The path of a record's document, with its NUL. */
static int put_path(struct import *im, const struct record *r, const struct json *v, struct buf *b, struct err *e)
{
	struct json *x;
	buf_puts(b, im->dir);
	buf_u8(b, '/');
	if (!im->id) {
		buf_putf(b, "%llu", (unsigned long long)r->number);
	} else if (find_id(im->id, v, &x) < 0) {
		return err_set(e, -EINVAL, "there is no \"%.60s\", which names the documents; --id says by what else",
			       im->id);
	} else if ((x->type != JSON_STRING && x->type != JSON_NUMBER) || !x->len) {
		return err_set(e, -EINVAL, "\"%.60s\", which names the document, is no text or number; --id says by what "
			       "else", im->id);
	} else {
		int rc = put_name(b, x->text, x->len, e);
		if (rc < 0)
			return rc;
	}
	buf_put(b, ".json", 6);
	return 0;
}

/* ---- what is refused ---- */

/* False: that was the last one. */
static bool refuse(struct import *im, uint64_t line, const struct err *why)
{
	im->refused++;
	if (im->go_on) {
		progress_clear(&im->bar);
		if (im->refused <= REFUSED_TOLD)
			fprintf(stderr, "%s:%llu: %s\n", im->file, (unsigned long long)line, why->message);
		else if (im->refused == REFUSED_TOLD + 1)
			fputs("...\n", stderr);
		return true;
	}
	if (!im->stop)
		err_set(&im->e, why->code, "%.80s:%llu: %.100s", im->file, (unsigned long long)line, why->message);
	im->stop = true;
	return false;
}

/* ---- batches ---- */

static int on_answer(const struct shoal_answer *a, void *userdata);

static int send_batch(struct batch *b, struct err *e)
{
	struct shoal_error why = { 0 };
	const char *text = (const char *)b->text.data;
	int64_t r = 0;
	shoal_txn_clear(b->txn);
	for (unsigned i = 0; i < b->n && r >= 0; i++)
		if (!b->item[i].refused)
			r = shoal_txn_put(b->txn, text + b->item[i].path, text + b->item[i].value, b->item[i].len, NULL, &why);
	b->under_way = r >= 0 && shoal_txn_count(b->txn) > 0;
	if (b->under_way)
		r = shoal_txn_send(b->of->shoal, b->txn, SHOAL_APART, on_answer, b, &why);
	if (r < 0) {
		b->under_way = false;
		return err_set(e, (int)r, "%s", why.message);
	}
	b->request = r;
	return 0;
}

/* The item of the n-th line that was sent, from 1. */
static unsigned item_of(const struct batch *b, unsigned long line)
{
	unsigned i = 0;
	for (; i < b->n; i++)
		if (!b->item[i].refused && !--line)
			break;
	return i;
}

static void on_error(struct batch *b, const struct shoal_error *error)
{
	struct import *im = b->of;
	struct err why = { .code = error->code };
	char *rest = NULL;
	const bool about_line = strncmp(error->message, "line ", 5) == 0;
	const unsigned long line = about_line ? strtoul(error->message + 5, &rest, 10) : 0;
	const unsigned i = line ? item_of(b, line) : b->n;
	b->under_way = false;
	/* Not one of them is at fault. */
	if (i == b->n || error->code == -ENOSPC || error->code == -EROFS) {
		if (!im->e.code)
			err_set(&im->e, error->code, "%s", about_line && rest ? rest + strspn(rest, ": ") : error->message);
		im->stop = true;
		return;
	}
	err_set(&why, error->code, "%s", rest + strspn(rest, ": "));
	b->item[i].refused = true;
	/* What is before it is done at least. */
	if (!refuse(im, b->item[i].line, &why))
		b->n = i;
	if (send_batch(b, &why) < 0) {
		if (!im->e.code)
			im->e = why;
		im->stop = true;
	}
}

static int on_answer(const struct shoal_answer *a, void *userdata)
{
	struct batch *b = userdata;
	struct import *im = b->of;
	struct json *v;
	if (a->error) {
		on_error(b, a->error);
		return 0;
	}
	b->under_way = false;
	arena_reset(&im->arena);
	int r = json_parse(&im->arena, a->json, a->len, NULL, &v, &im->e);
	const struct json *changes = r == 0 ? json_get_z(v, "changes") : NULL;
	for (const struct json *x = changes ? changes->first : NULL; x; x = x->next) {
		const char *did = cli_text(&im->arena, x, "did", "");
		im->created += strcmp(did, "created") == 0;
		im->changed += strcmp(did, "changed") == 0;
		im->unchanged += strcmp(did, "nothing") == 0;
	}
	im->stop |= r < 0;
	return 0;
}

/* A batch that can take more; those before are sent. */
static int free_batch(struct import *im, struct batch **ret, struct err *e)
{
	struct shoal_error why = { 0 };
	struct batch *b = &im->batch[0];
	for (unsigned i = 1; i < WINDOW && b->under_way; i++)
		if (!im->batch[i].under_way || im->batch[i].request < b->request)
			b = &im->batch[i];
	/* It may be sent again in between. */
	while (b->under_way) {
		int r = shoal_finish(im->shoal, b->request, &why);
		if (r < 0)
			return err_set(e, r, "%s", why.message);
	}
	b->n = 0;
	buf_reset(&b->text);
	*ret = b;
	return 0;
}

static int finish_all(struct import *im, struct err *e)
{
	struct shoal_error why = { 0 };
	for (unsigned i = 0; i < WINDOW; i++)
		while (im->batch[i].under_way) {
			int r = shoal_finish(im->shoal, im->batch[i].request, &why);
			if (r < 0)
				return err_set(e, r, "%s", why.message);
		}
	return 0;
}

/* ---- records ---- */

static int add(struct import *im, struct batch *b, const struct record *r, const struct json *v, struct err *e)
{
	struct item *x = &b->item[b->n];
	x->line = r->line;
	x->refused = false;
	x->path = b->text.len;
	int rc = put_path(im, r, v, &b->text, e);
	x->value = b->text.len;
	x->len = r->len;
	if (rc < 0) {
		b->text.len = x->path;
		return rc;
	}
	buf_put(&b->text, r->json, r->len);
	if (buf_failed(&b->text))
		return err_errno(e, -ENOMEM, "cannot take it in");
	b->n++;
	return 0;
}

/* What names the documents, where nobody said it: `id` or `_id` of the first one that can. */
static const char *guess_id(const struct json *v)
{
	return names_it("id", v) ? "id" : names_it("_id", v) ? "_id" : NULL;
}

static int take(struct import *im, struct batch *b, const struct record *r, bool given, struct err *e)
{
	struct json *v;
	arena_reset(&im->arena);
	int rc = json_parse(&im->arena, r->json, r->len, NULL, &v, e);
	if (rc < 0) {
		/* The line is said by who tells it. */
		if (e->column && e->line == 1)
			err_prefix(e, "column %u", e->column);
		return rc;
	}
	if (!given && r->number == 1)
		im->id = guess_id(v);
	return add(im, b, r, v, e);
}

static bool is_refusal(int code)
{
	return code == -EINVAL || code == -E2BIG || code == -EFBIG || code == -ENAMETOOLONG;
}

static int run(struct import *im, struct records *in, uint64_t from, bool given, struct err *e)
{
	struct batch *b = NULL;
	struct record r;
	while (!im->stop) {
		struct err why = { 0 };
		int rc = b ? 0 : free_batch(im, &b, e);
		if (rc < 0)
			return rc;
		if (im->stop)
			break;
		rc = records_next(in, &r, &why);
		if (rc == 0)
			break;
		uint64_t line = rc < 0 ? why.line : r.line;
		if (rc > 0 && line < from && r.number > 1)
			continue;
		if (rc > 0)
			rc = take(im, b, &r, given, &why);
		if (rc == 0 && line < from)
			b->n = 0; /* it was looked at for what names it */
		if (rc < 0 && !(is_refusal(rc) && line)) {
			*e = why;
			return rc;
		}
		if (rc < 0 && !refuse(im, line, &why))
			break;
		if (b->n == SHOAL_TXN_STEPS || b->text.len > BATCH_BYTES) {
			rc = send_batch(b, e);
			b = NULL;
			if (rc < 0)
				return rc;
		}
		progress_at(&im->bar, records_offset(in), im->created + im->changed + im->unchanged);
	}
	int rc = b && b->n ? send_batch(b, e) : 0;
	return rc < 0 ? rc : finish_all(im, e);
}

/* ---- the command ---- */

static void report(const struct import *im)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (im->c->line.json) {
		buf_puts(&b, "{\"to\":");
		cli_put_text(&b, im->dir);
		buf_putf(&b, ",\"created\":%llu,\"changed\":%llu,\"unchanged\":%llu,\"refused\":%llu,\"named_by\":",
			 (unsigned long long)im->created, (unsigned long long)im->changed,
			 (unsigned long long)im->unchanged, (unsigned long long)im->refused);
		if (im->id)
			cli_put_text(&b, im->id);
		else
			buf_puts(&b, "null");
		buf_puts(&b, "}");
		cli_print(&b);
		return;
	}
	printf("%s: %llu new, %llu changed, %llu as they were", im->dir, (unsigned long long)im->created,
	       (unsigned long long)im->changed, (unsigned long long)im->unchanged);
	if (im->refused)
		printf(", %llu refused", (unsigned long long)im->refused);
	printf("; named by %s%s%s\n", im->id ? "\"" : "", im->id ? im->id : "their number", im->id ? "\"" : "");
}

static bool ends_in(const char *name, const char *ending)
{
	const size_t n = strlen(name), k = strlen(ending);
	return n > k && strcasecmp(name + n - k, ending) == 0;
}

bool cli_format(const char *format, const char *file, struct records_config *ret)
{
	if (format ? strcmp(format, "jsonl") == 0 : ends_in(file, ".jsonl") || ends_in(file, ".ndjson"))
		*ret = (struct records_config){ .form = RECORDS_JSONL };
	else if (format ? strcmp(format, "csv") == 0 : ends_in(file, ".csv"))
		*ret = (struct records_config){ .form = RECORDS_CSV, .separator = ',' };
	else if (format ? strcmp(format, "tsv") == 0 : ends_in(file, ".tsv"))
		*ret = (struct records_config){ .form = RECORDS_CSV, .separator = '\t' };
	else
		return false;
	return true;
}

static int choose_form(const struct cli *c, const char *file, struct records_config *ret, struct err *e)
{
	const char *format = c->line.value[IMPORT_FORMAT].text;
	const bool known = cli_format(format, file, ret);
	ret->text_only = c->line.value[IMPORT_TEXT].set;
	if (!known && format)
		return err_set(e, -EINVAL, "there is no format \"%.40s\": jsonl, csv or tsv", format);
	if (!known)
		return err_set(e, -EINVAL, "how \"%.100s\" is written its name does not say: --format jsonl, csv or tsv",
			       file);
	return 0;
}

/* cars.jsonl -> cars */
static int put_stem(const char *file, struct buf *ret, struct err *e)
{
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file, *dot = strchr(base, '.');
	if (!*base || dot == base || strcmp(file, "-") == 0)
		return err_set(e, -EINVAL, "where it shall go is missing: name a directory in the store behind \"%.100s\"", file);
	buf_put(ret, base, dot ? (size_t)(dot - base) : strlen(base));
	return buf_cstr(ret) ? 0 : err_errno(e, -ENOMEM, "cannot read the command line");
}

static int find_target(const struct cli *c, const char *file, struct buf *ret, struct err *e)
{
	int r = c->line.n_args > 1 ? cli_path(c, c->line.arg[1], ret, e) : put_stem(file, ret, e);
	if (r == 0 && !ret->len)
		r = err_set(e, -EINVAL, "it goes into a directory of the store, not into its root: name one behind \"%.100s\"", file);
	return r;
}

static int make_target(struct ctlclient *k, const char *dir, struct err *e)
{
	_cleanup_(buf_done) struct buf params = { 0 }, answer = { 0 };
	buf_puts(&params, "{\"path\":");
	cli_put_text(&params, dir);
	buf_puts(&params, "}");
	return cli_ask(k, "mkdir", &params, &answer, NULL, NULL, e);
}

static int sync_all(struct ctlclient *k, struct err *e)
{
	_cleanup_(buf_done) struct buf answer = { 0 };
	return cli_ask(k, "sync", NULL, &answer, NULL, NULL, e);
}

static int import_records(struct import *im, struct ctlclient *k, int fd, const struct records_config *config,
			  const struct stat *st, struct err *e)
{
	_cleanup_(records_freep) struct records *in = NULL;
	const bool given = im->id != NULL;
	const uint64_t from = im->c->line.value[IMPORT_FROM].number;
	int r = records_new(fd, config, &in);
	for (unsigned i = 0; i < WINDOW && r == 0; i++) {
		im->batch[i].of = im;
		r = shoal_txn_new(&im->batch[i].txn);
	}
	if (r < 0)
		return err_errno(e, r, "cannot read %.100s", im->file);
	r = make_target(k, im->dir, e);
	if (r < 0)
		return r;
	progress_begin(&im->bar, "documents", S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0);
	r = run(im, in, from, given, e);
	progress_clear(&im->bar);
	if (r == 0 && im->stop) {
		*e = im->e;
		r = e->code;
	}
	struct err why = { 0 };
	int rs = r == -ECONNRESET ? 0 : sync_all(k, &why);
	if (rs < 0 && r == 0) {
		*e = why;
		r = rs;
	}
	return r;
}

static void import_done(struct import *im)
{
	for (unsigned i = 0; i < WINDOW; i++) {
		shoal_txn_free(im->batch[i].txn);
		buf_done(&im->batch[i].text);
	}
	arena_done(&im->arena);
	free(im);
}

static int import_file(struct cli *c, struct ctlclient *k, const char *file, int fd, const struct stat *st,
		       const char *dir)
{
	struct err e = { 0 };
	struct records_config config = { 0 };
	int r = choose_form(c, file, &config, &e);
	if (r < 0)
		return cli_usage(c, "%s", e.message);
	struct import *im = calloc(1, sizeof(*im));
	if (!im) {
		err_errno(&e, -ENOMEM, "cannot read %.100s", file);
		return cli_fail(c, &e);
	}
	im->c = c;
	im->shoal = ctlclient_shoal(k);
	im->file = fd == STDIN_FILENO ? "standard input" : file;
	im->dir = dir;
	im->id = c->line.value[IMPORT_ID].text;
	im->go_on = c->line.value[IMPORT_KEEP_GOING].set;
	r = import_records(im, k, fd, &config, st, &e);
	int status = EXIT_DONE;
	if (r == 0 || im->created + im->changed + im->unchanged)
		report(im);
	if (r < 0) {
		status = cli_fail(c, &e);
	} else if (im->refused) {
		err_set(&e, -EINVAL, "%llu lines were refused; mend them and do it again: what is in stays as it is",
			(unsigned long long)im->refused);
		status = cli_fail(c, &e);
	}
	import_done(im);
	return status;
}

int cmd_import(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	struct stat st;
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf dir = { 0 };
	const char *file = c->line.arg[0];
	_cleanup_close_ int opened = strcmp(file, "-") == 0 ? -1 : open(file, O_RDONLY | O_CLOEXEC);
	const int fd = strcmp(file, "-") == 0 ? STDIN_FILENO : opened;
	int r = fd < 0 ? -errno : fstat(fd, &st) < 0 ? -errno : 0;
	if (r < 0)
		err_errno(&e, r, "cannot read %.120s", file);
	if (r == 0)
		r = cli_connect(c, &k, &e);
	if (r == 0)
		r = find_target(c, file, &dir, &e);
	if (r < 0)
		return cli_fail(c, &e);
	if (!S_ISDIR(st.st_mode))
		return import_file(c, k, file, fd, &st, (const char *)dir.data);
	return cli_import_dir(c, k, fd, (const char *)dir.data);
}
