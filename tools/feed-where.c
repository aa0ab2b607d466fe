/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `watch` with an expression: only changes of files that match it, or did before. Which did is known by a set of ids, which is
 * made at the beginning and kept up with what is told. Documents are read and asked about in a thread of its own; the
 * observer puts changes into a bounded queue, and when that overflows the set is made anew. */
#include <errno.h>
#include <string.h>

#include "engine/filter.h"
#include "engine/table.h"
#include "tools/control.h"
#include "tools/feed-impl.h"
#include "tools/query-impl.h"

#define MATCHES_MAX 1000000

struct match {
	struct table_link link;
	struct id id;
};

struct sieve {
	struct filter *filter;
	const char **path; /* arena of the asking */
	uint32_t n;
	struct table matches;
	struct items queue; /* the asking's lock */
};

static void observe(const struct change *change, size_t n, void *userdata)
{
	struct asking *q = userdata;
	items_add(&q->sieve->queue, &q->lock, q->d, change, n);
	pthread_mutex_lock(&q->lock);
	pthread_cond_signal(&q->taken);
	pthread_mutex_unlock(&q->lock);
}

/* ---- what matches ---- */

static struct match *match_of(const struct sieve *x, const struct id *id)
{
	for (struct table_link *l = table_first(&x->matches, id_hash(id)); l; l = l->next) {
		struct match *m = table_entry(l, struct match, link);
		if (id_equal(&m->id, id))
			return m;
	}
	return NULL;
}

static int match_add(struct asking *q, const struct id *id)
{
	struct sieve *x = q->sieve;
	if (x->matches.n == MATCHES_MAX)
		return err_set(&q->e, -E2BIG, "more than %d files match: ask for less", MATCHES_MAX);
	struct match *m = calloc(1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->id = *id;
	int r = table_add(&x->matches, &m->link, id_hash(id));
	if (r < 0)
		free(m);
	return r;
}

static void match_drop(struct sieve *x, struct match *m)
{
	table_remove(&x->matches, &m->link);
	free(m);
}

static void forget_all(struct sieve *x)
{
	table_each(&x->matches, i, l, next)
		free(table_entry(l, struct match, link));
	table_done(&x->matches);
	x->matches = (struct table){ 0 };
}

/* 1: it does, under that name; 0: no, or it is gone. */
static int matches(struct asking *q, const struct id *id, const char *path)
{
	struct sieve *x = q->sieve;
	_cleanup_(version_unrefp) struct version *v = NULL;
	struct filter_file file = { .id = *id, .path = path, .path_len = strlen(path) };
	bool is = false;
	if (filter_uses_content(x->filter)) {
		int r = replica_read(q->d->replica, id, &v);
		if (r == -ENOMEM)
			return r;
		if (r < 0 || version_form(v) != FORM_JSON)
			return 0;
		file.text = version_data(v);
		file.len = version_size(v);
	}
	int r = filter_match(x->filter, &file, &is);
	return r < 0 ? r : is;
}

/* ---- all files ---- */

struct place {
	STAILQ_ENTRY(place) link;
	struct id id;
	bool dir;
	char path[];
};

struct walk {
	STAILQ_HEAD(, place) todo;
	const char *above;
};

static int walk_add(struct walk *w, const struct attr *at, const char *name, size_t len)
{
	size_t up = strlen(w->above), slash = up && len ? 1 : 0;
	struct place *p = calloc(1, sizeof(*p) + up + slash + len + 1);
	if (!p)
		return -ENOMEM;
	p->id = at->id;
	p->dir = at->kind == NODE_DIR;
	memcpy(p->path, w->above, up);
	if (slash)
		p->path[up] = '/';
	memcpy(p->path + up + slash, name, len);
	STAILQ_INSERT_TAIL(&w->todo, p, link);
	return 0;
}

static int walk_child(const char *name, size_t len, const struct attr *at, void *userdata)
{
	return walk_add(userdata, at, name, len);
}

/* A file that is found by several ways is one. */
static int visit(struct asking *q, struct walk *w, const struct place *p)
{
	int r = asking_check(q);
	if (r < 0)
		return r;
	if (p->dir) {
		w->above = p->path;
		r = replica_list(q->d->replica, &p->id, walk_child, w);
		return r == -ENOENT || r == -ENOTDIR ? 0 : r;
	}
	r = match_of(q->sieve, &p->id) ? 0 : matches(q, &p->id, p->path);
	return r == 1 ? match_add(q, &p->id) : r;
}

static int walk(struct asking *q, const char *path)
{
	struct walk w = { .above = path };
	struct attr at;
	struct place *p;
	STAILQ_INIT(&w.todo);
	/* What is not there may come. */
	int r = path_resolve(q->d->replica, path, &at, NULL);
	if (r == 0)
		r = walk_add(&w, &at, "", 0);
	else if (r != -ENOMEM)
		r = 0;
	while ((p = STAILQ_FIRST(&w.todo))) {
		STAILQ_REMOVE_HEAD(&w.todo, link);
		if (r == 0)
			r = visit(q, &w, p);
		free(p);
	}
	return r;
}

static int find_all(struct asking *q)
{
	struct sieve *x = q->sieve;
	int r = 0;
	forget_all(x);
	for (uint32_t i = 0; r == 0 && i < x->n; i++)
		r = walk(q, x->path[i]);
	return r < 0 || x->n > 0 ? r : walk(q, "");
}

/* ---- changes ---- */

static int tell(struct asking *q, const struct buf *json, const char *match)
{
	buf_put(&q->rows, json->data, json->len - (match ? 1 : 0));
	if (match)
		buf_putf(&q->rows, ",\"match\":\"%s\"}", match);
	return asking_hand_over(q, &q->rows);
}

/* What is in a directory moves with it without being told; what may match then is another matter. */
static int sift_dir(struct asking *q, const struct item *i)
{
	struct sieve *x = q->sieve;
	bool inside = is_below_any(i->path, x->path, x->n) || is_below_any(i->old_path, x->path, x->n);
	if (!i->path || !i->old_path)
		return 0;
	int r = filter_uses_path(x->filter) || x->n > 0 ? find_all(q) : 0;
	return r == 0 && inside ? tell(q, &i->json, NULL) : r;
}

static int sift(struct asking *q, const struct item *i)
{
	struct sieve *x = q->sieve;
	if (i->dir)
		return sift_dir(q, i);
	struct match *was = match_of(x, &i->id);
	int is = i->path && is_below_any(i->path, x->path, x->n) ? matches(q, &i->id, i->path) : 0;
	if (is < 0 || (!is && !was))
		return is;
	const char *how = !was ? "enter" : is ? "stay" : "leave";
	int r = was ? 0 : match_add(q, &i->id);
	if (was && !is)
		match_drop(x, was);
	return r < 0 ? r : tell(q, &i->json, how);
}

static int wait_for_items(struct asking *q, struct items *ret)
{
	struct items *queue = &q->sieve->queue;
	pthread_mutex_lock(&q->lock);
	while (!atomic_load(&q->cancelled) && STAILQ_EMPTY(&queue->list) && !queue->overflow)
		pthread_cond_wait(&q->taken, &q->lock);
	items_take(queue, ret);
	pthread_mutex_unlock(&q->lock);
	return atomic_load(&q->cancelled) ? -ECANCELED : 0;
}

static int sieve_run(struct asking *q, struct err *e)
{
	struct items todo = { 0 };
	struct item *i;
	(void)e;
	int r = find_all(q);
	if (r == 0) {
		buf_puts(&q->rows, "{}"); /* from here on */
		r = asking_hand_over(q, &q->rows);
	}
	while (r == 0) {
		r = wait_for_items(q, &todo);
		while ((i = STAILQ_FIRST(&todo.list))) {
			STAILQ_REMOVE_HEAD(&todo.list, link);
			if (r == 0)
				r = sift(q, i);
			item_free(i);
		}
		if (r == 0 && todo.overflow) {
			put_overflow(&q->rows);
			r = find_all(q);
			if (r == 0)
				r = asking_hand_over(q, &q->rows);
		}
	}
	return r;
}

/* ---- beginning and end ---- */

static void sieve_stop(struct asking *q)
{
	replica_unobserve(q->d->replica, observe, q);
}

static void sieve_free(struct asking *q)
{
	struct sieve *x = q->sieve;
	if (!x)
		return;
	forget_all(x);
	items_done(&x->queue);
	filter_free(x->filter);
	free(x);
}

static int sieve_new(struct asking *q, const struct json *params, struct err *e)
{
	struct sieve *x = q->sieve = calloc(1, sizeof(*x));
	const char *where = "";
	if (!x)
		return err_errno(e, -ENOMEM, "cannot watch");
	STAILQ_INIT(&x->queue.list);
	int r = param_texts(&q->arena, params, "paths", WATCH_PATHS_MAX, &x->path, &x->n, e);
	if (r == 0)
		r = param_text(&q->arena, params, "where", &where, e);
	if (r == 0)
		r = where_parse(where, &x->filter, e);
	if (r < 0)
		return r;
	r = replica_observe(q->d->replica, observe, q);
	return r < 0 ? err_errno(e, r, "cannot watch") : 0;
}

void watch_where(struct daemon *d, struct call *call, const struct json *params)
{
	static const struct asking_kind kind = {
		.name = "watch", .lasting = true, .run = sieve_run, .stop = sieve_stop, .free = sieve_free,
	};
	struct err e = { 0 };
	struct asking *q = NULL;
	int r = asking_new(d, call, &kind, &q, &e);
	if (r < 0)
		call_error(call, &e);
	else
		asking_start(q, sieve_new(q, params, &e), &e);
}
