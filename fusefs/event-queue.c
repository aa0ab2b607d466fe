/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/event-impl.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fusefs/local.h"
#include "fusefs/saver.h"

/* ---- names of which events are due; lock held ---- */

static uint64_t label_hash(const struct id *dir, const char *name)
{
	return table_hash_bytes(name, strlen(name), id_hash(dir));
}

struct label *label_find(struct events *s, const struct id *dir, const char *name)
{
	if (!s->labels.n)
		return NULL;
	uint64_t hash = label_hash(dir, name);
	for (struct table_link *l = table_first(&s->labels, hash); l; l = l->next) {
		struct label *x = table_entry(l, struct label, link);
		if (l->hash == hash && id_equal(&x->dir, dir) && strcmp(x->name, name) == 0)
			return x;
	}
	return NULL;
}

static struct label *label_use(struct events *s, const struct id *dir, const char *name)
{
	struct label *x = label_find(s, dir, name);
	if (!x) {
		x = calloc(1, sizeof(*x));
		if (!x)
			return NULL;
		x->dir = *dir;
		x->last = &x->leaving;
		x->name = strdup(name);
		if (!x->name || table_add(&s->labels, &x->link, label_hash(dir, name)) < 0) {
			free(x->name);
			free(x);
			return NULL;
		}
	}
	x->uses++;
	return x;
}

static void label_leave(struct events *s, struct label *x)
{
	if (!x || --x->uses)
		return;
	table_remove(&s->labels, &x->link);
	free(x->name);
	free(x);
}

bool event_awaits(struct events *s, const struct id *dir, const char *name)
{
	pthread_mutex_lock(&s->lock);
	bool due = label_find(s, dir, name) != NULL;
	pthread_mutex_unlock(&s->lock);
	return due;
}

/* ---- what happened ---- */

bool event_is_known(struct fusefs *fs, const struct id *id)
{
	struct inode *i = inode_find_node(fs, id);
	if (!i)
		return false;
	bool yes = inode_is_known(fs, i);
	inode_put(fs, i);
	return yes;
}

bool event_is_hidden(struct fusefs *fs, const struct id *dir, const char *name, const struct id *id)
{
	struct inode *i = NULL;
	struct id node = { 0 };
	enum overlay o = local_find(fs, dir, name, &i, &node);
	inode_put(fs, i);
	return o == OVERLAY_LOCAL || (o == OVERLAY_TOMB && id_equal(&node, id));
}

/* lock held. */
static void leaves(struct events *s, struct event *e)
{
	*e->from->last = e;
	e->from->last = &e->next_leaving;
	e->serial = ++s->serial;
	table_add(&s->leaving, &e->link, id_hash(&e->id));
}

static void has_left(struct events *s, struct event *e)
{
	struct event **p = &e->from->leaving;
	while (*p && *p != e)
		p = &(*p)->next_leaving;
	if (*p) {
		*p = e->next_leaving;
		if (!*p)
			e->from->last = p;
	}
	table_remove(&s->leaving, &e->link);
}

const struct label *label_before(struct events *s, const struct id *id)
{
	const struct event *first = NULL;
	for (struct table_link *l = table_first(&s->leaving, id_hash(id)); l; l = l->next) {
		const struct event *e = table_entry(l, struct event, link);
		if (id_equal(&e->id, id) && (!first || e->serial < first->serial))
			first = e;
	}
	return first ? first->from : NULL;
}

static bool full(struct events *s)
{
	pthread_mutex_lock(&s->lock);
	bool no = s->dead || s->n >= EVENTS_MAX;
	pthread_mutex_unlock(&s->lock);
	return no;
}

/* from, to: names; NULL: it did not have one, or has none. */
static struct event *new_event(struct events *s, const struct id *id, enum node_kind kind,
			       const struct id *from_dir, const char *from,
			       const struct id *to_dir, const char *to)
{
	struct event *e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->id = *id;
	e->kind = kind;
	pthread_mutex_lock(&s->lock);
	if (from)
		e->from = label_use(s, from_dir, from);
	if (to)
		e->to = label_use(s, to_dir, to);
	if (e->from)
		leaves(s, e);
	pthread_mutex_unlock(&s->lock);
	if ((from && !e->from) || (to && !e->to)) {
		event_free(s, e);
		return NULL;
	}
	return e;
}

struct event *event_of_names(struct fusefs *fs, const struct change *c)
{
	struct events *s = fs->events;
	bool from = c->what & CHANGE_REMOVED && c->old_name,
	     to = c->what & CHANGE_CREATED && c->name;
	if (full(s) ||
	    !((from && event_is_known(fs, &c->old_parent)) || (to && event_is_known(fs, &c->parent))))
		return NULL;
	from = from && !event_is_hidden(fs, &c->old_parent, c->old_name, &c->id);
	to = to && !event_is_hidden(fs, &c->parent, c->name, &c->id);
	if (!from && !to)
		return NULL;
	struct attr file;
	struct id id = c->id;
	enum node_kind kind = c->kind;
	if (!id_is_zero(&c->target)) {
		id = c->target;
		kind = replica_attr(fs->replica, &id, &file) < 0 ? NODE_FILE : file.kind;
	}
	struct event *e = new_event(s, &id, kind, &c->old_parent, from ? c->old_name : NULL,
				    &c->parent, to ? c->name : NULL);
	if (e)
		e->hard = !id_is_zero(&c->target) && !c->fresh;
	return e;
}

struct event *event_of_node(const struct id *id, enum node_kind kind, unsigned what)
{
	struct event *e = what ? calloc(1, sizeof(*e)) : NULL;
	if (!e)
		return NULL;
	e->id = *id;
	e->kind = kind;
	e->what = what;
	return e;
}

void event_free(struct events *s, struct event *e)
{
	pthread_mutex_lock(&s->lock);
	if (e->from)
		has_left(s, e);
	label_leave(s, e->from);
	label_leave(s, e->to);
	pthread_mutex_unlock(&s->lock);
	free(e);
}

static struct event *find_node(struct events *s, const struct id *id)
{
	for (struct table_link *l = table_first(&s->nodes, id_hash(id)); l; l = l->next) {
		struct event *e = table_entry(l, struct event, link);
		if (id_equal(&e->id, id))
			return e;
	}
	return NULL;
}

void event_add(struct events *s, struct event *e)
{
	if (!e)
		return;
	bool kept = false;
	pthread_mutex_lock(&s->lock);
	struct event *waits = find_node(s, &e->id);
	/* What comes behind a change of name is told under the new one. */
	if (waits && !e->what)
		table_remove(&s->nodes, &waits->link);
	if (waits && e->what) {
		waits->what |= e->what;
	} else if (!s->dead && s->n < EVENTS_MAX &&
		   (!e->what || table_add(&s->nodes, &e->link, id_hash(&e->id)) == 0)) {
		*s->last = e;
		s->last = &e->next;
		s->n++;
		kept = true;
		pthread_cond_signal(&s->wake);
	}
	pthread_mutex_unlock(&s->lock);
	if (!kept)
		event_free(s, e);
}

/* ---- handing over ---- */

static void save_label(struct saver *s, const struct label *x)
{
	save_text(s, x ? x->name : NULL);
	if (x)
		save_id(s, &x->dir);
}

void event_save(struct saver *s, const struct event *e)
{
	save_id(s, &e->id);
	buf_u8(s->out, (uint8_t)e->kind);
	buf_u32(s->out, e->what);
	save_bool(s, e->hard);
	save_label(s, e->from);
	save_label(s, e->to);
}

/* False: there is none. */
static bool load_label(struct loader *l, struct id *dir, char name[static NAME_MAX_BYTES + 1])
{
	_cleanup_free_ char *text = load_text(l);
	if (!text)
		return false;
	load_id(l, dir);
	snprintf(name, NAME_MAX_BYTES + 1, "%s", text);
	return true;
}

struct event *event_load(struct events *s, struct loader *l)
{
	struct id id = { 0 }, from_dir = { 0 }, to_dir = { 0 };
	char from[NAME_MAX_BYTES + 1], to[NAME_MAX_BYTES + 1];
	load_id(l, &id);
	enum node_kind kind = (enum node_kind)cursor_u8(&l->in);
	unsigned what = cursor_u32(&l->in);
	bool hard = load_bool(l);
	bool had = load_label(l, &from_dir, from), has = load_label(l, &to_dir, to);
	if (!load_ok(l))
		return NULL;
	struct event *e = what ? event_of_node(&id, kind, what)
			       : new_event(s, &id, kind, &from_dir, had ? from : NULL, &to_dir,
					   has ? to : NULL);
	if (e)
		e->hard = hard;
	else
		load_fail(l, -ENOMEM);
	return e;
}

void events_save(struct events *s, struct saver *to)
{
	save_u64(to, s->n);
	for (const struct event *e = s->first; e; e = e->next)
		event_save(to, e);
}

void events_load(struct events *s, struct loader *l)
{
	for (uint64_t n = load_count(l); n && load_ok(l); n--)
		event_add(s, event_load(s, l));
}
