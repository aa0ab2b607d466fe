/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctlclient.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tools/control.h"
#include "tools/libshoal/client.h"

struct ctlclient {
	struct shoal *shoal;
};

static int give(struct err *to, const struct shoal_error *from)
{
	int code = err_set(to, from->code, "%s", from->message);
	if (to) {
		to->line = from->line;
		to->column = from->column;
		to->offset = from->offset;
	}
	return code;
}

int ctlclient_new(const struct storedir *dir, struct ctlclient **ret, struct err *e)
{
	_cleanup_(ctlclient_freep) struct ctlclient *c = calloc(1, sizeof(*c));
	if (!c)
		return err_errno(e, -ENOMEM, "cannot reach the daemon");
	int r = client_open(dir, &c->shoal, e);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

void ctlclient_free(struct ctlclient *c)
{
	if (!c)
		return;
	shoal_close(c->shoal);
	free(c);
}

struct shoal *ctlclient_shoal(const struct ctlclient *c)
{
	return c->shoal;
}

pid_t ctlclient_pid(const struct ctlclient *c)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	return getsockopt(shoal_fd(c->shoal), SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ? 0 : cred.pid;
}

struct parsing {
	ctl_result_fn f;
	void *userdata;
	struct err *e;
};

static int parse(const struct shoal_answer *answer, void *userdata)
{
	static const struct json_limits limits = { .depth = 64, .size = CONTROL_REPLY_MAX };
	_cleanup_(arena_done) struct arena a = { 0 };
	struct parsing *p = userdata;
	struct json *v;
	if (!p->f)
		return 0;
	int r = json_parse(&a, answer->json, answer->len, &limits, &v, p->e);
	return r < 0 ? r : p->f(v, answer->json, answer->len, answer->last, p->userdata);
}

int ctlclient_call(struct ctlclient *c, const char *method, const struct buf *params,
		   uint64_t timeout_us, ctl_result_fn f, void *userdata, struct err *e)
{
	struct parsing p = { f, userdata, e };
	struct shoal_error why = { 0 };
	int r = client_call(c->shoal, method, params, timeout_us, parse, &p, &why);
	return why.code ? give(e, &why) : r;
}
