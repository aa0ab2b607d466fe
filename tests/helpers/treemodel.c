/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A tree of files against a model of it in memory, from a seed:
 *
 *     treemodel [--seed N] [--ops N] [--check] [--trace] DIR
 *
 * In DIR, which has to be empty, random files of all types are made, renamed over each other, changed
 * and removed. Each call has to succeed, or fail with the error that the model says; what is there has to be
 * what the model has, type, mode, owner, times, contents, attributes and inode number. The seed is printed;
 * with it it all happens again. --check does nothing but look whether DIR is what the seed leads to, but for
 * inode numbers: after a remount. --trace tells every operation. Wants root. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "tests/prng.h"

#define NODES 120
#define CONTENT_MAX 40000
#define DEPTH 5

/* What names are names of. */
struct file {
	unsigned links; /* names */
	bool linked;    /* it had several once */
	mode_t mode;    /* with the type */
	uid_t uid;
	gid_t gid;
	dev_t rdev;
	ino_t ino;
	int64_t mtime_ns; /* 0: never set */
	uint8_t *data;    /* of a file or link */
	size_t size;
	char attr[40]; /* of user.model; "": there is none */
	int fd;        /* open: -1 not */
};

struct node {
	bool used;
	int parent; /* its index; 0 is DIR */
	char name[32];
	struct file *f;
	bool nameless; /* removed, still open */
};

struct world {
	struct prng rng;
	struct node node[NODES];
	const char *top;
	bool check; /* nothing is done, only the model changes */
	unsigned long op;
	char what[10000];
	unsigned left;  /* names that files have left: who saves one again, is an edit of what was there */
	unsigned saves; /* files with an attribute: who saves it again may have that */
};

static void fail(const struct world *w, const char *why)
{
	int error = errno;
	printf("operation %lu: %s: %s (errno %d: %s)\n", w->op, w->what, why, error, strerror(error));
	exit(1);
}

static void must(const struct world *w, bool ok, const char *why)
{
	if (!ok)
		fail(w, why);
}

/* The call is due, and its result what it should be: 0, or the negative error. */
static void result(const struct world *w, int r, int want)
{
	int got = r < 0 ? -errno : 0;
	if (got == want)
		return;
	printf("result is %d (%s) and should be %d (%s)\n", got, strerror(-got), want, strerror(-want));
	fail(w, "result");
}

static size_t below(struct world *w, size_t n)
{
	return n ? (size_t)prng_below(&w->rng, n) : 0;
}

/* ---- the model ---- */

static bool is_dir(const struct world *w, int n)
{
	return S_ISDIR(w->node[n].f->mode);
}

static int depth(const struct world *w, int n)
{
	int d = 0;
	for (; n; n = w->node[n].parent)
		d++;
	return d;
}

static bool inside(const struct world *w, int n, int dir)
{
	for (;; n = w->node[n].parent) {
		if (n == dir)
			return true;
		if (n == 0)
			return false;
	}
}

static int find(const struct world *w, int parent, const char *name)
{
	for (int n = 1; n < NODES; n++)
		if (w->node[n].used && !w->node[n].nameless && w->node[n].parent == parent &&
		    strcmp(w->node[n].name, name) == 0)
			return n;
	return -1;
}

static unsigned children(const struct world *w, int dir, bool only_dirs)
{
	unsigned count = 0;
	for (int n = 1; n < NODES; n++)
		count += w->node[n].used && !w->node[n].nameless && w->node[n].parent == dir &&
			 (!only_dirs || is_dir(w, n));
	return count;
}

static char *path_to(const struct world *w, int parent, const char *name, char *room, size_t len)
{
	if (parent == 0)
		snprintf(room, len, "%s", w->top);
	else
		path_to(w, w->node[parent].parent, w->node[parent].name, room, len);
	size_t n = strlen(room);
	snprintf(room + n, len - n, "/%s", name);
	return room;
}

static char *path_of(const struct world *w, int n, char *room, size_t len)
{
	if (n == 0)
		snprintf(room, len, "%s", w->top);
	else
		path_to(w, w->node[n].parent, w->node[n].name, room, len);
	return room;
}

static int some(struct world *w, bool (*f)(const struct world *w, int n))
{
	int list[NODES], n_list = 0;
	for (int n = 0; n < NODES; n++)
		if ((n == 0 || w->node[n].used) && f(w, n))
			list[n_list++] = n;
	return n_list ? list[below(w, (size_t)n_list)] : -1;
}

static bool named(const struct world *w, int n)
{
	return n && !w->node[n].nameless;
}

static bool dir_with_room(const struct world *w, int n)
{
	return n == 0 || (is_dir(w, n) && depth(w, n) < DEPTH);
}

static bool named_file(const struct world *w, int n)
{
	return named(w, n) && S_ISREG(w->node[n].f->mode);
}

static bool file(const struct world *w, int n)
{
	return n && S_ISREG(w->node[n].f->mode);
}

static bool open_file(const struct world *w, int n)
{
	return file(w, n) && w->node[n].f->fd >= 0;
}

static void forget_file(struct file *f)
{
	free(f->data);
	free(f);
}

static void forget(struct world *w, int n)
{
	struct file *f = w->node[n].f;
	w->node[n] = (struct node){ 0 };
	if (f && (f->links == 0 || --f->links == 0))
		forget_file(f);
}

/* The name is gone: the file lives on under others, or as long as it is open. */
static void drop(struct world *w, int n)
{
	struct file *f = w->node[n].f;
	if (f->links == 1 && f->fd >= 0) {
		w->node[n].nameless = true;
		f->links = 0;
	} else {
		forget(w, n);
	}
}

/* Few names, so that they meet; some of kinds that the file system treats in a way of their own. No
 * documents: what they refuse is no matter of file systems. */
static const char *const names[] = { "a",     "b",     "c",         "d.txt", "e.txt",
				     "#i#",   "f.bin", "tmpA1b2c3", "h.tmp", "e.txt~",
				     "g.bin", "m.md",  ".l",        "d.txt.Xy12zQ" };
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static const char *some_name(struct world *w)
{
	return names[below(w, N_NAMES)];
}

static unsigned bit_of(const char *name)
{
	for (unsigned k = 0; k < N_NAMES; k++)
		if (strcmp(names[k], name) == 0)
			return 1u << k;
	return 0;
}

/* n is about to lose its name, or has got another one. */
static void note_left(struct world *w, int n, const char *name)
{
	if (!S_ISREG(w->node[n].f->mode))
		return;
	w->left |= bit_of(name);
	if (w->node[n].f->attr[0])
		w->saves |= bit_of(name);
}

static void note_come(struct world *w, struct node *x)
{
	if (S_ISREG(x->f->mode) && !x->f->attr[0] && (w->saves & bit_of(x->name)))
		x->f->attr[0] = '?';
}

static void content(struct world *w, const char *name, struct node *x)
{
	bool binary = strstr(name, ".bin");
	size_t len = below(w, prng_chance(&w->rng, 30) ? CONTENT_MAX : 500);
	free(x->f->data);
	x->f->size = len;
	x->f->data = malloc(len + 1);
	must(w, x->f->data != NULL, "memory");
	for (size_t k = 0; k < len; k++)
		x->f->data[k] = binary ? (uint8_t)prng_u64(&w->rng) :
			     prng_chance(&w->rng, 3) ? '\n' : (uint8_t)('a' + below(w, 26));
	x->f->mtime_ns = 0;
}

/* ---- what is there is what the model has ---- */

static void check_content(const struct world *w, int fd, const struct node *x)
{
	uint8_t room[4096];
	for (size_t at = 0;;) {
		ssize_t n = pread(fd, room, sizeof(room), (off_t)at);
		must(w, n >= 0, "read");
		must(w, (size_t)n <= x->f->size - at && memcmp(room, x->f->data + at, (size_t)n) == 0,
		     "contents");
		at += (size_t)n;
		if (n == 0) {
			must(w, at == x->f->size, "length of the contents");
			return;
		}
	}
}

static void check_stat(struct world *w, int n, const struct stat *st)
{
	struct node *x = &w->node[n];
	must(w, st->st_mode == x->f->mode, "mode");
	must(w, st->st_uid == x->f->uid && st->st_gid == x->f->gid, "owner");
	must(w, st->st_rdev == x->f->rdev, "device");
	const unsigned links = !S_ISDIR(x->f->mode) ? x->f->links :
			       x->nameless ? 0 : 2 + children(w, n, true);
	if (st->st_nlink != links) {
		printf("links are %u and should be %u\n", (unsigned)st->st_nlink, links);
		fail(w, "link count");
	}
	if (!S_ISDIR(x->f->mode) && (size_t)st->st_size != x->f->size) {
		printf("size is %lld and should be %zu\n", (long long)st->st_size, x->f->size);
		fail(w, "size");
	}
	must(w, !x->f->ino || st->st_ino == x->f->ino, "inode number");
	x->f->ino = st->st_ino;
	int64_t ns = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	must(w, !x->f->mtime_ns || S_ISDIR(x->f->mode) || ns == x->f->mtime_ns, "time");
}

static void check_attr(const struct world *w, const char *path, const struct node *x)
{
	char room[100];
	ssize_t n = getxattr(path, "user.model", room, sizeof(room));
	if (x->f->attr[0] == '?')
		return;
	if (n < 0 && errno == ENODATA && !x->f->attr[0])
		return;
	if (n != (ssize_t)strlen(x->f->attr) || memcmp(room, x->f->attr, (size_t)n) != 0) {
		printf("attribute is \"%.*s\" and should be \"%s\"\n", n < 0 ? 0 : (int)n, room, x->f->attr);
		fail(w, "attribute");
	}
}

static void check_node(struct world *w, int n)
{
	struct node *x = &w->node[n];
	char path[4096], target[4200];
	struct stat st;
	snprintf(w->what, sizeof(w->what), "look at %d, %s", n, path_of(w, n, path, sizeof(path)));
	if (x->nameless) {
		must(w, fstat(x->f->fd, &st) == 0, "fstat");
		check_stat(w, n, &st);
		check_content(w, x->f->fd, x);
		return;
	}
	must(w, lstat(path, &st) == 0, "lstat");
	check_stat(w, n, &st);
	if (S_ISREG(x->f->mode)) {
		int fd = open(path, O_RDONLY);
		must(w, fd >= 0, "open");
		check_content(w, fd, x);
		close(fd);
	} else if (S_ISLNK(x->f->mode)) {
		ssize_t len = readlink(path, target, sizeof(target));
		must(w, len == (ssize_t)x->f->size && memcmp(target, x->f->data, x->f->size) == 0, "target");
	}
	if (S_ISREG(x->f->mode) || S_ISDIR(x->f->mode))
		check_attr(w, path, x);
}

static void check_listing(struct world *w, int dir)
{
	char path[4096];
	snprintf(w->what, sizeof(w->what), "list %s", path_of(w, dir, path, sizeof(path)));
	DIR *d = opendir(path);
	must(w, d != NULL, "opendir");
	unsigned count = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		int n = find(w, dir, e->d_name);
		must(w, n > 0, e->d_name);
		must(w, (mode_t)DTTOIF(e->d_type) == (w->node[n].f->mode & S_IFMT), "type in the listing");
		count++;
	}
	closedir(d);
	must(w, count == children(w, dir, false), "number of names");
}

static void check_all(struct world *w)
{
	for (int n = 0; n < NODES; n++) {
		if (n && w->node[n].used)
			check_node(w, n);
		if (n == 0 || (w->node[n].used && is_dir(w, n)))
			check_listing(w, n);
	}
}

/* ---- operations ---- */

/* An editor's scrap, which is a copy when it is made of what others have, too: by link(2), or by rename(2) of
 * what has, or had, several names. */
static bool scrap(const char *name)
{
	size_t len = strlen(name);
	return name[0] == '#' || name[len - 1] == '~' || strstr(name, "tmp");
}

/* Made to get another name. */
static bool temporary(const char *name)
{
	return scrap(name) || strcmp(name, "d.txt.Xy12zQ") == 0;
}

static int call_make(const char *path, const struct node *x)
{
	if (S_ISDIR(x->f->mode))
		return mkdir(path, x->f->mode & 07777);
	if (S_ISLNK(x->f->mode))
		return symlink((const char *)x->f->data, path);
	if (!S_ISREG(x->f->mode))
		return mknod(path, x->f->mode, x->f->rdev);
	/* Some without a name first. */
	const bool nameless = x->f->size % 4 == 1;
	char dir[4096];
	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	int fd = nameless ? open(dir, O_RDWR | O_TMPFILE, x->f->mode & 07777)
			  : open(path, O_RDWR | O_CREAT | O_EXCL, x->f->mode & 07777);
	if (fd < 0)
		return -1;
	int r = write(fd, x->f->data, x->f->size) == (ssize_t)x->f->size ? 0 : -1;
	if (r == 0 && nameless) {
		snprintf(dir, sizeof(dir), "/proc/self/fd/%d", fd);
		r = linkat(AT_FDCWD, dir, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
	}
	const int failed = errno;
	if (close(fd) < 0)
		return -1;
	errno = failed;
	return r;
}

static int free_node(const struct world *w)
{
	int n = 1;
	while (n < NODES && w->node[n].used)
		n++;
	return n;
}

static void do_make(struct world *w)
{
	static const mode_t types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK,
					S_IFIFO, S_IFCHR, S_IFSOCK };
	int dir = some(w, dir_with_room), free_one = free_node(w);
	const char *name = some_name(w);
	if (free_one == NODES)
		return;
	struct node x = { .used = true, .parent = dir, .f = calloc(1, sizeof(*x.f)) };
	must(w, x.f != NULL, "memory");
	x.f->fd = -1;
	x.f->links = 1;
	snprintf(x.name, sizeof(x.name), "%s", name);
	x.f->mode = types[below(w, sizeof(types) / sizeof(types[0]))];
	x.f->mode |= S_ISLNK(x.f->mode) ? 0777 : 0600 | (mode_t)below(w, 0200);
	if (S_ISCHR(x.f->mode))
		x.f->rdev = makedev(1, 3 + (unsigned)below(w, 9));
	if (S_ISREG(x.f->mode))
		content(w, name, &x);
	if (S_ISLNK(x.f->mode)) {
		x.f->size = 1 + below(w, 200);
		x.f->data = calloc(1, x.f->size + 1);
		must(w, x.f->data != NULL, "memory");
		memset(x.f->data, 't', x.f->size);
	}
	char path[4096];
	int want = find(w, dir, name) >= 0 ? -EEXIST : 0;
	snprintf(w->what, sizeof(w->what), "make %d, %s, mode %o", free_one,
		 path_to(w, dir, name, path, sizeof(path)), x.f->mode);
	if (!w->check)
		result(w, call_make(path, &x), want);
	if (want == 0)
		note_come(w, &x);
	if (want == 0)
		w->node[free_one] = x;
	else
		forget_file(x.f);
}

static void do_link(struct world *w)
{
	int n = some(w, named), dir = some(w, dir_with_room), free_one = free_node(w);
	const char *name = some_name(w);
	if (n < 0 || free_one == NODES)
		return;
	struct file *f = w->node[n].f;
	if ((S_ISREG(f->mode) || S_ISLNK(f->mode)) && scrap(name))
		return;
	if (S_ISREG(f->mode) && temporary(w->node[n].name) && (w->left & bit_of(name)))
		return;
	char a[4096], b[4096];
	int want = find(w, dir, name) >= 0 ? -EEXIST : S_ISDIR(f->mode) ? -EPERM : 0;
	snprintf(w->what, sizeof(w->what), "link %d, %s to %d, %s", n, path_of(w, n, a, sizeof(a)),
		 free_one, path_to(w, dir, name, b, sizeof(b)));
	if (!w->check)
		result(w, link(a, b), want);
	if (want != 0)
		return;
	struct node x = { .used = true, .parent = dir, .f = f };
	snprintf(x.name, sizeof(x.name), "%s", name);
	f->links++;
	f->linked = true;
	w->node[free_one] = x;
}

static void do_remove(struct world *w)
{
	int n = some(w, named);
	if (n < 0)
		return;
	char path[4096];
	bool as_dir = is_dir(w, n) != prng_chance(&w->rng, 5);
	int want = as_dir != is_dir(w, n) ? (as_dir ? -ENOTDIR : -EISDIR) :
		   as_dir && children(w, n, false) ? -ENOTEMPTY : 0;
	snprintf(w->what, sizeof(w->what), "%s %d, %s", as_dir ? "rmdir" : "unlink", n,
		 path_of(w, n, path, sizeof(path)));
	if (!w->check)
		result(w, as_dir ? rmdir(path) : unlink(path), want);
	if (want == 0)
		note_left(w, n, w->node[n].name);
	if (want == 0)
		drop(w, n);
}

static int rename_error(const struct world *w, int from, int dir, int over, unsigned flags)
{
	if (over < 0 && flags == 2)
		return -ENOENT;
	if (over >= 0 && flags == 1)
		return -EEXIST;
	if (inside(w, dir, from))
		return -EINVAL;
	if (over >= 0 && inside(w, w->node[from].parent, over))
		return flags == 2 ? -EINVAL : -ENOTEMPTY;
	if (flags == 2 || over < 0 || w->node[over].f == w->node[from].f)
		return 0;
	if (is_dir(w, from) != is_dir(w, over))
		return is_dir(w, from) ? -ENOTDIR : -EISDIR;
	return is_dir(w, over) && children(w, over, false) ? -ENOTEMPTY : 0;
}

static void do_rename(struct world *w)
{
	int from = some(w, named), dir = some(w, dir_with_room);
	const char *name = some_name(w);
	unsigned flags = prng_chance(&w->rng, 10) ? 2 : prng_chance(&w->rng, 10) ? 1 : 0;
	if (from < 0)
		return;
	char a[4096], b[4096];
	int over = find(w, dir, name);
	/* What has several names and is not shared yet is not exchanged. */
	if (flags == 2 && over >= 0 &&
	    ((!is_dir(w, from) && w->node[from].f->links > 1) ||
	     (!is_dir(w, over) && w->node[over].f->links > 1)))
		return;
	if (scrap(name) && w->node[from].f->linked && S_ISREG(w->node[from].f->mode))
		return;
	int want = rename_error(w, from, dir, over, flags);
	snprintf(w->what, sizeof(w->what), "rename %d, %s to %s, flags %u, over %d", from,
		 path_of(w, from, a, sizeof(a)), path_to(w, dir, name, b, sizeof(b)), flags, over);
	if (!w->check)
		result(w, renameat2(AT_FDCWD, a, AT_FDCWD, b, flags), want);
	/* Two names of one file: nothing happens. */
	if (want != 0 || (over >= 0 && w->node[over].f == w->node[from].f))
		return;
	note_left(w, from, w->node[from].name);
	/* Who is put in the place of a document is that document. */
	if (over >= 0)
		w->node[from].f->linked |= w->node[over].f->linked;
	if (flags == 2) {
		w->node[over].f->linked |= w->node[from].f->linked;
		note_left(w, over, name);
		w->node[over].parent = w->node[from].parent;
		memcpy(w->node[over].name, w->node[from].name, sizeof(w->node[over].name));
	} else if (over >= 0) {
		note_left(w, over, name);
		drop(w, over);
	}
	w->node[from].parent = dir;
	snprintf(w->node[from].name, sizeof(w->node[from].name), "%s", name);
	note_come(w, &w->node[from]);
	if (flags == 2)
		note_come(w, &w->node[over]);
}

static void do_rewrite(struct world *w)
{
	int n = some(w, file);
	if (n < 0)
		return;
	struct node *x = &w->node[n];
	char path[4096];
	bool in_place = prng_chance(&w->rng, 50) || x->nameless;
	content(w, x->name, x);
	snprintf(w->what, sizeof(w->what), "write %d, %s, anew, %zu bytes, %s", n,
		 path_of(w, n, path, sizeof(path)), x->f->size, x->nameless ? "nameless" : in_place ? "in place" : "emptied first");
	if (w->check)
		return;
	int fd = x->nameless ? x->f->fd : open(path, O_WRONLY | (in_place ? 0 : O_TRUNC));
	must(w, fd >= 0, "open");
	must(w, pwrite(fd, x->f->data, x->f->size, 0) == (ssize_t)x->f->size, "write");
	must(w, !in_place || ftruncate(fd, (off_t)x->f->size) == 0, "ftruncate");
	must(w, x->nameless || close(fd) == 0, "close");
}

static void do_open(struct world *w)
{
	int n = some(w, named_file);
	if (n < 0)
		return;
	struct node *x = &w->node[n];
	char path[4096];
	snprintf(w->what, sizeof(w->what), "open or close %d, %s", n, path_of(w, n, path, sizeof(path)));
	if (x->f->fd >= 0 && !w->check)
		must(w, close(x->f->fd) == 0, "close");
	if (x->f->fd >= 0) {
		x->f->fd = -1;
		return;
	}
	x->f->fd = w->check ? 0 : open(path, O_RDWR);
	must(w, x->f->fd >= 0, "open");
}

/* One that has no name goes with it. */
static void do_close(struct world *w)
{
	int n = some(w, open_file);
	if (n < 0)
		return;
	snprintf(w->what, sizeof(w->what), "close %d", n);
	if (!w->check)
		must(w, close(w->node[n].f->fd) == 0, "close");
	w->node[n].f->fd = -1;
	if (w->node[n].nameless)
		forget(w, n);
}

static void do_attributes(struct world *w)
{
	int n = some(w, named);
	size_t how = below(w, 4), number = below(w, 1000);
	if (n < 0)
		return;
	struct node *x = &w->node[n];
	char path[4096];
	path_of(w, n, path, sizeof(path));
	snprintf(w->what, sizeof(w->what), "attributes of %d, %s, way %zu", n, path, how);
	int r = 0;
	if (how == 0 && !S_ISLNK(x->f->mode)) {
		x->f->mode = (x->f->mode & S_IFMT) | 0600 | (mode_t)(number & 0177);
		r = w->check ? 0 : chmod(path, x->f->mode & 07777);
	} else if (how == 1) {
		x->f->uid = number % 2 ? 0 : 65534;
		x->f->gid = number % 3 ? 0 : 65533;
		r = w->check ? 0 : lchown(path, x->f->uid, x->f->gid);
	} else if (how == 2) {
		x->f->mtime_ns = (int64_t)(number + 1) * 1000003000000;
		const struct timespec ts = { x->f->mtime_ns / 1000000000, x->f->mtime_ns % 1000000000 };
		const struct timespec both[2] = { ts, ts };
		r = w->check ? 0 : utimensat(AT_FDCWD, path, both, AT_SYMLINK_NOFOLLOW);
	} else if (how == 3 && (S_ISREG(x->f->mode) || S_ISDIR(x->f->mode))) {
		snprintf(x->f->attr, sizeof(x->f->attr), "value %zu", number);
		r = w->check ? 0 : setxattr(path, "user.model", x->f->attr, strlen(x->f->attr), 0);
	}
	result(w, r, 0);
}

static void do_truncate(struct world *w)
{
	int n = some(w, named_file);
	if (n < 0)
		return;
	struct node *x = &w->node[n];
	char path[4096];
	size_t size = below(w, x->f->size + 1);
	snprintf(w->what, sizeof(w->what), "truncate %d, %s to %zu", n, path_of(w, n, path, sizeof(path)), size);
	if (!w->check)
		result(w, truncate(path, (off_t)size), 0);
	x->f->mtime_ns = 0;
	x->f->size = size;
}

static void do_look(struct world *w)
{
	int n = some(w, named), dir = some(w, dir_with_room);
	if (!w->check && n > 0)
		check_node(w, n);
	if (!w->check)
		check_listing(w, dir);
}

static void do_wait(struct world *w)
{
	const struct timespec ts = { .tv_nsec = (long)below(w, 400) * 1000000 };
	if (!w->check)
		nanosleep(&ts, NULL);
}

static void random_op(struct world *w)
{
	static void (*const ops[])(struct world *) = {
		do_make, do_make, do_make, do_make, do_make, do_remove, do_remove, do_remove, do_rename,
		do_rename, do_rename, do_link, do_link, do_rewrite, do_rewrite, do_open, do_close, do_attributes, do_attributes,
		do_truncate, do_look, do_look
	};
	if (prng_chance(&w->rng, 1))
		do_wait(w);
	else
		ops[below(w, sizeof(ops) / sizeof(ops[0]))](w);
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "seed", required_argument, NULL, 's' },
						 { "ops", required_argument, NULL, 'o' },
						 { "check", no_argument, NULL, 'c' },
						 { "trace", no_argument, NULL, 't' },
						 { NULL, 0, NULL, 0 } };
	static struct world w;
	unsigned long ops = 2000;
	bool trace = false;
	w.rng.state = (uint64_t)time(NULL) * 1000 + (uint64_t)getpid();
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 's')
			w.rng.state = strtoull(optarg, NULL, 10);
		else if (c == 'o')
			ops = strtoul(optarg, NULL, 10);
		else if (c == 'c')
			w.check = true;
		else if (c == 't')
			trace = true;
		else
			return 2;
	}
	if (optind + 1 != argc)
		return 2;
	printf("seed %llu\n", (unsigned long long)w.rng.state);
	fflush(stdout);
	umask(0);
	w.top = argv[optind];
	struct file top = { .mode = S_IFDIR, .fd = -1 };
	w.node[0].f = &top;
	for (w.op = 1; w.op <= ops; w.op++) {
		random_op(&w);
		if (trace)
			printf("%lu: %s\n", w.op, w.what);
		if (!w.check && w.op % 500 == 0)
			check_all(&w);
	}
	for (int n = 1; n < NODES; n++) {
		if (!w.node[n].used)
			continue;
		if (w.node[n].f->fd >= 0 && !w.check)
			close(w.node[n].f->fd);
		w.node[n].f->fd = -1;
		if (w.node[n].nameless)
			forget(&w, n);
	}
	check_all(&w);
	unsigned count = 0;
	for (int n = 1; n < NODES; n++) {
		count += w.node[n].used;
		forget(&w, n);
	}
	printf("%lu operations, %u files at the end\n", ops, count);
	return 0;
}
