/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A mounted replica and a second one in the same process, for tests of the file system without a
 * network:
 *
 *     fsmount STORE MOUNTPOINT [OPTIONS]
 *
 * STORE/a is mounted, STORE/b is "the other device". Commands come on stdin, one a line, words
 * apart by blanks, contents and paths in hexadecimal; each is answered by one line on stdout, "ok
 * [WORD]..." or "error NUMBER TEXT":
 *
 *     cat PATH            contents on the other device
 *     put PATH CONTENT    made or saved there, over its newest version
 *     here PATH CONTENT   the same on this device, past the mount, as tools do
 *     many DIRECTORY N    so many small documents in it, in that way: n0.json, n1.json, ...
 *     gone PATH           removed on this device, in the same way
 *     purge PATH          removed there, and nothing is kept of it
 *     rm PATH, mkdir PATH, mv PATH PATH, ln TARGET PATH, link PATH PATH, chmod MODE PATH (octal)
 *     type DIRECTORY POINTER TYPE
 *     ls                  all paths there
 *     sync                both hold the same afterwards
 *     settle              grace periods end now, all news has reached the kernel
 *     idle                all news has reached the kernel
 *     linger US           each change of this device is seen that much earlier than observers are told
 *     changes             what changed since this was asked last, as observers are told: a JSON
 *                         array of two arrays, one for each device, this one first
 *     stats, drafts, unmount, force, quit */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/jsonw.h"
#include "engine/purge.h"
#include "engine/replica.h"
#include "engine/session.h"
#include "engine/store.h"
#include "fusefs/fusefs.h"

struct device {
	struct store *store;
	struct replica *replica;
	struct id id;
	bool watched;
	atomic_uint linger; /* microseconds */
	pthread_mutex_t lock;
	struct buf changes; /* lock: JSON objects with a comma before each */
};

struct world {
	struct device a, b;
	struct fusefs *fs;
};

static uint64_t wall_us(void *userdata)
{
	(void)userdata;
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void random_bytes(void *userdata, void *data, size_t len)
{
	(void)userdata;
	if (getrandom(data, len, 0) != (ssize_t)len)
		abort();
}

static void put_change(struct device *d, const struct change *c, struct buf *b)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	struct jsonw w;
	const char *name = c->name ? c->name : c->old_name;
	if (name && replica_path(d->replica, c->name ? &c->parent : &c->old_parent, &path) == 0)
		buf_putf(&path, "%s%s", path.len ? "/" : "", name);
	else
		replica_path(d->replica, &c->id, &path);
	jsonw_init(&w, b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "path");
	jsonw_string(&w, buf_cstr(&path));
	jsonw_key(&w, "remote");
	jsonw_bool(&w, c->remote);
	jsonw_key(&w, "content");
	jsonw_bool(&w, c->what & CHANGE_CONTENT);
	jsonw_key(&w, "attributes");
	jsonw_bool(&w, c->what & CHANGE_ATTR);
	jsonw_key(&w, "created");
	jsonw_bool(&w, c->what & CHANGE_CREATED);
	jsonw_key(&w, "removed");
	jsonw_bool(&w, c->what & CHANGE_REMOVED);
	jsonw_key(&w, "pointers");
	jsonw_array_begin(&w);
	for (uint32_t i = 0; c->pointer && i < c->n_pointers; i++)
		jsonw_string(&w, c->pointer[i]);
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	jsonw_end(&w);
}

static void observe(const struct change *change, size_t n, void *userdata)
{
	struct device *d = userdata;
	for (size_t i = 0; i < n; i++) {
		_cleanup_(buf_done) struct buf one = { 0 };
		put_change(d, &change[i], &one);
		pthread_mutex_lock(&d->lock);
		buf_u8(&d->changes, ',');
		buf_put(&d->changes, one.data, one.len);
		pthread_mutex_unlock(&d->lock);
	}
}

/* Comes before the mount's observers, which have to wait for it. */
static void linger(const struct change *change, size_t n, void *userdata)
{
	struct device *d = userdata;
	(void)change;
	(void)n;
	usleep(atomic_load(&d->linger));
}

static int device_open(struct device *d, const char *dir, const char *name, uint8_t byte,
		       struct err *e)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	buf_putf(&path, "%s/%s", dir, name);
	memset(d->id.b, byte, ID_SIZE);
	int r = store_open(buf_cstr(&path), true, &d->store, e);
	if (r < 0)
		return r;
	struct replica_config config = {
		.store = d->store, .device = d->id, .wall_us = wall_us, .random = random_bytes
	};
	pthread_mutex_init(&d->lock, NULL);
	r = replica_open(&config, &d->replica, e);
	return r < 0 ? r : replica_observe(d->replica, linger, d);
}

static void device_close(struct device *d)
{
	replica_free(d->replica);
	store_close(d->store);
	buf_done(&d->changes);
	pthread_mutex_destroy(&d->lock);
}

/* ---- the other device ---- */

static int find(struct replica *r, const char *path, struct id *ret_parent, const char **ret_name,
		struct attr *ret)
{
	struct attr attr = { .id = NODE_ROOT, .kind = NODE_DIR };
	for (;;) {
		const char *slash = strchr(path, '/');
		size_t len = slash ? (size_t)(slash - path) : strlen(path);
		*ret_parent = attr.id;
		*ret_name = path;
		int rc = replica_lookup(r, ret_parent, path, len, &attr);
		if (!slash || rc < 0) {
			*ret = attr;
			return slash ? -ENOTDIR : rc;
		}
		path = slash + 1;
	}
}

static void print_hex(const void *data, size_t len)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < len; i++)
		printf("%02x", p[i]);
}

static int do_cat(struct device *d, const char *path)
{
	struct id parent;
	const char *name;
	struct attr attr;
	struct version *v = NULL;
	int r = find(d->replica, path, &parent, &name, &attr);
	if (r >= 0)
		r = replica_read(d->replica, &attr.id, &v);
	if (r < 0)
		return r;
	size_t size = (size_t)version_size(v), at = 0;
	_cleanup_free_ uint8_t *p = malloc(size + 1);
	while (p && at < size) {
		ssize_t n = version_pread(v, p + at, size - at, at);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	version_unref(v);
	if (!p || at < size)
		return -EIO;
	printf("ok ");
	print_hex(p, size);
	printf("\n");
	return 1;
}

static int do_put(struct device *d, const char *path, const void *data, size_t len, struct err *e)
{
	struct id parent;
	const char *name;
	struct attr attr;
	struct content content = { .data = data, .len = len, .fd = -1 };
	int r = find(d->replica, path, &parent, &name, &attr);
	if (r == -ENOENT) {
		r = replica_create(d->replica, &parent, name, strlen(name), 0644, &content,
				   SAVE_BY_NAME, 0, &attr, NULL, e);
		return r < 0 ? r : 0;
	}
	struct version *v = NULL;
	if (r >= 0)
		r = replica_read(d->replica, &attr.id, &v);
	if (r >= 0)
		r = replica_save(d->replica, &attr.id, v, &content, SAVE_BY_NAME, NULL, e);
	if (v)
		version_unref(v);
	return r < 0 ? r : 0;
}

static int do_rm(struct device *d, const char *path)
{
	struct id parent;
	const char *name;
	struct attr attr;
	int r = find(d->replica, path, &parent, &name, &attr);
	return r < 0 ? r : replica_remove(d->replica, &attr.entry, 0);
}

static int do_purge(struct device *d, const char *path, struct err *e)
{
	struct id parent;
	const char *name;
	struct attr attr;
	uint32_t looked, purged = 0;
	int r = find(d->replica, path, &parent, &name, &attr);
	if (r >= 0)
		r = replica_remove(d->replica, &attr.entry, 0);
	if (r >= 0)
		r = replica_purge(d->replica, &attr.id, 1, &looked, &purged, e);
	return r < 0 ? r : purged == 1 ? 0 : err_set(e, -EIO, "it is not purged");
}

static int do_mkdir(struct device *d, const char *path)
{
	struct id parent;
	const char *name;
	struct attr attr;
	int r = find(d->replica, path, &parent, &name, &attr);
	return r == -ENOENT ? replica_mkdir(d->replica, &parent, name, strlen(name), 0755, &attr)
	       : r < 0      ? r
			    : -EEXIST;
}

/* What is there, and where it is to be; 1: something is there already. */
static int find_both(struct device *d, const char *from, const char *to, struct attr *ret_from,
		     struct id *ret_dir, const char **ret_name)
{
	struct id dir;
	const char *name;
	struct attr other;
	int r = find(d->replica, from, &dir, &name, ret_from);
	if (r < 0)
		return r;
	r = find(d->replica, to, ret_dir, ret_name, &other);
	return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

static int do_mv(struct device *d, const char *from, const char *to)
{
	struct id dir, id;
	const char *name;
	struct attr attr;
	int r = find_both(d, from, to, &attr, &dir, &name);
	return r < 0 ? r : replica_rename(d->replica, &attr.entry, &dir, name, strlen(name), 0, &id);
}

/* Those of the mounted device, then those of the other one. */
static int do_changes(struct world *w)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct device *const device[] = { &w->a, &w->b };
	buf_u8(&b, '[');
	for (unsigned i = 0; i < 2; i++) {
		struct device *d = device[i];
		if (!d->watched && replica_observe(d->replica, observe, d) == 0)
			d->watched = true;
		pthread_mutex_lock(&d->lock);
		const uint8_t *objects = d->changes.len ? d->changes.data + 1 : NULL;
		buf_puts(&b, i ? ",[" : "[");
		buf_put(&b, objects, objects ? d->changes.len - 1 : 0);
		buf_u8(&b, ']');
		buf_reset(&d->changes);
		pthread_mutex_unlock(&d->lock);
	}
	buf_u8(&b, ']');
	if (buf_failed(&b))
		return -ENOMEM;
	printf("ok ");
	print_hex(b.data, b.len);
	printf("\n");
	return 1;
}

static int do_type(struct device *d, char *word[4], struct err *e)
{
	struct id parent;
	const char *name;
	struct attr attr;
	int r = find(d->replica, word[1], &parent, &name, &attr);
	return r < 0 ? r : replica_declare(d->replica, &attr.id, word[2], strlen(word[2]), word[3], e);
}

static int do_ln(struct device *d, const char *target, const char *path)
{
	struct id parent;
	const char *name;
	struct attr attr;
	int r = find(d->replica, path, &parent, &name, &attr);
	return r == -ENOENT ? replica_symlink(d->replica, &parent, name, strlen(name), target, &attr)
	       : r < 0      ? r
			    : -EEXIST;
}

static int do_link(struct device *d, const char *from, const char *to)
{
	struct id dir;
	const char *name;
	struct attr attr;
	int r = find_both(d, from, to, &attr, &dir, &name);
	return r < 0 ? r : r > 0 ? -EEXIST : replica_link(d->replica, &attr.id, &dir, name, strlen(name), NULL);
}

static int do_chmod(struct device *d, const char *mode, const char *path)
{
	struct id parent;
	const char *name;
	struct attr attr;
	int r = find(d->replica, path, &parent, &name, &attr);
	return r < 0 ? r
		     : replica_set_mode(d->replica, &attr.id, (uint32_t)strtoul(mode, NULL, 8));
}

struct listing {
	struct replica *replica;
	struct buf prefix;
};

static int list_one(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	struct listing *l = userdata;
	size_t keep = l->prefix.len;
	buf_put(&l->prefix, name, len);
	printf(" ");
	print_hex(l->prefix.data, l->prefix.len);
	int r = 0;
	if (attr->kind == NODE_DIR) {
		buf_u8(&l->prefix, '/');
		r = replica_list(l->replica, &attr->id, list_one, l);
	}
	l->prefix.len = keep;
	return r;
}

static int do_ls(struct device *d)
{
	struct listing l = { d->replica, { 0 } };
	printf("ok");
	replica_list(d->replica, &NODE_ROOT, list_one, &l);
	printf("\n");
	buf_done(&l.prefix);
	return 1;
}

/* ---- sync ---- */

static int pass(struct session *from, struct session *to, uint64_t now, bool *moved, struct err *e)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	int r;
	do {
		buf_reset(&b);
		r = session_output(from, &b, 256 * 1024, now, e);
		if (r < 0)
			return r;
		if (b.len) {
			*moved = true;
			int q = session_input(to, b.data, b.len, now, e);
			if (q < 0)
				return q;
		}
	} while (r == 1 && b.len);
	return 0;
}

static int do_sync(struct world *w, struct err *e)
{
	_cleanup_(session_freep) struct session *a = NULL;
	_cleanup_(session_freep) struct session *b = NULL;
	uint64_t now = 1000000;
	int r = replica_flush(w->a.replica, e);
	if (r >= 0)
		r = replica_flush(w->b.replica, e);
	if (r >= 0)
		r = session_new(w->a.replica, &w->b.id, now, &a);
	if (r >= 0)
		r = session_new(w->b.replica, &w->a.id, now, &b);
	/* Programs may write meanwhile: then there is more to do at the next look. */
	for (unsigned quiet = 0, rounds = 0;
	     r >= 0 && (quiet < 3 || !session_in_step(a) || !session_in_step(b)); rounds++) {
		bool moved = false;
		if (quiet > 1000)
			return err_set(e, -EIO, "quiet, and yet not in step");
		if (rounds > 100000)
			return err_set(e, -EIO, "the devices do not come to rest");
		r = pass(a, b, now, &moved, e);
		if (r >= 0)
			r = pass(b, a, now, &moved, e);
		/* What came in is acknowledged when it is durable. */
		if (r >= 0)
			r = replica_flush(w->a.replica, e);
		if (r >= 0)
			r = replica_flush(w->b.replica, e);
		session_news(a);
		session_news(b);
		now += 10000;
		quiet = moved ? 0 : quiet + 1;
	}
	return r < 0 ? r : 0;
}

/* ---- commands ---- */

/* So many small documents in a directory. */
static int do_many(struct device *d, const char *dir, unsigned long count, struct err *e)
{
	int r = 0;
	for (unsigned long i = 0; i < count && r == 0; i++) {
		_cleanup_(buf_done) struct buf path = { 0 };
		buf_putf(&path, "%s/n%lu.json", dir, i);
		r = do_put(d, buf_cstr(&path), "{}\n", 3, e);
	}
	return r;
}

static int unhex(char *text, size_t *ret_len)
{
	size_t n = strlen(text);
	if (n % 2)
		return -EINVAL;
	for (size_t i = 0; i < n; i += 2) {
		char pair[3] = { text[i], text[i + 1], 0 }, *end;
		text[i / 2] = (char)strtoul(pair, &end, 16);
		if (*end)
			return -EINVAL;
	}
	text[n / 2] = '\0';
	*ret_len = n / 2;
	return 0;
}

static int print_draft(const char *path, const struct err *why, void *userdata)
{
	(void)userdata;
	printf(" ");
	print_hex(path, strlen(path));
	printf(":%u:%u", why->line, why->column);
	return 0;
}

static int run(struct world *w, char *word[4], int n, struct err *e)
{
	size_t len[4] = { 0 };
	for (int i = 1; i < n; i++)
		if (unhex(word[i], &len[i]) < 0)
			return err_set(e, -EINVAL, "not hexadecimal");
	if (strcmp(word[0], "cat") == 0 && n == 2)
		return do_cat(&w->b, word[1]);
	if (strcmp(word[0], "put") == 0 && n >= 2)
		return do_put(&w->b, word[1], n > 2 ? word[2] : "", len[2], e);
	if (strcmp(word[0], "here") == 0 && n >= 2)
		return do_put(&w->a, word[1], n > 2 ? word[2] : "", len[2], e);
	if (strcmp(word[0], "many") == 0 && n == 3)
		return do_many(&w->a, word[1], strtoul(word[2], NULL, 10), e);
	if (strcmp(word[0], "gone") == 0 && n == 2)
		return do_rm(&w->a, word[1]);
	if (strcmp(word[0], "rm") == 0 && n == 2)
		return do_rm(&w->b, word[1]);
	if (strcmp(word[0], "purge") == 0 && n == 2)
		return do_purge(&w->b, word[1], e);
	if (strcmp(word[0], "mkdir") == 0 && n == 2)
		return do_mkdir(&w->b, word[1]);
	if (strcmp(word[0], "mv") == 0 && n == 3)
		return do_mv(&w->b, word[1], word[2]);
	if (strcmp(word[0], "type") == 0 && n == 4)
		return do_type(&w->b, word, e);
	if (strcmp(word[0], "ln") == 0 && n == 3)
		return do_ln(&w->b, word[1], word[2]);
	if (strcmp(word[0], "link") == 0 && n == 3)
		return do_link(&w->b, word[1], word[2]);
	if (strcmp(word[0], "chmod") == 0 && n == 3)
		return do_chmod(&w->b, word[1], word[2]);
	if (strcmp(word[0], "ls") == 0)
		return do_ls(&w->b);
	if (strcmp(word[0], "sync") == 0)
		return do_sync(w, e);
	if (strcmp(word[0], "settle") == 0)
		return fusefs_wait_idle(w->fs, true, 20000);
	if (strcmp(word[0], "idle") == 0)
		return fusefs_wait_idle(w->fs, false, 20000);
	if (strcmp(word[0], "linger") == 0 && n == 2) {
		atomic_store(&w->a.linger, (unsigned)strtoul(word[1], NULL, 10));
		return 0;
	}
	if (strcmp(word[0], "changes") == 0)
		return do_changes(w);
	if (strcmp(word[0], "drafts") == 0) {
		printf("ok");
		fusefs_drafts(w->fs, print_draft, NULL);
		printf("\n");
		return 1;
	}
	if (strcmp(word[0], "stats") == 0) {
		struct fusefs_stats s;
		fusefs_stats(w->fs, &s);
		printf("ok inodes=%llu handles=%llu dirty=%llu drafts=%llu local=%llu "
		       "tombstones=%llu pinned=%llu saves=%llu notifies=%llu calls=%llu "
		       "requests=%llu\n",
		       (unsigned long long)s.inodes, (unsigned long long)s.handles,
		       (unsigned long long)s.dirty, (unsigned long long)s.drafts,
		       (unsigned long long)s.local, (unsigned long long)s.tombstones,
		       (unsigned long long)s.pinned, (unsigned long long)s.saves,
		       (unsigned long long)s.notifies, (unsigned long long)s.calls,
		       (unsigned long long)s.requests);
		return 1;
	}
	if (strcmp(word[0], "unmount") == 0)
		return fusefs_unmount(w->fs, false, e);
	if (strcmp(word[0], "force") == 0)
		return fusefs_unmount(w->fs, true, e);
	return err_set(e, -EINVAL, "no such command");
}

static void serve(struct world *w)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;
	while ((n = getline(&line, &room, stdin)) > 0) {
		char *word[4], *p = line;
		int words = 0;
		line[strcspn(line, "\n")] = '\0';
		for (char *t; words < 4 && (t = strsep(&p, " "));)
			word[words++] = t;
		if (strcmp(word[0], "quit") == 0)
			break;
		struct err e = { 0 };
		int r = run(w, word, words, &e);
		if (r < 0)
			printf("error %d %s\n", -r, e.code ? e.message : strerror(-r));
		else if (r == 0)
			printf("ok\n");
		fflush(stdout);
	}
	free(line);
}

static int status(void *userdata, struct buf *out)
{
	struct world *w = userdata;
	buf_putf(out, "{\"files\":%llu}\n", (unsigned long long)replica_count(w->a.replica));
	return 0;
}

static void ended(void *userdata)
{
	(void)userdata;
	fprintf(stderr, "ended\n");
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: fsmount STORE MOUNTPOINT [OPTIONS]\n");
		return 2;
	}
	struct world w = { 0 };
	struct err e = { 0 };
	_cleanup_(buf_done) struct buf spool = { 0 };
	buf_putf(&spool, "%s/spool", argv[1]);
	mkdir(argv[1], 0700);
	signal(SIGPIPE, SIG_IGN);
	struct fusefs_config config = {
		.mountpoint = argv[2],
		.options = argc > 3 ? argv[3] : NULL,
		.spool = buf_cstr(&spool),
		.status = status,
		.ended = ended,
		.userdata = &w,
	};
	int r = device_open(&w.a, argv[1], "a", 0x11, &e);
	if (r >= 0)
		r = device_open(&w.b, argv[1], "b", 0x22, &e);
	config.replica = w.a.replica;
	if (r >= 0)
		r = fusefs_mount(&config, &w.fs, &e);
	if (r >= 0)
		r = fusefs_start(w.fs, &e);
	if (r < 0) {
		printf("error %d %s\n", -r, e.message);
	} else {
		printf("ok\n");
		fflush(stdout);
		serve(&w);
	}
	fusefs_free(w.fs);
	if (w.a.store)
		device_close(&w.a);
	if (w.b.store)
		device_close(&w.b);
	return r < 0;
}
