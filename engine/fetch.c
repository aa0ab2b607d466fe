/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/fetch.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fetch-impl.h"

#define BATCH 64        /* of the chunks that are wanted: for nobody in particular */
#define URGENT 16       /* of them for one reader */
#define TURNS_MAX 3     /* a file that is complete, and then is not: somebody writes it */

/* ---- calling back ---- */

/* Without the lock. */
void fetches_call(const struct fetches *f, struct calls *c)
{
	while (c->first) {
		struct waiter *w = c->first;
		c->first = w->next;
		w->fn(w->code, w->userdata);
		free(w);
	}
	if (c->wake && f->wake)
		f->wake(f->userdata);
}

/* Takes it out of its file. */
static void answer(struct fetches *f, struct waiter **at, int code, struct calls *c)
{
	struct waiter *w = *at;
	*at = w->next;
	w->code = code;
	w->next = c->first;
	c->first = w;
	f->n_waiters--;
}

/* ---- files ---- */

static void file_free(struct file *x)
{
	if (!x)
		return;
	hold_done(&x->hold);
	free(x->ref);
	while (x->waiter) {
		struct waiter *w = x->waiter;
		x->waiter = w->next;
		free(w);
	}
	free(x->lacks);
	free(x);
}

/* The file is through, whatever came of it. */
void fetches_end(struct fetches *f, struct file *x, int code, struct calls *c)
{
	fetches_quests_end(f, x->no);
	while (x->waiter)
		answer(f, &x->waiter, code, c);
	for (uint32_t i = 0; i < f->n; i++)
		if (f->file[i] == x) {
			f->n--;
			memmove(&f->file[i], &f->file[i + 1], (f->n - i) * sizeof(f->file[0]));
			break;
		}
	file_free(x);
}

struct file *fetches_find(const struct fetches *f, const struct id *node)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (id_equal(&f->file[i]->node, node))
			return f->file[i];
	return NULL;
}

static int file_load(struct fetches *f, struct file *x)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct blob_ref *ref;
	uint32_t n;
	int rc = replica_blobs(f->replica, &x->node, &a, &ref, &n);
	if (rc < 0)
		return rc;
	struct blob_ref *copy = calloc(n ? n : 1, sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		copy[i] = ref[i];
	free(x->ref);
	x->ref = copy;
	x->n_refs = n;
	x->at = 0;
	x->from = 0;
	return 0;
}

static int file_new(struct fetches *f, const struct id *node, struct file **ret)
{
	if (f->n == FETCH_FILES_MAX)
		return -EBUSY;
	if (f->n == f->cap) {
		uint32_t cap = f->cap ? 2 * f->cap : 8;
		struct file **p = reallocarray(f->file, cap, sizeof(struct file *));
		if (!p)
			return -ENOMEM;
		f->file = p;
		f->cap = cap;
	}
	struct file *x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->node = *node;
	x->no = ++f->last_file;
	int rc = file_load(f, x);
	if (rc < 0) {
		file_free(x);
		return rc;
	}
	f->file[f->n++] = x;
	*ret = x;
	return 0;
}

/* ---- what is missing ---- */

struct search {
	struct fetches *f;
	struct file *x;
	uint64_t end;   /* nothing is looked for from there on */
	uint32_t most;  /* how many may be added */
	bool urgent;
	uint64_t first; /* where the first missing one begins; UINT64_MAX: none is */
	int code;
};

bool fetches_wanted(const struct file *x, const struct sha256 *hash, uint32_t *ret)
{
	for (uint32_t i = 0; i < x->n_wants; i++)
		if (sha256_cmp(&x->want[i].hash, hash) == 0) {
			*ret = i;
			return true;
		}
	return false;
}

/* The place of one that nobody waits for and nobody is asked for. A slow source is never asked for it: without its
 * place those who have gone would keep out who waits. It is found again when its turn comes. */
static bool idle_want(const struct file *x, uint32_t *ret)
{
	for (uint32_t i = x->n_wants; i > 0; i--)
		if (!x->want[i - 1].asked && !x->want[i - 1].urgent) {
			*ret = i - 1;
			return true;
		}
	return false;
}

static int on_piece(void *userdata, const struct sha256 *hash, uint64_t offset, uint64_t size, bool node)
{
	struct search *s = userdata;
	struct file *x = s->x;
	uint32_t i;
	(void)size;
	(void)node;
	if (offset >= s->end)
		return -ECANCELED;
	if (store_has(s->f->store, NULL, STORE_HASHES, hash->b, SHA256_SIZE))
		return 1;
	if (offset < s->first)
		s->first = offset;
	if (s->most == 0)
		return -ECANCELED;
	if (fetches_wanted(x, hash, &i)) {
		x->want[i].urgent |= s->urgent;
		return 0;
	}
	i = x->n_wants;
	if (i == WANTS_MAX && (!s->urgent || !idle_want(x, &i)))
		return -ECANCELED;
	s->code = pins_add(store_pins(s->f->store), &x->hold, hash);
	if (s->code < 0)
		return -ECANCELED;
	if (i == x->n_wants)
		x->n_wants++;
	else
		hold_drop(&x->hold, &x->want[i].hash);
	x->want[i] = (struct want){ .hash = *hash, .urgent = s->urgent };
	s->most--;
	return 0;
}

/* Looks through [from, end) of a blob; adds up to `most` of what is missing to what is wanted. *ret: where the
 * first missing piece begins, UINT64_MAX: nothing is. */
static int search(struct fetches *f, struct file *x, uint32_t ref, uint64_t from, uint64_t end,
		  uint32_t most, bool urgent, uint64_t *ret)
{
	struct search s = { .f = f, .x = x, .end = end, .most = most, .urgent = urgent,
			    .first = UINT64_MAX };
	const struct blob_ref *b = &x->ref[ref];
	int rc = manifest_walk(f->store, &b->manifest, b->size, from, NULL, on_piece, &s);
	if (s.code < 0)
		return s.code;
	if (rc < 0 && rc != -ECANCELED)
		return rc;
	*ret = s.first;
	return 0;
}

/* 1: what it waits for is here; what is missing of it is wanted now. */
static int waiter_look(struct fetches *f, struct file *x, const struct waiter *w)
{
	uint64_t first;
	if (w->len == UINT64_MAX)
		return 0;
	int rc = search(f, x, w->ref, w->offset, w->offset + w->len, URGENT, true, &first);
	return rc < 0 ? rc : first == UINT64_MAX;
}

/* The next ones of the file. 1: none is missing. */
static int file_more(struct fetches *f, struct file *x)
{
	for (; x->at < x->n_refs; x->at++, x->from = 0) {
		uint64_t first;
		int rc = search(f, x, x->at, x->from, UINT64_MAX, BATCH, false, &first);
		if (rc < 0)
			return rc;
		if (first == UINT64_MAX)
			continue;
		if (first > x->from)
			x->from = first;
		return 0;
	}
	return 1;
}

/* Goes on with a file of which something has come, or that is new. It may be gone afterwards. */
void fetches_step(struct fetches *f, struct file *x, struct calls *c)
{
	struct err e = { 0 };
	for (struct waiter **at = &x->waiter; *at;) {
		int rc = waiter_look(f, x, *at);
		if (rc != 0)
			answer(f, at, rc < 0 ? rc : 0, c);
		else
			at = &(*at)->next;
	}
	while (x->n_wants < BATCH / 2) {
		int rc = file_more(f, x);
		if (rc == 0 && x->n_wants > 0)
			return;
		if (rc >= 0)
			rc = replica_filled(f->replica, &x->node, &e);
		/* It has been written, or somebody deleted a chunk that was here already. */
		if (rc == -EAGAIN && x->turns++ < TURNS_MAX)
			rc = file_load(f, x);
		else if (rc == 0 || rc == -ENOENT)
			break;
		if (rc < 0) {
			fetches_end(f, x, rc == -EAGAIN ? -EHOSTDOWN : rc, c);
			return;
		}
	}
	if (x->n_wants == 0)
		fetches_end(f, x, 0, c);
}

/* ---- those who wait ---- */

int fetches_new(struct replica *r, void (*wake)(void *userdata), void *userdata, struct fetches **ret)
{
	struct fetches *f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->replica = r;
	f->store = replica_store(r);
	f->wake = wake;
	f->userdata = userdata;
	replica_random(r, f->seed, sizeof(f->seed));
	pthread_mutex_init(&f->lock, NULL);
	*ret = f;
	return 0;
}

void fetches_stop(struct fetches *f, int code)
{
	struct calls c = { 0 };
	pthread_mutex_lock(&f->lock);
	f->stopped = true;
	for (uint32_t i = f->n; i > 0; i--)
		fetches_end(f, f->file[i - 1], code, &c);
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
}

void fetches_free(struct fetches *f)
{
	if (!f)
		return;
	assert(f->n_sources == 0);
	for (uint32_t i = 0; i < f->n; i++)
		file_free(f->file[i]);
	fetches_quests_free(f);
	free(f->file);
	free(f->source);
	pthread_mutex_destroy(&f->lock);
	free(f);
}

static int waiter_add(struct fetches *f, struct file *x, const struct waiter *w)
{
	if (f->n_waiters == FETCH_WAITERS_MAX)
		return -EBUSY;
	struct waiter *copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *w;
	copy->next = x->waiter;
	x->waiter = copy;
	f->n_waiters++;
	return 0;
}

/* Which content of the file that is. -EHOSTDOWN: none. */
static int ref_find(const struct file *x, const struct blob_ref *ref, uint32_t *ret)
{
	for (uint32_t i = 0; i < x->n_refs; i++)
		if (x->ref[i].size == ref->size && sha256_cmp(&x->ref[i].manifest, &ref->manifest) == 0) {
			*ret = i;
			return 0;
		}
	return -EHOSTDOWN;
}

/* The lock is held. */
static int begin(struct fetches *f, const struct id *node, const struct blob_ref *ref, struct waiter *w,
		 struct calls *c)
{
	struct file *x = fetches_find(f, node);
	const bool new = !x;
	if (replica_absence(f->replica, node) == ABSENT_NOT)
		return 1;
	if (f->stopped || f->n_sources == 0)
		return -EHOSTDOWN;
	int rc = x ? 0 : file_new(f, node, &x);
	if (rc < 0)
		return rc;
	if (ref)
		rc = ref_find(x, ref, &w->ref);
	/* It may have been written since it began. */
	if (rc < 0 && !new && file_load(f, x) == 0)
		rc = ref_find(x, ref, &w->ref);
	if (rc == 0 && w->fn)
		rc = waiter_add(f, x, w);
	if (rc == 0) {
		fetches_step(f, x, c);
		fetches_give_up(f, c);
	} else if (new) {
		fetches_end(f, x, rc, c);
	}
	return rc;
}

int fetch_begin(struct fetches *f, const struct id *node, const struct blob_ref *ref, uint64_t offset,
		uint64_t len, fetch_fn fn, void *userdata, uint64_t *ret_ticket)
{
	struct calls c = { 0 };
	pthread_mutex_lock(&f->lock);
	struct waiter w = { .ticket = ++f->last_ticket, .offset = offset, .fn = fn, .userdata = userdata };
	w.len = len > UINT64_MAX - 1 - offset && len != UINT64_MAX ? UINT64_MAX - 1 - offset : len;
	if (!ref)
		w.len = UINT64_MAX;
	if (ret_ticket)
		*ret_ticket = w.ticket;
	int rc = begin(f, node, ref, &w, &c);
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	if (rc == 0 && f->wake)
		f->wake(f->userdata);
	return rc;
}

/* Somebody has ceased to wait: what the others wait for is urgent. */
static void urge(struct fetches *f, struct file *x)
{
	for (uint32_t i = 0; i < x->n_wants; i++)
		x->want[i].urgent = false;
	for (const struct waiter *w = x->waiter; w; w = w->next)
		(void)waiter_look(f, x, w);
}

bool fetch_cancel(struct fetches *f, uint64_t ticket)
{
	struct calls c = { 0 };
	bool found = false;
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->n && !found; i++) {
		struct waiter **at = &f->file[i]->waiter;
		while (*at && (*at)->ticket != ticket)
			at = &(*at)->next;
		struct waiter *w = *at;
		if (!w)
			continue;
		*at = w->next;
		free(w);
		f->n_waiters--;
		found = true;
		urge(f, f->file[i]);
	}
	if (found)
		fetches_give_up(f, &c);
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	return found;
}

void fetch_background(struct fetches *f)
{
	struct id node[FETCH_BACKGROUND_MAX];
	struct calls c = { 0 };
	uint32_t busy = 0, began = 0;
	bool fast = false;
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->n; i++)
		busy += !f->file[i]->waiter;
	for (uint32_t i = 0; i < f->n_sources; i++)
		fast |= !f->source[i]->slow;
	if (busy < FETCH_BACKGROUND_MAX && fast && !f->stopped) {
		uint32_t n = replica_absents_list(f->replica, ABSENT_WANTED, &f->place, node,
						  FETCH_BACKGROUND_MAX - busy);
		for (uint32_t i = 0; i < n; i++) {
			struct waiter nobody = { .len = UINT64_MAX };
			began += !fetches_find(f, &node[i]) && begin(f, &node[i], NULL, &nobody, &c) == 0;
		}
	}
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	if (began > 0 && f->wake)
		f->wake(f->userdata);
}

bool fetch_progress(struct fetches *f, const struct id *node, uint64_t *ret_done, uint64_t *ret_size)
{
	uint64_t done = 0, size = 0;
	pthread_mutex_lock(&f->lock);
	const struct file *x = fetches_find(f, node);
	for (uint32_t i = 0; x && i < x->n_refs; i++) {
		size += x->ref[i].size;
		done += i < x->at ? x->ref[i].size : i == x->at ? x->from : 0;
	}
	pthread_mutex_unlock(&f->lock);
	if (!x)
		return false;
	*ret_done = done;
	*ret_size = size;
	return true;
}

uint32_t fetch_files(struct fetches *f)
{
	pthread_mutex_lock(&f->lock);
	uint32_t n = f->n;
	pthread_mutex_unlock(&f->lock);
	return n;
}

uint32_t fetch_list(struct fetches *f, struct id *ret, uint32_t max)
{
	uint32_t n = 0;
	pthread_mutex_lock(&f->lock);
	for (; n < f->n && n < max; n++)
		ret[n] = f->file[n]->node;
	pthread_mutex_unlock(&f->lock);
	return n;
}
