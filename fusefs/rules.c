/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/rules.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/ignore.h"
#include "fusefs/keeper.h"
#include "fusefs/name.h"

#define DEPTH_MAX 256 /* deeper directories have no rules */

struct dir_rules {
	struct table_link link;
	struct table_link by_file; /* those with a file */
	struct id id, parent;
	struct id file; /* the node of its .shoalignore */
	struct ignore *ignore;
	char *name;
};

struct rules {
	pthread_mutex_t lock; /* a leaf: nothing is called under it */
	struct table dirs, files;
	uint64_t age;   /* how often something was dropped */
	bool told;      /* the keeper knows of a change and has not come yet */
	int64_t due_ns; /* not before */
};

int rules_new(struct rules **ret)
{
	struct rules *g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	pthread_mutex_init(&g->lock, NULL);
	*ret = g;
	return 0;
}

static void dir_free(struct dir_rules *d)
{
	if (!d)
		return;
	ignore_free(d->ignore);
	free(d->name);
	free(d);
}
DEFINE_CLEANUP(struct dir_rules *, dir_free)

void rules_free(struct rules *g)
{
	if (!g)
		return;
	table_each(&g->dirs, b, l, next)
	{
		table_remove(&g->dirs, l);
		dir_free(table_entry(l, struct dir_rules, link));
	}
	table_done(&g->files);
	table_done(&g->dirs);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static struct dir_rules *get(struct rules *g, const struct id *id)
{
	for (struct table_link *l = table_first(&g->dirs, id_hash(id)); l; l = l->next) {
		struct dir_rules *d = table_entry(l, struct dir_rules, link);
		if (id_equal(&d->id, id))
			return d;
	}
	return NULL;
}

/* ---- changes ---- */

/* What is known of a directory is of the past; lock held. */
static void drop(struct rules *g, const struct id *id)
{
	struct dir_rules *d = get(g, id);
	g->age++;
	if (!d)
		return;
	table_remove(&g->dirs, &d->link);
	if (!id_is_zero(&d->file))
		table_remove(&g->files, &d->by_file);
	dir_free(d);
}

static bool is_rules(const char *name)
{
	return name && strcmp(name, IGNORE_FILE) == 0;
}

/* What a change means to names that are there already. */
enum effect { NO_RULES, OTHER_RULES, RULES_GONE };

/* lock held. */
static enum effect effect_of(struct rules *g, const struct change *c)
{
	const unsigned moved = c->what & (CHANGE_CREATED | CHANGE_REMOVED);
	if (c->kind == NODE_DIR && moved) {
		drop(g, &c->id);
		return moved == (CHANGE_CREATED | CHANGE_REMOVED) ? RULES_GONE : NO_RULES;
	}
	if (is_rules(c->name))
		drop(g, &c->parent);
	if (is_rules(c->old_name)) {
		drop(g, &c->old_parent);
		return RULES_GONE;
	}
	for (struct table_link *l = table_first(&g->files, id_hash(&c->id)); l; l = l->next) {
		const struct dir_rules *d = table_entry(l, struct dir_rules, by_file);
		if (id_equal(&d->file, &c->id)) {
			const struct id dir = d->id;
			drop(g, &dir);
			return OTHER_RULES;
		}
	}
	return is_rules(c->name) ? OTHER_RULES : NO_RULES;
}

void rules_observe(const struct change *change, size_t n, void *userdata)
{
	struct fusefs *fs = userdata;
	struct rules *g = fs->rules;
	bool any = false;
	pthread_mutex_lock(&g->lock);
	for (size_t k = 0; k < n; k++) {
		enum effect effect = effect_of(g, &change[k]);
		any |= effect != NO_RULES;
		if (effect == RULES_GONE)
			g->due_ns = monotonic_ns() + RULES_GONE_NS;
	}
	any &= !g->told;
	g->told |= any;
	int64_t due = g->due_ns;
	pthread_mutex_unlock(&g->lock);
	if (any)
		keeper_add(fs, TIMER_RULES, 0, due);
}

int64_t rules_due(struct fusefs *fs, bool now)
{
	struct rules *g = fs->rules;
	pthread_mutex_lock(&g->lock);
	int64_t due = now || g->due_ns <= monotonic_ns() ? 0 : g->due_ns;
	if (!due)
		g->told = false;
	pthread_mutex_unlock(&g->lock);
	return due;
}

/* ---- asking ---- */

static int read_rules(struct fusefs *fs, const struct id *file, struct ignore **ret)
{
	_cleanup_(version_unrefp) struct version *v = NULL;
	int r = replica_read(fs->replica, file, &v);
	if (r < 0)
		return r;
	uint64_t size = version_size(v);
	size_t len = size < IGNORE_SIZE_MAX ? (size_t)size : IGNORE_SIZE_MAX, done = 0;
	_cleanup_free_ char *text = malloc(len + 1);
	if (!text)
		return -ENOMEM;
	while (done < len) {
		ssize_t n = version_pread(v, text + done, len - done, done);
		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		done += (size_t)n;
	}
	return ignore_parse(text, len, ret);
}

static int load(struct fusefs *fs, const struct id *id, struct dir_rules **ret)
{
	_cleanup_(dir_freep) struct dir_rules *d = calloc(1, sizeof(*d));
	struct attr attr;
	char name[NAME_MAX_BYTES + 1] = "";
	if (!d)
		return -ENOMEM;
	d->id = *id;
	int r = id_equal(id, &NODE_ROOT) ? 0 : replica_parent(fs->replica, id, &d->parent, name);
	if (r < 0)
		return r;
	d->name = strdup(name);
	if (!d->name)
		return -ENOMEM;
	if (replica_lookup(fs->replica, id, IGNORE_FILE, strlen(IGNORE_FILE), &attr) >= 0 &&
	    attr.kind == NODE_FILE) {
		d->file = attr.id;
		r = read_rules(fs, &attr.id, &d->ignore);
	}
	/* Rules that cannot be read are none. */
	if (r == -ENOMEM)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

/* The directories from dir up to the root. lock held. The number of them; 0: *ret_missing is not
 * known yet. */
static size_t climb(const struct rules *g, const struct id *dir, const struct dir_rules **ret,
		    struct id *ret_missing)
{
	struct id id = *dir;
	for (size_t n = 0; n < DEPTH_MAX; id = ret[n - 1]->parent) {
		const struct dir_rules *d = get((struct rules *)(uintptr_t)g, &id);
		if (!d) {
			*ret_missing = id;
			return 0;
		}
		ret[n++] = d;
		if (id_equal(&id, &NODE_ROOT))
			return n;
	}
	return DEPTH_MAX;
}

/* way: from the directory up to the root. lock held. */
static bool apply(const struct dir_rules *const *way, size_t n, const char *name, bool is_dir)
{
	const struct ignore *rules[DEPTH_MAX];
	_cleanup_(buf_done) struct buf path = { 0 };
	bool any = false;
	for (size_t k = 0; k < n; k++) {
		rules[k] = way[n - 1 - k]->ignore;
		any |= rules[k] != NULL;
	}
	if (!any)
		return false;
	for (size_t k = 1; k < n; k++)
		buf_putf(&path, "%s/", way[n - 1 - k]->name);
	buf_puts(&path, name);
	const char *text = buf_cstr(&path);
	return text && ignore_path(rules, n, text, strlen(text), is_dir);
}

/* It may have changed since `age`: then it is not kept. */
static int keep(struct rules *g, struct dir_rules *d, uint64_t age)
{
	int r = 0;
	pthread_mutex_lock(&g->lock);
	if (g->age == age && !get(g, &d->id)) {
		const bool file = !id_is_zero(&d->file);
		if (file)
			r = table_add(&g->files, &d->by_file, id_hash(&d->file));
		if (r == 0)
			r = table_add(&g->dirs, &d->link, id_hash(&d->id));
		if (r < 0 && file)
			table_remove(&g->files, &d->by_file);
		if (r == 0)
			d = NULL;
	}
	pthread_mutex_unlock(&g->lock);
	dir_free(d);
	return r;
}

bool rules_ignore(struct fusefs *fs, const struct id *dir, const char *name, bool is_dir)
{
	struct rules *g = fs->rules;
	const struct dir_rules *way[DEPTH_MAX];
	/* The rules themselves are everybody's. */
	if (strcmp(name, IGNORE_FILE) == 0)
		return false;
	for (;;) {
		struct id missing;
		pthread_mutex_lock(&g->lock);
		size_t n = climb(g, dir, way, &missing);
		bool yes = n > 0 && n < DEPTH_MAX && apply(way, n, name, is_dir);
		uint64_t age = g->age;
		pthread_mutex_unlock(&g->lock);
		if (n > 0)
			return yes;
		struct dir_rules *d = NULL;
		/* A directory that is gone meanwhile has no rules. */
		if (load(fs, &missing, &d) < 0 || keep(g, d, age) < 0)
			return false;
	}
}

bool rules_here(struct fusefs *fs, const struct id *dir, const char *name)
{
	return name_is_local(name, strlen(name)) || rules_ignore(fs, dir, name, false);
}
