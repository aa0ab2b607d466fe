/* SPDX-License-Identifier: GPL-2.0-or-later */
/* diff: two versions of a file, fetched as `cat` does and compared here. Documents value by value,
 * texts by diff(1); of anything else the sizes are told. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "engine/jsonptr.h"
#include "engine/jsonw.h"
#include "engine/utf8.h"
#include "tools/cli.h"
#include "tools/control.h"

#define COMPARED_MAX (16u * 1024 * 1024) /* bytes; what is larger is not compared */
#define SHOWN_MAX 200                    /* bytes of a value, for people */

extern char **environ;

struct side {
	struct arena arena;
	const char *version; /* all digits */
	const char *form;
	uint64_t size;
	struct buf data;
	bool partly; /* data is not all */
	struct json *tree;
};

static void side_done(struct side *s)
{
	arena_done(&s->arena);
	buf_done(&s->data);
}

/* ---- which versions, and their bytes ---- */

static int take_part(const struct json *result, const char *raw, size_t len, bool last, void *userdata)
{
	struct side *s = userdata;
	(void)raw;
	(void)len;
	(void)last;
	if (json_get_z(result, "version")) {
		s->version = cli_text(&s->arena, result, "version", "");
		s->form = cli_text(&s->arena, result, "form", "");
		s->size = cli_uint(result, "size");
	}
	s->partly = s->size > COMPARED_MAX;
	return s->partly ? 1 : cli_take_data(result, &s->data);
}

static int fetch(struct cli *c, const char *version, struct side *s, struct err *e)
{
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 };
	int r = cli_connect(c, &k, e);
	if (r == 0)
		r = cli_put_version(c, c->line.arg[0], version, &params, e);
	buf_puts(&params, "}");
	if (r == 0)
		r = ctlclient_call(k, "cat", &params, CALL_TIMEOUT_US, take_part, s, e);
	if (r >= 0 && !buf_cstr(&s->data))
		r = -ENOMEM;
	if (r < 0 && !e->code)
		err_errno(e, r, "cannot read version %s", version);
	return r < 0 ? r : 0;
}

/* V1 and V2 of the command line; the last but one and the last where they are missing. */
static int choose(struct cli *c, struct arena *a, const char *version[2], struct err *e)
{
	_cleanup_(ctlclient_freep) struct ctlclient *k = NULL;
	_cleanup_(buf_done) struct buf params = { 0 }, text = { 0 };
	struct json *answer;
	for (unsigned i = 1; i < c->line.n_args; i++)
		version[i - 1] = c->line.arg[i] + (*c->line.arg[i] == '@');
	if (version[0] && version[1])
		return 0;
	int r = cli_connect(c, &k, e);
	if (r == 0)
		r = cli_put_version(c, c->line.arg[0], NULL, &params, e);
	buf_puts(&params, "}");
	if (r == 0)
		r = cli_ask(k, "log", &params, &text, a, &answer, e);
	if (r < 0)
		return r;
	const struct json *list = json_get_z(answer, "versions");
	const struct json *newest = list ? list->first : NULL;
	const struct json *before = newest ? newest->next : NULL;
	if (!newest || (!before && !version[0]))
		return err_set(e, -ENOENT, "only one version of %.100s is kept here", c->line.arg[0]);
	version[1] = cli_text(a, newest, "version", "");
	if (!version[0])
		version[0] = cli_text(a, before, "version", "");
	return 0;
}

/* ---- documents ---- */

struct report {
	struct side *side[2];
	struct jsonw *w;
	struct buf pointer;
	unsigned n;
};

/* A value as it was written, without the white space between its parts. */
static void compact(const struct side *s, const struct json *v, struct buf *b)
{
	const char *p = (const char *)s->data.data + v->offset;
	const char *end = (const char *)s->data.data + v->end;
	for (bool quoted = false; p < end; p++) {
		if (!quoted && strchr(" \t\r\n", *p))
			continue;
		if (quoted && *p == '\\')
			buf_u8(b, (uint8_t)*p++);
		else if (*p == '"')
			quoted = !quoted;
		buf_u8(b, (uint8_t)*p);
	}
}

static void print_value(const struct side *s, const struct json *v)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	compact(s, v, &b);
	if (b.len <= SHOWN_MAX) {
		printf(" %.*s", (int)b.len, (const char *)b.data);
		return;
	}
	size_t len = SHOWN_MAX;
	while ((b.data[len] & 0xc0) == 0x80)
		len--;
	printf(" %.*s… (%zu bytes)", (int)len, (const char *)b.data, b.len);
}

static void put_value(struct report *p, const char *key, unsigned side, const struct json *v)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	if (!v)
		return;
	jsonw_key(p->w, key);
	compact(p->side[side], v, &b);
	jsonw_raw(p->w, (const char *)b.data, b.len);
}

static void report_change(struct report *p, const struct json *old, const struct json *new)
{
	const char *pointer = buf_cstr(&p->pointer);
	p->n++;
	if (p->w) {
		jsonw_object_begin(p->w);
		jsonw_key(p->w, "pointer");
		jsonw_string_n(p->w, pointer, p->pointer.len);
		put_value(p, "old", 0, old);
		put_value(p, "new", 1, new);
		jsonw_object_end(p->w);
		return;
	}
	printf("%s:", p->pointer.len ? pointer : "(all)");
	if (!old)
		printf(" +");
	if (!new)
		printf(" -");
	if (old)
		print_value(p->side[0], old);
	if (old && new)
		printf(" ->");
	if (new)
		print_value(p->side[1], new);
	putchar('\n');
}

/* Objects key by key, arrays of one length element by element. Parsing bounds the depth. */
static void compare(struct report *p, const struct json *old, const struct json *new)
{
	bool object = old && old->type == JSON_OBJECT;
	if (!old || !new || old->type != new->type || !json_is_container(old) ||
	    (!object && old->count != new->count)) {
		if (!old || !new || !json_equal(old, new))
			report_change(p, old, new);
		return;
	}
	size_t len = p->pointer.len;
	unsigned i = 0;
	for (const struct json *x = old->first, *y = new->first; x; x = x->next, y = y ? y->next : y) {
		if (object)
			json_pointer_append(&p->pointer, x->key, x->key_len);
		else
			buf_putf(&p->pointer, "/%u", i++);
		compare(p, x, object ? json_get(new, x->key, x->key_len) : y);
		p->pointer.len = len;
	}
	for (const struct json *y = object ? new->first : NULL; y; y = y->next) {
		if (json_get(old, y->key, y->key_len))
			continue;
		json_pointer_append(&p->pointer, y->key, y->key_len);
		report_change(p, NULL, y);
		p->pointer.len = len;
	}
}

/* ---- texts ---- */

static bool is_text(const struct side *s)
{
	const uint8_t *p = s->data.data, *end = p + s->data.len;
	if (s->partly)
		return false;
	while (p < end) {
		size_t n = *p < 0x80 ? (*p != 0) : utf8_sequence(p, end);
		if (!n)
			return false;
		p += n;
	}
	return true;
}

/* A file in memory that a child can open by its number. */
static int memory_file(const struct buf *data)
{
	_cleanup_close_ int fd = memfd_create("version", 0);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < data->len;) {
		ssize_t n = write(fd, data->data + at, data->len - at);
		if (n < 0)
			return -errno;
		at += (size_t)n;
	}
	return TAKE_FD(fd);
}

static int read_all(int fd, struct buf *ret)
{
	for (;;) {
		uint8_t *p = buf_reserve(ret, 65536);
		if (!p)
			return -ENOMEM;
		ssize_t n = read(fd, p, 65536);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		ret->len += (size_t)n;
	}
}

static int run_diff(char *const argv[], struct buf *ret)
{
	posix_spawn_file_actions_t actions;
	int out[2], status;
	pid_t pid;
	if (pipe2(out, O_CLOEXEC) < 0)
		return -errno;
	int r = posix_spawn_file_actions_init(&actions);
	if (r == 0) {
		r = posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
		if (r == 0)
			r = posix_spawnp(&pid, "diff", &actions, NULL, argv, environ);
		posix_spawn_file_actions_destroy(&actions);
	}
	close(out[1]);
	if (r == 0) {
		r = -read_all(out[0], ret);
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		if (r == 0 && (!WIFEXITED(status) || WEXITSTATUS(status) > 1))
			r = EIO;
	}
	close(out[0]);
	return -r;
}

static void put_label(const struct cli *c, const struct side *s, struct buf *b)
{
	buf_putf(b, "--label=%s@%.12s", c->line.arg[0], s->version);
}

static int text_diff(struct cli *c, struct side *s, struct buf *ret, struct err *e)
{
	static char name[] = "diff", unified[] = "-u", colour[] = "--color=always";
	_cleanup_close_ int old = memory_file(&s[0].data), new = memory_file(&s[1].data);
	_cleanup_(buf_done) struct buf from = { 0 }, to = { 0 };
	char path[2][32];
	put_label(c, &s[0], &from);
	put_label(c, &s[1], &to);
	snprintf(path[0], sizeof(path[0]), "/proc/self/fd/%d", old);
	snprintf(path[1], sizeof(path[1]), "/proc/self/fd/%d", new);
	char *argv[] = { name, unified, buf_cstr(&from), buf_cstr(&to), path[0], path[1],
			 c->colour && !c->line.json ? colour : NULL, NULL };
	int r = old < 0 ? old : new < 0 ? new : !argv[2] || !argv[3] ? -ENOMEM : 0;
	if (r == 0)
		r = run_diff(argv, ret);
	if (r == -ENOENT)
		return err_set(e, r, "texts are compared by diff(1), which is not here: install diffutils");
	return r < 0 ? err_errno(e, r, "cannot compare the texts") : 0;
}

/* ---- the answer ---- */

static void put_side(struct jsonw *w, const char *version, const char *size, const struct side *s)
{
	jsonw_key(w, version);
	jsonw_string(w, s->version);
	jsonw_key(w, size);
	jsonw_uint(w, s->size);
}

static int put_json(struct cli *c, struct report *p, struct side *s, const struct buf *text)
{
	_cleanup_(buf_done) struct buf b = { 0 }, path = { 0 };
	struct jsonw w;
	struct err e = { 0 };
	if (cli_path(c, c->line.arg[0], &path, &e) < 0)
		return cli_fail(c, &e);
	jsonw_init(&w, &b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "path");
	jsonw_string_n(&w, (const char *)path.data, path.len);
	put_side(&w, "from", "from_size", &s[0]);
	put_side(&w, "to", "to_size", &s[1]);
	jsonw_key(&w, "form");
	jsonw_string(&w, s[0].tree ? "json" : text ? "text" : "binary");
	if (s[0].tree) {
		p->w = &w;
		jsonw_key(&w, "changes");
		jsonw_array_begin(&w);
		compare(p, s[0].tree, s[1].tree);
		jsonw_array_end(&w);
	} else if (text) {
		jsonw_key(&w, "diff");
		jsonw_string_n(&w, (const char *)text->data, text->len);
	}
	jsonw_object_end(&w);
	jsonw_end(&w);
	return cli_print(&b);
}

static int print_human(struct report *p, struct side *s, const struct buf *text)
{
	bool same = !s[0].partly && !s[1].partly && s[0].data.len == s[1].data.len &&
		    memcmp(s[0].data.data, s[1].data.data, s[0].data.len) == 0;
	char from[HUMAN_SIZE], to[HUMAN_SIZE];
	if (same) {
		puts("They are the same.");
	} else if (s[0].tree) {
		compare(p, s[0].tree, s[1].tree);
		if (!p->n)
			puts("The values are the same; they are written in another way.");
	} else if (text) {
		fwrite(text->data, 1, text->len, stdout);
	} else {
		printf("Not texts: %s before (%llu bytes), %s after (%llu bytes)\n",
		       human_bytes(s[0].size, from), (unsigned long long)s[0].size,
		       human_bytes(s[1].size, to), (unsigned long long)s[1].size);
	}
	return EXIT_DONE;
}

/* Documents are what both sides parse as. */
static void parse(struct side *s)
{
	bool both = true;
	for (unsigned i = 0; i < 2; i++)
		both = both && strcmp(s[i].form, "json") == 0 && !s[i].partly &&
		       json_parse(&s[i].arena, (const char *)s[i].data.data, s[i].data.len, NULL,
				  &s[i].tree, NULL) == 0;
	if (!both)
		s[0].tree = s[1].tree = NULL;
}

static int diff(struct cli *c, struct side *s, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf text = { 0 };
	const char *version[2] = { NULL, NULL };
	int r = choose(c, &a, version, e);
	for (unsigned i = 0; r == 0 && i < 2; i++)
		r = fetch(c, version[i], &s[i], e);
	if (r < 0)
		return r;
	parse(s);
	bool lines = !s[0].tree && is_text(&s[0]) && is_text(&s[1]);
	if (lines)
		r = text_diff(c, s, &text, e);
	if (r < 0)
		return r;
	struct report p = { .side = { &s[0], &s[1] } };
	int status = c->line.json ? put_json(c, &p, s, lines ? &text : NULL) :
				    print_human(&p, s, lines ? &text : NULL);
	buf_done(&p.pointer);
	return status;
}

int cmd_diff(void *context)
{
	struct cli *c = context;
	struct err e = { 0 };
	struct side s[2] = { { .version = "" }, { .version = "" } };
	int r = diff(c, s, &e);
	side_done(&s[0]);
	side_done(&s[1]);
	return r < 0 ? cli_fail(c, &e) : r;
}
