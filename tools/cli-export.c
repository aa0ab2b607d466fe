/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `export`, and `import` of a directory: by way of the mount. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli.h"
#include "tools/copytree.h"
#include "tools/csvout.h"
#include "tools/dirnames.h"
#include "tools/mounts.h"
#include "tools/progress.h"
#include "tools/records.h"

#define FAILED_TOLD 20u
#define READ_STEP 65536u
#define OUT_STEP (256u * 1024)
#define DEPTH_MAX 500u

/* What could not be done, on standard error, the first of it. */
struct complaints {
	uint64_t n;
};

static void complain(const char *path, const struct err *e, void *userdata)
{
	struct complaints *x = userdata;
	if (++x->n <= FAILED_TOLD)
		fprintf(stderr, "%s: %s\n", path, e->message);
	else if (x->n == FAILED_TOLD + 1)
		fputs("...\n", stderr);
}

/* Where path of the store is in its mount. */
static int mounted(const struct cli *c, const char *path, struct buf *ret, struct err *e)
{
	_cleanup_free_ char *store = realpath((const char *)c->store.data, NULL);
	int r = store ? mounts_find(store, ret) : -errno;
	if (r == -ENOENT)
		return err_set(e, r, "the store is not mounted, which this needs: `shoal mount DIR` first");
	if (r < 0)
		return err_errno(e, r, "cannot tell where the store is mounted");
	buf_putf(ret, "/%s", path);
	return buf_cstr(ret) ? 0 : err_errno(e, -ENOMEM, "cannot find the mount");
}

/* ---- directories ---- */

static int copy(struct cli *c, int from, int to, const char *what, struct err *e)
{
	struct complaints complaints = { 0 };
	const struct copy_config config = { from, to, complain, &complaints };
	struct copy_report x = { 0 };
	struct progress bar;
	_cleanup_(buf_done) struct buf b = { 0 };
	int r = copytree(&config, &bar, &x, e);
	if (c->line.json) {
		buf_puts(&b, "{\"to\":");
		cli_put_text(&b, what);
		buf_putf(&b, ",\"created\":%llu,\"changed\":%llu,\"unchanged\":%llu,\"left_out\":%llu,\"failed\":%llu}",
			 (unsigned long long)x.created, (unsigned long long)x.changed, (unsigned long long)x.unchanged,
			 (unsigned long long)x.left_out, (unsigned long long)x.failed);
	} else {
		buf_putf(&b, "%s: %llu new, %llu changed, %llu as they were", what, (unsigned long long)x.created,
			 (unsigned long long)x.changed, (unsigned long long)x.unchanged);
		if (x.left_out)
			buf_putf(&b, ", %llu devices, sockets and pipes left out", (unsigned long long)x.left_out);
		if (x.failed)
			buf_putf(&b, ", %llu failed", (unsigned long long)x.failed);
	}
	cli_print(&b);
	if (r == 0 && x.failed)
		r = err_set(e, -EIO, "%llu of them could not be copied; do it again when that is mended, the others stay as "
			    "they are", (unsigned long long)x.failed);
	return r;
}

/* Is the directory `below` the other one, or in it? */
static bool is_within(int below, int other)
{
	struct stat want, st, before = { 0 };
	if (fstat(other, &want) < 0)
		return false;
	int fd = openat(below, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool found = false;
	while (fd >= 0 && !found && fstat(fd, &st) == 0) {
		found = st.st_dev == want.st_dev && st.st_ino == want.st_ino;
		if (st.st_dev == before.st_dev && st.st_ino == before.st_ino)
			break; /* the root */
		before = st;
		int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = up;
	}
	if (fd >= 0)
		close(fd);
	return found;
}

static int open_target(const char *path, int from, struct err *e)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "cannot open %.120s", path);
	if (is_within(fd, from) || is_within(from, fd)) {
		close(fd);
		return err_set(e, -EINVAL, "%.80s is in what it is copied from, or the other way round", path);
	}
	return fd;
}

int cli_import_dir(struct cli *c, struct ctlclient *k, int from, const char *dir)
{
	struct err e = { 0 };
	_cleanup_(buf_done) struct buf path = { 0 }, params = { 0 }, answer = { 0 };
	if (c->line.value[IMPORT_FORMAT].set || c->line.value[IMPORT_ID].set || c->line.value[IMPORT_TEXT].set ||
	    c->line.value[IMPORT_FROM].set)
		return cli_usage(c, "--format, --id, --text and --from are about a file; a directory is copied as it is");
	int r = mounted(c, dir, &path, &e);
	buf_puts(&params, "{\"path\":");
	cli_put_text(&params, dir);
	buf_puts(&params, "}");
	if (r == 0)
		r = cli_ask(k, "mkdir", &params, &answer, NULL, NULL, &e);
	_cleanup_close_ int to = r == 0 ? open_target((const char *)path.data, from, &e) : -1;
	if (r == 0)
		r = to < 0 ? to : copy(c, from, to, dir, &e);
	struct err why = { 0 };
	if (to >= 0 && cli_ask(k, "sync", NULL, &answer, NULL, NULL, &why) < 0 && r == 0) {
		e = why;
		r = e.code;
	}
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}

static int export_dir(struct cli *c, int from, const char *to)
{
	struct err e = { 0 };
	_cleanup_(buf_done) struct buf path = { 0 };
	int r = path_absolute(to, &path);
	if (r == 0)
		r = path_make((const char *)path.data, 0777);
	if (r < 0)
		err_errno(&e, r, "cannot make the directory %.120s", to);
	_cleanup_close_ int dir = r == 0 ? open_target((const char *)path.data, from, &e) : -1;
	if (r == 0)
		r = dir < 0 ? dir : copy(c, from, dir, to, &e);
	if (r == 0 && syncfs(dir) < 0)
		r = err_errno(&e, -errno, "cannot write %.120s to the disk", to);
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}

/* ---- documents ---- */

struct export {
	int from;
	FILE *to;
	struct records_config config;
	struct csvout *csv;
	int pass;             /* 0: they are counted; 1: looked at for their columns; 2: written */
	uint64_t total, seen, written;
	struct complaints complaints;
	struct progress bar;
	struct buf path, text, out;
	struct arena arena;
	unsigned depth;
};

static bool is_document(const char *name)
{
	const size_t n = strlen(name);
	return *name != '.' && n > 5 && strcmp(name + n - 5, ".json") == 0;
}

static int read_file(struct export *x, int dir, const char *name, struct err *e)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, -errno, "cannot read it");
	buf_reset(&x->text);
	for (;;) {
		uint8_t *p = buf_reserve(&x->text, READ_STEP);
		ssize_t n = p ? read(fd, p, READ_STEP) : -1;
		if (n < 0 && p && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, p ? -errno : -ENOMEM, "cannot read it");
		if (n == 0)
			return 0;
		x->text.len += (size_t)n;
		if (x->text.len > JSON_SIZE_DEFAULT)
			return err_set(e, -EFBIG, "it is larger than a document may be");
	}
}

static int flush(struct export *x, struct err *e)
{
	if (buf_failed(&x->out))
		return err_errno(e, -ENOMEM, "cannot write");
	if (x->out.len && fwrite(x->out.data, 1, x->out.len, x->to) < x->out.len)
		return err_errno(e, -errno, "cannot write");
	buf_reset(&x->out);
	return 0;
}

static int put_document(struct export *x, const struct json *v, struct err *e)
{
	const size_t before = x->out.len;
	int r = 0;
	if (x->csv)
		r = csvout_row(x->csv, v, &x->out, e);
	else
		json_put_line(&x->out, (const char *)x->text.data, x->text.len);
	if (!x->csv)
		buf_u8(&x->out, '\n');
	if (r < 0)
		x->out.len = before;
	x->written += r == 0;
	return r;
}

/* A document; those that cannot be had are told in the last pass. */
static int take(struct export *x, int dir, const char *name, struct err *e)
{
	struct err why = { 0 };
	struct json *v;
	if (x->pass == 0) {
		x->total++;
		return 0;
	}
	arena_reset(&x->arena);
	int r = read_file(x, dir, name, &why);
	if (r == 0) {
		r = json_parse(&x->arena, (const char *)x->text.data, x->text.len, NULL, &v, &why);
		if (r == -EINVAL)
			err_prefix(&why, "it is no JSON, line %u", why.line);
	}
	const bool parsed = r == 0;
	if (parsed)
		r = x->pass == 1 ? csvout_look(x->csv, v, &why) : put_document(x, v, &why);
	x->seen++;
	progress_at(&x->bar, x->seen, x->pass == 1 ? x->seen : x->written);
	if (r == -ENOENT) /* gone meanwhile */
		return 0;
	if (r == -ENOMEM || (parsed && r == -E2BIG)) {
		*e = why;
		return r;
	}
	if (r < 0 && x->pass == 2) {
		progress_clear(&x->bar);
		complain(buf_cstr(&x->path) ? (const char *)x->path.data : name, &why, &x->complaints);
	}
	return x->out.len > OUT_STEP ? flush(x, e) : 0;
}

static int walk(struct export *x, int dir, struct err *e);

static int visit(struct export *x, int dir, const char *name, struct err *e)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : err_errno(e, -errno, "cannot look at %.120s", name);
	if (S_ISREG(st.st_mode) && is_document(name))
		return take(x, dir, name, e);
	if (!S_ISDIR(st.st_mode))
		return 0;
	_cleanup_close_ int below = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (below < 0)
		return errno == ENOENT ? 0 : err_errno(e, -errno, "cannot look into %.120s", name);
	return x->depth < DEPTH_MAX ? walk(x, below, e) : 0;
}

static int walk(struct export *x, int dir, struct err *e)
{
	struct dirnames names;
	const size_t len = x->path.len;
	int r = dirnames_read(dir, &names);
	if (r < 0)
		return err_errno(e, r, "cannot list \"%.120s\"", len ? buf_cstr(&x->path) : ".");
	x->depth++;
	for (size_t i = 0; i < names.n && r == 0; i++) {
		if (len)
			buf_u8(&x->path, '/');
		buf_puts(&x->path, names.name[i]);
		r = visit(x, dir, names.name[i], e);
		if (!buf_failed(&x->path))
			x->path.len = len;
	}
	x->depth--;
	dirnames_done(&names);
	return r;
}

static int write_documents(struct export *x, struct err *e)
{
	int r = walk(x, x->from, e);
	progress_begin(&x->bar, "documents", x->csv ? 2 * x->total : x->total);
	if (r == 0 && x->csv) {
		x->pass = 1;
		r = walk(x, x->from, e);
		if (r == 0 && csvout_header(x->csv, &x->out) < 0)
			r = err_errno(e, -ENOMEM, "cannot write");
	}
	x->pass = 2;
	if (r == 0)
		r = walk(x, x->from, e);
	progress_clear(&x->bar);
	if (r == 0)
		r = flush(x, e);
	if (r == 0 && fflush(x->to) != 0)
		r = err_errno(e, -errno, "cannot write");
	return r;
}

static int report(struct cli *c, const struct export *x, const char *path, const char *to)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (c->line.json) {
		buf_puts(&b, "{\"to\":");
		cli_put_text(&b, to);
		buf_putf(&b, ",\"documents\":%llu,\"failed\":%llu}", (unsigned long long)x->written,
			 (unsigned long long)x->complaints.n);
	} else {
		buf_putf(&b, "%s: %llu documents of %s", to, (unsigned long long)x->written, *path ? path : "the store");
	}
	return cli_print(&b);
}

/* To FILE.part first: FILE is whole whenever it is there. to NULL: standard output. */
static int run(struct export *x, const char *to, struct err *e)
{
	_cleanup_(buf_done) struct buf part = { 0 };
	if (!to) {
		x->to = stdout;
		return write_documents(x, e);
	}
	buf_putf(&part, "%s.part", to);
	const char *name = buf_cstr(&part);
	x->to = name ? fopen(name, "we") : NULL;
	if (!x->to)
		return err_errno(e, name ? -errno : -ENOMEM, "cannot write %.120s", name ? name : to);
	int r = write_documents(x, e);
	if (r == 0 && fsync(fileno(x->to)) < 0)
		r = err_errno(e, -errno, "cannot write %.120s", name);
	if (fclose(x->to) != 0 && r == 0)
		r = err_errno(e, -errno, "cannot write %.120s", name);
	if (r == 0 && rename(name, to) < 0)
		r = err_errno(e, -errno, "cannot write %.120s", to);
	if (r < 0)
		unlink(name);
	return r;
}

static int export_documents(struct cli *c, int from, const char *path, const char *to,
			    const struct records_config *config)
{
	struct err e = { 0 };
	struct export x = { .from = from, .config = *config };
	int r = config->form == RECORDS_CSV ? csvout_new(config->separator, &x.csv) : 0;
	if (r < 0)
		err_errno(&e, r, "cannot export");
	else
		r = run(&x, to, &e);
	if (r == 0 && to && report(c, &x, path, to) != EXIT_DONE)
		r = err_errno(&e, -EIO, "cannot write to standard output");
	if (r == 0 && x.complaints.n)
		r = err_set(&e, -EIO, "%llu documents are missing in it", (unsigned long long)x.complaints.n);
	csvout_free(x.csv);
	buf_done(&x.path);
	buf_done(&x.text);
	buf_done(&x.out);
	arena_done(&x.arena);
	return r < 0 ? cli_fail(c, &e) : EXIT_DONE;
}

int cmd_export(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf path = { 0 }, place = { 0 };
	const char *format = c->line.value[EXPORT_FORMAT].text, *to = c->line.n_args > 1 ? c->line.arg[1] : "-";
	struct records_config config = { .form = RECORDS_JSONL };
	const bool out = strcmp(to, "-") == 0;
	const bool known = cli_format(format, to, &config);
	if (!known && format)
		return cli_usage(c, "there is no format \"%.40s\": jsonl, csv or tsv", format);
	if (out && c->line.json)
		return cli_usage(c, "--json reports on what went to a file or directory: name one");
	int r = cli_connect(c, &k, &e);
	if (r == 0)
		r = cli_path(c, c->line.arg[0], &path, &e);
	if (r == 0)
		r = mounted(c, (const char *)path.data, &place, &e);
	_cleanup_close_ int from = r == 0 ? open((const char *)place.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (r == 0 && from < 0 && errno == ENOTDIR)
		r = err_set(&e, -ENOTDIR, "\"%.80s\" is no directory; `shoal cat` prints a file", c->line.arg[0]);
	else if (r == 0 && from < 0)
		r = err_errno(&e, -errno, "cannot open \"%.120s\" of the store", (const char *)path.data);
	if (r < 0)
		return cli_fail(c, &e);
	if (!known && !out)
		return export_dir(c, from, to);
	return export_documents(c, from, (const char *)path.data, out ? NULL : to, &config);
}
