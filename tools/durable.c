/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `sync`, and answers that are given when what they are about is on the disk. The flusher works anyhow;
 * somebody who waits makes it work at once. */
#include <errno.h>
#include <stdlib.h>

#include "tools/daemon.h"

struct durable {
	struct daemon *d;
	struct durable *next;
	struct call *call;
	uint64_t commits; /* that have to be on the disk */
	struct buf answer;
};

static void durable_free(struct durable *x)
{
	for (struct durable **at = &x->d->durable; *at; at = &(*at)->next)
		if (*at == x) {
			*at = x->next;
			break;
		}
	buf_done(&x->answer);
	free(x);
}

static void cancelled(struct call *c, void *userdata)
{
	(void)c;
	durable_free(userdata);
}

static uint64_t on_disk(struct daemon *d)
{
	_cleanup_(view_unrefp) struct view *v = replica_view(d->replica);
	return v ? view_commits(v) : 0;
}

void durable_check(struct daemon *d)
{
	const uint64_t commits = d->durable ? on_disk(d) : 0;
	for (struct durable *x = d->durable, *next; x; x = next) {
		next = x->next;
		if (x->commits > commits)
			continue;
		struct call *call = x->call;
		struct buf answer = x->answer;
		x->answer = (struct buf){ 0 };
		durable_free(x);
		call_result(call, answer.len ? &answer : NULL, false);
		buf_done(&answer);
	}
}

void durable_answer(struct daemon *d, struct call *c, struct buf *answer)
{
	struct durable *x = calloc(1, sizeof(*x));
	if (!x) {
		call_fail(c, -ENOMEM, "the change is made, but there is no memory to wait for the disk");
		return;
	}
	*x = (struct durable){ d, d->durable, c, replica_commits(d->replica), { 0 } };
	if (answer) {
		x->answer = *answer;
		*answer = (struct buf){ 0 };
	}
	d->durable = x;
	call_keep(c, cancelled, NULL, x);
	flusher_now(d->flusher);
	durable_check(d);
}

void method_sync(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	(void)params;
	daemon_settle(d);
	durable_answer(d, c, NULL);
}
