/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Telling observers what a commit changed. Names are the ones that show, so a file that takes a
 * name over because another one left it is told as well. */

#include "engine/replica-impl.h"

#include <errno.h>

int replica_observe(struct replica *r, change_fn f, void *userdata)
{
	int rc = -ENOMEM;
	pthread_mutex_lock(&r->notify);
	struct observer *all = realloc(r->observer, (r->n_observers + 1) * sizeof(*all));
	if (all) {
		r->observer = all;
		all[r->n_observers++] = (struct observer){ f, userdata };
		atomic_store(&r->observers, r->n_observers);
		rc = 0;
	}
	pthread_mutex_unlock(&r->notify);
	return rc;
}

void replica_unobserve(struct replica *r, change_fn f, void *userdata)
{
	pthread_mutex_lock(&r->notify);
	for (uint32_t i = 0; i < r->n_observers; i++)
		if (r->observer[i].f == f && r->observer[i].userdata == userdata) {
			r->observer[i] = r->observer[--r->n_observers];
			break;
		}
	atomic_store(&r->observers, r->n_observers);
	pthread_mutex_unlock(&r->notify);
}

/* A commit takes one lock before it lets go of the other one: see commit_end. */
void replica_observed(struct replica *r)
{
	pthread_mutex_lock(&r->commit);
	pthread_mutex_lock(&r->notify);
	pthread_mutex_unlock(&r->commit);
	pthread_mutex_unlock(&r->notify);
}

/* A name is taken before or after the commit as the store says, now that it is written; the few
 * names of this commit that differ do not matter to a loser's suffix. */
static bool taken_now(const char *name, size_t len, void *userdata)
{
	const void *const *p = userdata;
	const struct replica *r = p[0];
	const struct id *parent = p[1];
	uint8_t key[ID_SIZE + NAME_MAX_BYTES];
	memcpy(key, parent->b, ID_SIZE);
	memcpy(key + ID_SIZE, name, len);
	return store_has(r->store, NULL, STORE_DIRENTS, key, ID_SIZE + len);
}

static int note(struct commit *c, const struct dirent *d, const struct claims *claims, bool after)
{
	const void *where[2] = { c->r, &d->parent };
	if (claims->n == 0)
		return 0;
	char (*names)[NAME_MAX_BYTES + 1] = arena_array(&c->arena, claims->n, sizeof(*names));
	if (!names)
		return -ENOMEM;
	claims_names(c->r->actors, claims, d->name, d->len, taken_now, where, names);
	for (uint32_t i = 0; i < claims->n; i++) {
		struct touched *t;
		int rc = commit_node(c, &claims->claim[i].id, &t);
		if (rc == -ENOENT)
			continue;
		if (rc < 0)
			return rc;
		*(after ? &t->is : &t->was) =
			(struct place){ d->parent, names[i], strlen(names[i]) };
	}
	return 0;
}

static bool moved(const struct touched *t)
{
	if (!t->was.name || !t->is.name)
		return t->was.name != t->is.name;
	return !id_equal(&t->was.parent, &t->is.parent) || strcmp(t->was.name, t->is.name) != 0;
}

static unsigned what_of(const struct touched *t)
{
	/* Of a hard link there is nothing but its name. */
	unsigned what = id_is_zero(&t->target) ? t->what : 0;
	if (moved(t))
		what |= (t->is.name ? CHANGE_CREATED : 0) | (t->was.name ? CHANGE_REMOVED : 0);
	return what;
}

/* The name that a file had for itself is a link to it now: nothing that anybody could see. */
static void pair_links(struct commit *c)
{
	for (struct touched *t = c->links; t; t = t->next_link) {
		struct touched *file = commit_touched(c, &t->target);
		if (!t->is.name || t->was.name || !file || !file->was.name || file->is.name ||
		    !id_equal(&t->is.parent, &file->was.parent) ||
		    strcmp(t->is.name, file->was.name) != 0)
			continue;
		t->was = t->is;
		file->was.name = NULL;
	}
}

static bool is_fresh(const struct touched *file)
{
	return file && file->record && !(file->had && (file->before.flags & NODE_LIVE));
}

void commit_notify(struct commit *c)
{
	struct replica *r = c->r;
	size_t n = 0, used = 0;
	for (struct dirent *d = c->first_dirent; d; d = d->next)
		if (note(c, d, &d->before, false) < 0 || note(c, d, &d->after, true) < 0)
			return;
	pair_links(c);
	if (links_appear(c) < 0)
		return;
	for (struct touched *t = c->first; t; t = t->next)
		n += what_of(t) != 0;
	struct change *change = arena_array(&c->arena, n ? n : 1, sizeof(*change));
	if (!change || n == 0)
		return;
	for (struct touched *t = c->first; t; t = t->next) {
		unsigned what = what_of(t);
		if (!what)
			continue;
		struct change *x = &change[used++];
		x->id = t->after.attr.id;
		x->what = what;
		x->kind = t->after.attr.kind;
		x->target = t->after.attr.target;
		x->fresh = is_fresh(commit_touched(c, &x->target));
		x->remote = c->remote;
		x->hlc = t->apart ? t->hlc : c->hlc;
		x->actor = t->apart ? t->actor : c->actor;
		x->version = t->after.attr.version;
		if (what & CHANGE_CREATED) {
			x->parent = t->is.parent;
			x->name = t->is.name;
		}
		if (what & CHANGE_REMOVED) {
			x->old_parent = t->was.parent;
			x->old_name = t->was.name;
		}
		x->pointer = t->pointer;
		x->n_pointers = t->n_pointers;
	}
	for (uint32_t i = 0; i < r->n_observers; i++)
		r->observer[i].f(change, used, r->observer[i].userdata);
}
