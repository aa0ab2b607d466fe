/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The intake's chunks: which are wanted, by whom, and what comes of them. */
#include "engine/intake-impl.h"

#include <errno.h>
#include <string.h>

static struct want **want_at(struct intake *in, const struct sha256 *hash)
{
	uint64_t h;
	memcpy(&h, hash->b, sizeof(h));
	struct want **p = &in->want[h % BUCKETS];
	while (*p && sha256_cmp(&(*p)->hash, hash) != 0)
		p = &(*p)->next;
	return p;
}

int intake_want_add(struct intake *in, const struct sha256 *hash, struct waiter *waiter)
{
	struct want **p = want_at(in, hash), *w = *p;
	if (!w) {
		w = calloc(1, sizeof(*w));
		if (!w)
			return -ENOMEM;
		w->hash = *hash;
		*p = w;
		in->n_wants++;
		w->older = in->ask_last;
		if (in->ask_last)
			in->ask_last->newer = w;
		else
			in->ask_first = w;
		in->ask_last = w;
	}
	waiter->next = w->waiter;
	w->waiter = waiter;
	return 0;
}

static void waiters_wake(struct intake *in, struct want *w, bool here)
{
	for (struct waiter *i = w->waiter; i; i = i->next) {
		i->arrival->nowhere |= !here;
		if (--i->arrival->missing == 0)
			queue_push(&in->ready, i->arrival);
	}
	w->waiter = NULL;
}

/* Makes ready what waits for the hash alone; the want is taken out of its table and freed. here: it
 * has come. */
static void want_wake(struct intake *in, struct want **p, bool here)
{
	struct want *w = *p;
	*p = w->next;
	in->n_wants--;
	waiters_wake(in, w, here);
	free(w);
}

int intake_chunk(struct intake *in, const struct sha256 *hash, const void *data, size_t len,
		 uint64_t cost, struct err *e)
{
	struct want **p = want_at(in, hash);
	if (!*p || !(*p)->asked)
		return err_set(e, -EPROTO, "the peer sent a chunk that nobody asked for");
	in->n_asked--;
	in->credit[STREAM_CHUNK] += cost;
	if (len == 0) {
		want_wake(in, p, false);
		return intake_run_ready(in, e);
	}
	int r = chunk_put(replica_store(in->replica), hash, data, len);
	if (r == -EBADMSG)
		return err_set(e, -EPROTO, "the peer sent a chunk that has another hash");
	if (r < 0)
		return err_errno(e, r, "cannot store a chunk");
	want_wake(in, p, true);
	return intake_run_ready(in, e);
}

int intake_pace(struct intake *in, bool slow, struct err *e)
{
	in->asks_max = INTAKE_WANTS_MAX;
	in->sparing = slow;
	if (!slow)
		return 0;
	/* What was asked for is going to be answered, and nobody waits for that. */
	for (uint32_t i = 0; i < BUCKETS; i++)
		for (struct want **p = &in->want[i]; *p;) {
			waiters_wake(in, *p, false);
			if ((*p)->asked)
				p = &(*p)->next;
			else
				want_wake(in, p, false);
		}
	in->ask_first = in->ask_last = NULL;
	return intake_run_ready(in, e);
}

bool intake_asks(const struct intake *in)
{
	return (in->ask_first && in->n_asked < in->asks_max) ||
	       (in->records.first && !in->record_asked);
}

bool intake_want(struct intake *in, struct sha256 *ret)
{
	struct want *w = in->ask_first;
	if (!w || in->n_asked >= in->asks_max)
		return false;
	in->ask_first = w->newer;
	if (!in->ask_first)
		in->ask_last = NULL;
	else
		in->ask_first->older = NULL;
	w->newer = NULL;
	w->asked = true;
	in->n_asked++;
	*ret = w->hash;
	return true;
}
