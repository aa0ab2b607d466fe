/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/inode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusefs/field.h"
#include "fusefs/fs.h"
#include "fusefs/keeper.h"
#include "fusefs/local.h"
#include "fusefs/saver.h"
#include "fusefs/shoaldir.h"

/* A node's number that is not the one made from its id. Kept as long as the mount. */
struct pin {
	struct table_link link;
	struct id id;
	uint64_t ino;
};

/* ---- copies ---- */

struct copy *copy_new(void)
{
	struct copy *c = calloc(1, sizeof(*c));
	if (c)
		c->unread = true;
	return c;
}

void version_set(struct version **slot, struct version *v)
{
	struct version *old = *slot;
	*slot = v ? version_ref(v) : NULL;
	if (old)
		version_unref(old);
}

void copy_free(struct copy *c)
{
	if (!c)
		return;
	copy_reset(c, NULL);
	field_free(c->field);
	free(c);
}

void copy_reset(struct copy *c, struct version *v)
{
	if (c->origin)
		version_unref(c->origin);
	c->origin = v;
	workfile_free(c->work);
	c->work = NULL;
	c->dirty = c->draft = c->flushed = c->unfinished = c->mtime_set = false;
	c->covered = 0;
	version_set(&c->seen, NULL);
	version_set(&c->fallback, NULL);
	version_set(&c->base, NULL);
	copy_turn(c);
}

void copy_turn(struct copy *c)
{
	c->unread = true;
	c->turn++;
}

uint64_t copy_size(const struct copy *c)
{
	return c->work ? workfile_size(c->work) : c->origin ? version_size(c->origin) : 0;
}

ssize_t copy_pread(struct copy *c, void *data, size_t len, uint64_t offset)
{
	if (c->work)
		return workfile_pread(c->work, data, len, offset);
	return c->origin ? version_pread(c->origin, data, len, offset) : 0;
}

int copy_next(struct copy *c, uint64_t offset, bool hole, uint64_t *ret)
{
	if (c->work)
		return workfile_next(c->work, offset, hole, ret);
	if (c->origin)
		return version_next(c->origin, offset, hole, ret);
	*ret = 0;
	return 0;
}

uint64_t copy_stored(struct copy *c)
{
	uint64_t n = copy_size(c);
	/* Where it cannot be told it is the size. */
	if (c->work)
		(void)workfile_stored(c->work, &n);
	else if (c->origin)
		(void)version_stored(c->origin, &n);
	return n;
}

int copy_open_work(struct fusefs *fs, struct copy *c)
{
	if (c->work)
		return 0;
	return c->origin ? workfile_from(fs->spool, c->origin, &c->work)
			 : workfile_new(fs->spool, &c->work);
}

int copy_clone(struct fusefs *fs, struct copy *c, struct workfile **ret)
{
	if (c->work)
		return workfile_copy(c->work, ret);
	return c->origin ? workfile_from(fs->spool, c->origin, ret) : workfile_new(fs->spool, ret);
}

struct version *copy_basis(const struct copy *c)
{
	if (c->base)
		return c->base;
	return c->origin ? c->origin : c->fallback;
}

/* ---- tables ---- */

static struct inode *find_ino(struct fusefs *fs, uint64_t ino)
{
	for (struct table_link *l = table_first(&fs->by_ino, table_mix(ino)); l; l = l->next) {
		struct inode *i = table_entry(l, struct inode, by_ino);
		if (i->ino == ino)
			return i;
	}
	return NULL;
}

static struct inode *find_id(struct fusefs *fs, const struct id *id)
{
	for (struct table_link *l = table_first(&fs->by_id, id_hash(id)); l; l = l->next) {
		struct inode *i = table_entry(l, struct inode, by_id);
		if (id_equal(&i->id, id))
			return i;
	}
	return NULL;
}

static struct pin *find_pin(struct fusefs *fs, const struct id *id)
{
	for (struct table_link *l = table_first(&fs->pins, id_hash(id)); l; l = l->next) {
		struct pin *p = table_entry(l, struct pin, link);
		if (id_equal(&p->id, id))
			return p;
	}
	return NULL;
}

static void inode_free(struct inode *i)
{
	copy_free(i->shared);
	local_free(i->local);
	free(i->virtual_path);
	free(i->name);
	if (i->fd >= 0)
		close(i->fd);
	pthread_mutex_destroy(&i->lock);
	free(i);
}

/* fs->lock held. Takes it out of the tables when nobody needs it: the caller frees it unlocked. */
static struct inode *unused(struct fusefs *fs, struct inode *i)
{
	if (i->nlookup || i->refs || i->ino == INO_ROOT)
		return NULL;
	table_remove(&fs->by_ino, &i->by_ino);
	if (i->hashed_id)
		table_remove(&fs->by_id, &i->by_id);
	i->hashed_id = false;
	if (i->hashed_name)
		table_remove(&fs->plains, &i->by_name);
	i->hashed_name = false;
	return i;
}

/* Nobody needs it; perhaps nobody needs its directory either then. */
static void bury(struct fusefs *fs, struct inode *i)
{
	while (i) {
		struct inode *up = i->up;
		inode_free(i);
		i = NULL;
		if (!up)
			return;
		pthread_mutex_lock(&fs->lock);
		up->refs--;
		i = unused(fs, up);
		pthread_mutex_unlock(&fs->lock);
	}
}

struct inode *inode_get(struct fusefs *fs, uint64_t ino)
{
	pthread_mutex_lock(&fs->lock);
	struct inode *i = find_ino(fs, ino);
	if (i)
		i->refs++;
	pthread_mutex_unlock(&fs->lock);
	return i;
}

struct inode *inode_ref(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	i->refs++;
	pthread_mutex_unlock(&fs->lock);
	return i;
}

void inode_put(struct fusefs *fs, struct inode *i)
{
	if (!i)
		return;
	pthread_mutex_lock(&fs->lock);
	i->refs--;
	struct inode *dead = unused(fs, i);
	pthread_mutex_unlock(&fs->lock);
	bury(fs, dead);
}

void inode_looked_up(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	i->nlookup++;
	pthread_mutex_unlock(&fs->lock);
}

void inode_looked_up_by_us(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	i->own++;
	pthread_mutex_unlock(&fs->lock);
}

bool inode_is_known(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	bool known = i->ino == INO_ROOT ? atomic_load(&fs->entered) : i->nlookup > i->own;
	pthread_mutex_unlock(&fs->lock);
	return known;
}

void inode_forget(struct fusefs *fs, uint64_t ino, uint64_t n)
{
	struct inode *dead = NULL;
	pthread_mutex_lock(&fs->lock);
	struct inode *i = find_ino(fs, ino);
	if (i) {
		i->nlookup -= n < i->nlookup ? n : i->nlookup;
		if (!i->nlookup)
			i->own = 0;
		dead = unused(fs, i);
	}
	fs->n_forgotten += dead != NULL;
	bool trim = dead && fs->n_forgotten == TRIM_INODES;
	pthread_mutex_unlock(&fs->lock);
	bury(fs, dead);
	if (trim)
		keeper_add(fs, TIMER_TRIM, TRIM_INODES, monotonic_ns() + TRIM_NS);
}

/* From the id and the kind: the same id can come back as another kind. */
static uint64_t number_of(const struct id *id, enum node_kind kind)
{
	if (id_equal(id, &NODE_ROOT))
		return INO_ROOT;
	return table_mix(id_hash(id) + (uint64_t)kind) | (UINT64_C(1) << 62);
}

static struct inode *alloc(enum backing backing, enum node_kind kind)
{
	struct inode *i = calloc(1, sizeof(*i));
	if (!i)
		return NULL;
	pthread_mutex_init(&i->lock, NULL);
	i->backing = backing;
	i->kind = kind;
	i->refs = 1;
	i->fd = -1;
	return i;
}

/* fs->lock held. */
static void pin(struct fusefs *fs, const struct id *id, uint64_t ino)
{
	struct pin *p = find_pin(fs, id);
	if (p) {
		p->ino = ino;
		return;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return;
	p->id = *id;
	p->ino = ino;
	if (table_add(&fs->pins, &p->link, id_hash(id)) < 0)
		free(p);
}

int inode_of_node(struct fusefs *fs, const struct attr *attr, struct inode **ret)
{
	struct inode *fresh = NULL;
	for (;;) {
		pthread_mutex_lock(&fs->lock);
		struct inode *i = find_id(fs, &attr->id);
		/* An id that came back as something else: the number stays with what it was. */
		if (i && i->kind != attr->kind) {
			table_remove(&fs->by_id, &i->by_id);
			i->hashed_id = false;
			i = NULL;
		}
		if (i) {
			i->refs++;
			pthread_mutex_unlock(&fs->lock);
			if (fresh)
				inode_free(fresh);
			*ret = i;
			return 0;
		}
		if (fresh) {
			struct pin *p = find_pin(fs, &attr->id);
			fresh->ino = p ? p->ino : number_of(&attr->id, attr->kind);
			if (find_ino(fs, fresh->ino)) {
				fresh->ino = fs->next_ino++;
				pin(fs, &attr->id, fresh->ino);
			}
			if (table_add(&fs->by_ino, &fresh->by_ino, table_mix(fresh->ino)) < 0 ||
			    table_add(&fs->by_id, &fresh->by_id, id_hash(&attr->id)) < 0) {
				table_remove(&fs->by_ino, &fresh->by_ino);
				pthread_mutex_unlock(&fs->lock);
				inode_free(fresh);
				return -ENOMEM;
			}
			fresh->hashed_id = true;
			owner_find(fs, &attr->id, &fresh->owner, &fresh->ctime_ns);
			pthread_mutex_unlock(&fs->lock);
			*ret = fresh;
			return 0;
		}
		pthread_mutex_unlock(&fs->lock);
		fresh = alloc(BACK_NODE, attr->kind);
		if (!fresh)
			return -ENOMEM;
		fresh->id = attr->id;
		fresh->pageless = true;
	}
}

struct inode *inode_find_node(struct fusefs *fs, const struct id *id)
{
	pthread_mutex_lock(&fs->lock);
	struct inode *i = find_id(fs, id);
	if (i)
		i->refs++;
	pthread_mutex_unlock(&fs->lock);
	return i;
}

uint64_t inode_number(struct fusefs *fs, const struct id *id, enum node_kind kind)
{
	pthread_mutex_lock(&fs->lock);
	struct inode *i = find_id(fs, id);
	struct pin *p = i ? NULL : find_pin(fs, id);
	uint64_t ino = i ? i->ino : p ? p->ino : number_of(id, kind);
	pthread_mutex_unlock(&fs->lock);
	return ino;
}

int inode_new(struct fusefs *fs, enum backing backing, enum node_kind kind, struct inode **ret)
{
	return inode_new_number(fs, backing, kind, 0, 0, ret);
}

int inode_new_number(struct fusefs *fs, enum backing backing, enum node_kind kind, uint64_t ino,
		     uint64_t bits, struct inode **ret)
{
	struct inode *i = alloc(backing, kind);
	if (!i)
		return -ENOMEM;
	i->owner = (struct owner){ fs->options.uid, fs->options.gid };
	pthread_mutex_lock(&fs->lock);
	i->ino = !ino || find_ino(fs, ino) ? fs->next_ino++ | bits : ino;
	int r = table_add(&fs->by_ino, &i->by_ino, table_mix(i->ino));
	pthread_mutex_unlock(&fs->lock);
	if (r < 0) {
		inode_free(i);
		return r;
	}
	*ret = i;
	return 0;
}

uint64_t inode_virtual_number(const char *path, enum node_kind kind)
{
	return (table_hash_bytes(path, strlen(path), (uint64_t)kind) >> 3) | (UINT64_C(1) << 61);
}

int inode_of_virtual(struct fusefs *fs, const char *path, enum node_kind kind, struct inode **ret)
{
	uint64_t ino = inode_virtual_number(path, kind);
	struct inode *fresh = alloc(BACK_VIRTUAL, kind);
	char *text = strdup(path);
	if (!fresh || !text) {
		free(text);
		if (fresh)
			inode_free(fresh);
		return -ENOMEM;
	}
	fresh->ino = ino;
	fresh->virtual_path = text;
	pthread_mutex_lock(&fs->lock);
	struct inode *i = find_ino(fs, ino);
	int r = 0;
	if (i)
		i->refs++;
	else
		r = table_add(&fs->by_ino, &fresh->by_ino, table_mix(ino));
	pthread_mutex_unlock(&fs->lock);
	if (i || r < 0)
		inode_free(fresh);
	if (r < 0)
		return r;
	*ret = i ? i : fresh;
	return 0;
}

void inode_orphan(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	bool owned = i->hashed_id;
	if (i->hashed_id)
		table_remove(&fs->by_id, &i->by_id);
	i->hashed_id = false;
	pthread_mutex_unlock(&fs->lock);
	i->backing = BACK_ORPHAN;
	if (owned)
		owner_forget(fs, &i->id);
}

void inode_bind(struct fusefs *fs, struct inode *i, const struct id *id)
{
	pthread_mutex_lock(&fs->lock);
	struct inode *old = find_id(fs, id);
	if (old && old != i) {
		table_remove(&fs->by_id, &old->by_id);
		old->hashed_id = false;
	}
	bool moved = i->hashed_id && !id_equal(&i->id, id);
	const struct id before = i->id;
	if (i->hashed_id)
		table_remove(&fs->by_id, &i->by_id);
	i->id = *id;
	i->hashed_id = table_add(&fs->by_id, &i->by_id, id_hash(id)) == 0;
	pin(fs, id, i->ino);
	pthread_mutex_unlock(&fs->lock);
	i->backing = BACK_NODE;
	if (moved)
		owner_forget(fs, &before);
	owner_put(fs, id, &i->owner, i->ctime_ns);
}

void inode_visited(struct fusefs *fs, const struct id *dir, uint64_t us)
{
	pthread_mutex_lock(&fs->lock);
	struct inode *i = find_id(fs, dir);
	if (i && us > i->visited_us)
		i->visited_us = us;
	pthread_mutex_unlock(&fs->lock);
}

void inode_unvisited(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	i->visited_us = 0;
	pthread_mutex_unlock(&fs->lock);
}

void inode_set_place(struct inode *i, const struct id *parent, const char *name)
{
	i->parent = *parent;
	if (i->name && strcmp(i->name, name) == 0)
		return;
	char *text = strdup(name);
	if (text) {
		free(i->name);
		i->name = text;
	}
}

void inode_changed(struct inode *i)
{
	i->ctime_ns = wall_ns();
}

int inode_set_owner(struct fusefs *fs, struct inode *i, const struct owner *owner)
{
	i->owner = *owner;
	inode_changed(i);
	switch (i->backing) {
	case BACK_NODE:
		return owner_put(fs, &i->id, owner, i->ctime_ns);
	case BACK_LOCAL:
		return i->local->stored ? local_store(fs, i, false) : 0;
	case BACK_ORPHAN:
		return 0;
	case BACK_VIRTUAL:
		return shoaldir_refusal(i);
	case BACK_PLAIN:
		break;
	}
	return -EPERM;
}

mode_t inode_mode(const struct inode *i)
{
	return (i->backing == BACK_LOCAL ? i->local->mode : i->last.mode) & 07777;
}

int inode_set_mode(struct fusefs *fs, struct inode *i, mode_t mode)
{
	struct committer own;
	int r;
	mode &= 07777;
	switch (i->backing) {
	case BACK_NODE:
		fs_own_begin(fs, &own);
		r = replica_set_mode(fs->replica, &i->id, mode);
		fs_own_end(fs, &own);
		if (r >= 0)
			i->last.mode = mode;
		return r;
	case BACK_LOCAL:
		i->local->mode = (i->local->mode & S_IFMT) | mode;
		return i->local->stored ? local_store(fs, i, false) : 0;
	case BACK_ORPHAN:
		i->last.mode = mode;
		return 0;
	case BACK_VIRTUAL:
		return shoaldir_refusal(i);
	case BACK_PLAIN:
		break;
	}
	return -EPERM;
}

void inode_recount_locked(struct inode *dir)
{
	dir->counted = false;
	dir->moves++;
}

void inode_recount(struct fusefs *fs, const struct id *dir)
{
	pthread_mutex_lock(&fs->lock);
	struct inode *i = find_id(fs, dir);
	if (i)
		inode_recount_locked(i);
	pthread_mutex_unlock(&fs->lock);
}

int inodes_get(struct fusefs *fs, bool (*f)(const struct inode *i), struct inode ***ret,
	       size_t *ret_n)
{
	size_t n = 0;
	pthread_mutex_lock(&fs->lock);
	struct inode **list = calloc(fs->by_ino.n + 1, sizeof(struct inode *));
	if (list)
		table_each(&fs->by_ino, b, l, next)
		{
			struct inode *i = table_entry(l, struct inode, by_ino);
			if (f && !f(i))
				continue;
			i->refs++;
			list[n++] = i;
		}
	pthread_mutex_unlock(&fs->lock);
	if (!list)
		return -ENOMEM;
	*ret = list;
	*ret_n = n;
	return 0;
}

void inodes_put(struct fusefs *fs, struct inode **list, size_t n)
{
	for (size_t k = 0; k < n; k++)
		inode_put(fs, list[k]);
	free(list);
}

void pins_save(struct fusefs *fs, struct saver *s)
{
	save_u64(s, fs->pins.n);
	table_each(&fs->pins, b, l, next)
	{
		const struct pin *p = table_entry(l, struct pin, link);
		save_id(s, &p->id);
		save_u64(s, p->ino);
	}
}

void pins_load(struct fusefs *fs, struct loader *l)
{
	for (uint64_t n = load_count(l); n && load_ok(l); n--) {
		struct id id = { 0 };
		load_id(l, &id);
		pin(fs, &id, load_u64(l));
	}
}

void inodes_done(struct fusefs *fs)
{
	table_each(&fs->by_ino, b, l, next)
	{
		table_remove(&fs->by_ino, l);
		inode_free(table_entry(l, struct inode, by_ino));
	}
	table_each(&fs->pins, b, l, next)
	{
		table_remove(&fs->pins, l);
		free(table_entry(l, struct pin, link));
	}
	table_done(&fs->by_ino);
	table_done(&fs->by_id);
	table_done(&fs->plains);
	table_done(&fs->pins);
}
