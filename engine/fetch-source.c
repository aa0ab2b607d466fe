/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Those who are asked, and what is hopeless because none of them is left to ask. */
#include <errno.h>
#include <stdlib.h>

#include "engine/fetch-impl.h"

/* ---- who might have it ---- */

static bool lacks(const struct file *x, const struct fetch_source *s)
{
	for (uint32_t i = 0; i < x->n_lacks; i++)
		if (x->lacks[i] == s)
			return true;
	return false;
}

bool fetches_hopeless(const struct fetches *f, const struct file *x)
{
	for (uint32_t i = 0; i < f->n_sources; i++)
		if ((x->waiter || !f->source[i]->slow) && !lacks(x, f->source[i]))
			return false;
	return true;
}

/* Nothing will come of it any more. What a reader has asked for who has gone since is still taken in. */
bool fetches_over(const struct fetches *f, const struct file *x)
{
	bool asked = false;
	for (uint32_t i = 0; i < x->n_wants && !x->waiter; i++)
		asked |= x->want[i].asked != NULL;
	return !asked && fetches_hopeless(f, x);
}

/* The source will not bring what the file wants of it. */
static void unask(struct file *x, const struct fetch_source *s)
{
	for (uint32_t i = 0; i < x->n_wants; i++)
		if (x->want[i].asked == s)
			x->want[i].asked = NULL;
}

/* What nothing will come of fails, or others are looked for. */
void fetches_give_up(struct fetches *f, struct calls *c)
{
	for (uint32_t i = f->n; i > 0; i--) {
		struct file *x = f->file[i - 1];
		if (fetches_over(f, x))
			fetches_last_resort(f, x, false, c);
	}
	fetches_quests_check(f, c);
}

/* ---- sources ---- */

int fetch_join(struct fetches *f, struct fetch_source **ret)
{
	struct fetch_source *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->all = f;
	s->most = FETCH_ASKED_FIRST;
	pthread_mutex_lock(&f->lock);
	const bool full = f->n_sources == FETCH_SOURCES_MAX;
	struct fetch_source **p = full ? NULL :
		reallocarray(f->source, f->n_sources + 1, sizeof(struct fetch_source *));
	if (p) {
		f->source = p;
		p[f->n_sources++] = s;
	}
	pthread_mutex_unlock(&f->lock);
	if (!p) {
		free(s);
		return full ? -EUSERS : -ENOMEM;
	}
	*ret = s;
	return 0;
}

void fetch_slow(struct fetch_source *s, bool slow)
{
	struct calls c = { 0 };
	pthread_mutex_lock(&s->all->lock);
	s->most = FETCH_ASKED_MAX;
	for (uint32_t i = 0; slow && !s->slow && i < s->n; i++)
		s->asked[i].called_off = true;
	s->slow = slow;
	fetches_give_up(s->all, &c);
	pthread_mutex_unlock(&s->all->lock);
	fetches_call(s->all, &c);
}

/* As if it had never been here. */
static void forget(struct fetches *f, const struct fetch_source *s)
{
	fetches_quests_leave(f, s);
	for (uint32_t i = 0; i < f->n; i++) {
		struct file *x = f->file[i];
		unask(x, s);
		for (uint32_t k = 0; k < x->n_lacks; k++)
			if (x->lacks[k] == s) {
				x->lacks[k] = x->lacks[--x->n_lacks];
				break;
			}
	}
}

void fetch_leave(struct fetch_source *s)
{
	struct calls c = { 0 };
	if (!s)
		return;
	struct fetches *f = s->all;
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = 0; i < f->n_sources; i++)
		if (f->source[i] == s) {
			f->source[i] = f->source[--f->n_sources];
			break;
		}
	forget(f, s);
	fetches_give_up(f, &c);
	const bool more = f->n > 0 || f->n_quests > 0;
	pthread_mutex_unlock(&f->lock);
	free(s);
	fetches_call(f, &c);
	if (more && f->wake)
		f->wake(f->userdata);
}

static uint64_t deadline(const struct fetch_source *s)
{
	if (s->n == 0 && !s->idle)
		return UINT64_MAX;
	return s->since + (s->slow ? FETCH_SLOW_PATIENCE_US : FETCH_PATIENCE_US);
}

bool fetch_handed(struct fetch_source *s, uint64_t now_us)
{
	struct fetches *f = s->all;
	pthread_mutex_lock(&f->lock);
	const bool may = now_us < deadline(s) && s->handed < FETCH_HANDED_MAX;
	if (may) {
		forget(f, s);
		s->n = s->n_seeks = 0;
		s->most = FETCH_ASKED_FIRST;
		s->slow = false;
		s->idle = true;
		s->since = now_us;
		s->handed++;
	}
	const bool more = may && (f->n > 0 || f->n_quests > 0);
	pthread_mutex_unlock(&f->lock);
	/* Others may have what was asked of this one. */
	if (more && f->wake)
		f->wake(f->userdata);
	return may;
}

bool fetches_whole(const struct file *x)
{
	const struct waiter *w = x->waiter;
	while (w && w->len != UINT64_MAX)
		w = w->next;
	return w != NULL;
}

static bool next_of(struct fetch_source *s, struct file *x, bool urgent, struct sha256 *ret)
{
	if (lacks(x, s) || (s->slow && !urgent && !fetches_whole(x)))
		return false;
	for (uint32_t i = 0; i < x->n_wants; i++) {
		struct want *w = &x->want[i];
		if (w->asked || w->urgent != urgent || fetches_on_quest(s->all, x, &w->hash))
			continue;
		w->asked = s;
		s->asked[s->n++] = (struct asked){ .hash = w->hash, .file = x->no };
		*ret = w->hash;
		return true;
	}
	return false;
}

bool fetch_next(struct fetch_source *s, uint64_t now_us, struct sha256 *ret)
{
	struct fetches *f = s->all;
	bool found = false;
	pthread_mutex_lock(&f->lock);
	const bool first = s->n == 0;
	s->idle = false;
	for (int pass = 0; pass < 2 && !found && s->n < s->most; pass++)
		for (uint32_t i = 0; i < f->n && !found; i++)
			found = next_of(s, f->file[i], pass == 0, ret);
	if (found && first)
		s->since = now_us;
	pthread_mutex_unlock(&f->lock);
	return found;
}

static int note_lacks(struct file *x, struct fetch_source *s)
{
	if (lacks(x, s))
		return 0;
	if (x->n_lacks == x->cap_lacks) {
		uint32_t cap = x->cap_lacks + 8;
		struct fetch_source **p = reallocarray(x->lacks, cap, sizeof(struct fetch_source *));
		if (!p)
			return -ENOMEM;
		x->lacks = p;
		x->cap_lacks = cap;
	}
	x->lacks[x->n_lacks++] = s;
	return 0;
}

int fetches_came(struct fetches *f, struct file *x, uint32_t want, const void *data, size_t len, struct calls *c,
		 struct err *e)
{
	int rc = chunk_put(f->store, &x->want[want].hash, data, len);
	if (rc == -EBADMSG)
		return err_set(e, -EPROTO, "the peer sent a chunk that has another hash");
	if (rc < 0) {
		/* The disk is full, say: nobody waits for what cannot come. The session is all right. */
		fetches_end(f, x, rc, c);
		return 0;
	}
	x->want[want] = x->want[--x->n_wants];
	x->sought = 0;
	fetches_step(f, x, c);
	fetches_give_up(f, c);
	return 0;
}

/* A chunk that this file wants; the lock is held. */
static int take(struct fetches *f, struct file *x, struct fetch_source *s, const struct sha256 *hash,
		const void *data, size_t len, bool again, struct calls *c, struct err *e)
{
	uint32_t i;
	int rc;
	if (!fetches_wanted(x, hash, &i))
		return 0;
	if (len == 0) {
		x->want[i].asked = NULL;
		rc = again ? 0 : note_lacks(x, s);
		if (rc < 0)
			return err_errno(e, rc, "cannot note what a peer lacks");
		c->wake = true;
		fetches_give_up(f, c);
		return 0;
	}
	return fetches_came(f, x, i, data, len, c, e);
}

int fetch_chunk(struct fetch_source *s, const struct sha256 *hash, const void *data, size_t len,
		uint64_t now_us, struct err *e)
{
	struct fetches *f = s->all;
	struct calls c = { 0 };
	uint32_t i = 0;
	int rc = 0;
	pthread_mutex_lock(&f->lock);
	while (i < s->n && sha256_cmp(&s->asked[i].hash, hash) != 0)
		i++;
	const bool mine = i < s->n;
	if (mine) {
		const uint64_t no = s->asked[i].file;
		const bool again = s->asked[i].called_off;
		s->asked[i] = s->asked[--s->n];
		s->since = now_us;
		s->handed = 0;
		for (uint32_t k = 0; k < f->n; k++)
			if (f->file[k]->no == no) {
				rc = take(f, f->file[k], s, hash, data, len, again, &c, e);
				break;
			}
	}
	if (rc == 0 && mine && len > 0)
		rc = fetches_quests_found(f, hash, data, len, &c, e);
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	return rc < 0 ? rc : mine;
}

uint64_t fetch_deadline(struct fetch_source *s)
{
	pthread_mutex_lock(&s->all->lock);
	uint64_t at = deadline(s);
	pthread_mutex_unlock(&s->all->lock);
	return at;
}
