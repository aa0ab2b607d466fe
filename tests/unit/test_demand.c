/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who waits for contents is answered once, and not while libfuse still holds his request: an interrupt that
 * came first is told within fuse_req_interrupt_func. */
#include "fusefs/demand.h"

#include <errno.h>

#include "engine/fetch.h"
#include "tests/tap.h"

static struct fusefs fs;
static struct {
	bool registering, interrupt; /* an interrupt has come before */
	bool inside;                 /* it was answered while registering */
	unsigned answers, begun, cancelled;
	int code;
	fetch_fn done; /* of the fetch that was begun */
	void *userdata;
} now;

/* libfuse's and the queue's part, as this program says it. */
void *fuse_req_userdata(fuse_req_t req)
{
	(void)req;
	return &fs;
}

void fuse_req_interrupt_func(fuse_req_t req, fuse_interrupt_func_t func, void *data)
{
	now.registering = true;
	if (now.interrupt)
		func(req, data);
	now.registering = false;
}

int fetch_begin(struct fetches *f, const struct id *node, const struct blob_ref *ref, uint64_t offset,
		uint64_t len, fetch_fn fn, void *userdata, uint64_t *ret_ticket)
{
	(void)f, (void)node, (void)ref, (void)offset, (void)len;
	now.begun++;
	now.done = fn;
	now.userdata = userdata;
	*ret_ticket = 1;
	return 0;
}

bool fetch_cancel(struct fetches *f, uint64_t ticket)
{
	(void)f, (void)ticket;
	now.cancelled++;
	return true;
}

static void answer(struct fusefs *of, fuse_req_t req, int code, void *arg)
{
	(void)of, (void)req, (void)arg;
	now.answers++;
	now.code = code;
	now.inside |= now.registering;
}

static void wait_for_contents(bool interrupt)
{
	static char request;
	static const struct id node = { { 1 } };
	now = (typeof(now)){ .interrupt = interrupt };
	demand_wait(&fs, (fuse_req_t)&request, &node, NULL, 0, UINT64_MAX, answer, NULL);
}

int main(void)
{
	static char queue;
	tap_plan(9);
	fs.config.fetches = (struct fetches *)&queue;
	if (demand_new(&fs, &fs.demand) < 0)
		tap_bail("no memory");
	wait_for_contents(false);
	ok(now.answers == 0 && now.begun == 1, "who waits is not answered yet");
	now.done(0, now.userdata);
	ok(now.answers == 1 && now.code == 0, "but when the contents are here");
	wait_for_contents(true);
	is_int(now.answers, 1, "who was interrupted before is answered at once");
	is_int(now.code, -EINTR, "with EINTR");
	ok(!now.inside, "after libfuse has let go of the request");
	is_int(now.begun, 0, "and nothing is fetched for him");
	wait_for_contents(false);
	demand_stop(fs.demand);
	ok(now.answers == 1 && now.code == -EINTR, "at the end of the mount all are interrupted");
	is_int(now.cancelled, 1, "and what was to be fetched is called off");
	wait_for_contents(false);
	ok(now.answers == 1 && now.code == -EHOSTDOWN, "who comes later is told that it is over");
	demand_free(fs.demand);
	return tap_done();
}
