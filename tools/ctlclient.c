/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctlclient.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/control.h"

struct ctlclient {
	int fd;
	uint64_t id;
	struct buf in;
};

int ctlclient_new(const struct storedir *dir, struct ctlclient **ret, struct err *e)
{
	_cleanup_(ctlclient_freep) struct ctlclient *c = calloc(1, sizeof(*c));
	struct sockaddr_un sa;
	if (!c)
		return err_errno(e, -ENOMEM, "cannot reach the daemon");
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return err_errno(e, -errno, "cannot reach the daemon");
	storedir_socket(dir, &sa);
	if (connect(c->fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(e, -ESRCH,
				       "no daemon serves the store %s; `shoal up` starts one",
				       storedir_path(dir));
		return err_errno(e, -errno, "cannot reach the daemon of %s", storedir_path(dir));
	}
	*ret = TAKE_PTR(c);
	return 0;
}

void ctlclient_free(struct ctlclient *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	buf_done(&c->in);
	free(c);
}

pid_t ctlclient_pid(const struct ctlclient *c)
{
	struct ucred cred = { 0 };
	socklen_t len = sizeof(cred);
	return getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ? 0 : cred.pid;
}

static int gone(struct err *e)
{
	return err_set(e, -ECONNRESET, "the daemon went away before it answered; its log says why");
}

static int send_all(struct ctlclient *c, const struct buf *b, struct err *e)
{
	for (size_t done = 0; done < b->len;) {
		ssize_t n = send(c->fd, b->data + done, b->len - done, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EPIPE || errno == ECONNRESET ?
				       gone(e) :
				       err_errno(e, -errno, "cannot ask the daemon");
		done += (size_t)n;
	}
	return 0;
}

/* Waits for a whole line; its length without the newline. It stays at the start of c->in. */
static int read_line(struct ctlclient *c, uint64_t timeout_us, size_t *ret_len, struct err *e)
{
	size_t seen = 0;
	for (;;) {
		uint8_t *nl = c->in.len > seen ?
				      memchr(c->in.data + seen, '\n', c->in.len - seen) : NULL;
		if (nl) {
			*ret_len = (size_t)(nl - c->in.data);
			return 0;
		}
		seen = c->in.len;
		if (seen > CONTROL_REPLY_MAX)
			return err_set(e, -EPROTO, "the daemon's answer is too long");
		struct pollfd p = { .fd = c->fd, .events = POLLIN };
		int r = poll(&p, 1, timeout_us ? (int)((timeout_us + 999) / 1000) : -1);
		if (r < 0 && errno == EINTR)
			continue;
		if (r == 0)
			return err_set(e, -ETIMEDOUT,
				       "the daemon does not answer; its log may say why");
		uint8_t *room = buf_reserve(&c->in, 65536);
		if (!room)
			return err_errno(e, -ENOMEM, "cannot read the daemon's answer");
		ssize_t n = recv(c->fd, room, 65536, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return gone(e);
		c->in.len += (size_t)n;
	}
}

static int take_reply(struct ctlclient *c, size_t len, ctl_result_fn f, void *userdata,
		      bool *ret_more, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct control_reply reply;
	const char *line = (const char *)c->in.data;
	int r = control_parse_reply(&a, line, len, &reply, e);
	if (r < 0)
		return r;
	*ret_more = reply.more;
	if (!reply.result) {
		if (e)
			*e = reply.error;
		return reply.error.code;
	}
	return f ? f(reply.result, line + reply.result->offset,
		     reply.result->end - reply.result->offset, !reply.more, userdata) : 0;
}

int ctlclient_call(struct ctlclient *c, const char *method, const struct buf *params,
		   uint64_t timeout_us, ctl_result_fn f, void *userdata, struct err *e)
{
	_cleanup_(buf_done) struct buf out = { 0 };
	const char *text = params && params->len ? (const char *)params->data : NULL;
	control_put_request(&out, method, text, text ? params->len : 0, ++c->id);
	if (buf_failed(&out) || (params && buf_failed(params)))
		return err_errno(e, -ENOMEM, "cannot ask the daemon");
	if (out.len > CONTROL_REQUEST_MAX)
		return err_set(e, -E2BIG, "that is too much for one request");
	int r = send_all(c, &out, e);
	bool more = true;
	while (r == 0 && more) {
		size_t len = 0;
		r = read_line(c, timeout_us, &len, e);
		if (r < 0)
			break;
		r = take_reply(c, len, f, userdata, &more, e);
		buf_consume(&c->in, len + 1);
	}
	return r;
}
