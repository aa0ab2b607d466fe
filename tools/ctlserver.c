/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/ctlserver.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tools/control.h"

struct client {
	struct ctlserver *server;
	struct client *prev, *next;
	int fd;
	sd_event_source *source;
	struct buf in, out;
	size_t out_done; /* bytes of out that are sent */
	struct call *calls;
	unsigned n_calls;
	bool held;    /* whole lines wait in `in` until there is room for their answers */
	bool closing; /* sends what is left, reads nothing more */
	bool broken;  /* to be freed when nobody works on it */
	bool emptied; /* all was sent, and producers that wait for room do not know it */
	bool busy;    /* somebody works on it */
};

struct call {
	struct client *client;
	struct call *prev, *next;
	struct arena arena;
	char *id; /* arena; NULL: none */
	size_t id_len;
	void (*cancel)(struct call *c, void *userdata);
	void (*drained)(struct call *c, void *userdata);
	void *userdata;
};

struct ctlserver {
	sd_event *event;
	const struct storedir *dir;
	const struct method *table;
	unsigned n_methods;
	void *userdata;
	struct log *log;
	int fd;
	sd_event_source *source;
	struct client *clients;
	unsigned n_clients;
};

static void call_free(struct call *c)
{
	struct client *k = c->client;
	if (c->prev)
		c->prev->next = c->next;
	else
		k->calls = c->next;
	if (c->next)
		c->next->prev = c->prev;
	k->n_calls--;
	arena_done(&c->arena);
	free(c);
}

static void client_free(struct client *k)
{
	struct ctlserver *s = k->server;
	for (struct call *c = k->calls, *next; c; c = next) {
		next = c->next;
		if (c->cancel)
			c->cancel(c, c->userdata);
		call_free(c);
	}
	if (k->prev)
		k->prev->next = k->next;
	else
		s->clients = k->next;
	if (k->next)
		k->next->prev = k->prev;
	s->n_clients--;
	sd_event_source_disable_unref(k->source);
	close(k->fd);
	buf_done(&k->in);
	buf_done(&k->out);
	free(k);
}

static size_t backlog(const struct client *k)
{
	return k->out.len - k->out_done;
}

/* Sends what the socket takes. */
static void push(struct client *k)
{
	while (!k->broken && backlog(k)) {
		ssize_t n = send(k->fd, k->out.data + k->out_done, backlog(k),
				 MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			k->broken = true;
		else
			k->out_done += (size_t)n;
	}
	if (!backlog(k)) {
		/* Who waits for room is told from the loop: nothing is left that would wake it. */
		k->emptied = k->emptied || (k->out.len > 0 && k->n_calls > 0);
		buf_reset(&k->out);
		k->out_done = 0;
	} else if (k->out_done > CTL_ROOM) {
		buf_consume(&k->out, k->out_done);
		k->out_done = 0;
	}
}

static void listen_for(struct client *k)
{
	uint32_t events = 0;
	bool room = k->n_calls < CTL_CALLS_MAX && backlog(k) < CTL_ROOM;
	if (!k->closing && room)
		events |= EPOLLIN;
	if (backlog(k) || k->emptied || (k->held && room))
		events |= EPOLLOUT;
	sd_event_source_set_io_events(k->source, events);
}

/* The last thing on every path that touched a client from outside of its handler. */
static void settle(struct client *k)
{
	if (k->busy)
		return;
	push(k);
	if (k->broken || (k->closing && !backlog(k) && !k->n_calls))
		client_free(k);
	else
		listen_for(k);
}

static void queued(struct client *k)
{
	if (buf_failed(&k->out) || backlog(k) > CTL_PILE_MAX) {
		log_warning(k->server->log, "control: a client does not read its answers: cut off");
		k->broken = true;
	}
}

struct arena *call_arena(struct call *c)
{
	return &c->arena;
}

size_t call_backlog(const struct call *c)
{
	return backlog(c->client);
}

void call_keep(struct call *c, void (*cancel)(struct call *c, void *userdata),
	       void (*drained)(struct call *c, void *userdata), void *userdata)
{
	c->cancel = cancel;
	c->drained = drained;
	c->userdata = userdata;
}

/* A broken client is freed from the loop, never under a caller that still holds one of its
 * calls: that also makes cancel come at a well-defined moment. */
static void wake(struct client *k)
{
	push(k);
	if (k->broken) {
		sd_event_source_set_io_events(k->source, EPOLLIN);
		shutdown(k->fd, SHUT_RDWR);
	} else {
		listen_for(k);
	}
}

void call_result(struct call *c, const struct buf *json, bool more)
{
	struct client *k = c->client;
	if (json && buf_failed(json)) {
		call_fail(c, -ENOMEM, "out of memory");
		return;
	}
	control_put_result(&k->out, c->id, c->id_len, json ? (const char *)json->data : NULL,
			   json ? json->len : 0, more);
	queued(k);
	if (!more)
		call_free(c);
	if (!k->busy)
		wake(k);
}

void call_error(struct call *c, const struct err *e)
{
	struct client *k = c->client;
	control_put_error(&k->out, c->id, c->id_len, e);
	queued(k);
	call_free(c);
	if (!k->busy)
		wake(k);
}

void call_fail(struct call *c, int code, const char *fmt, ...)
{
	struct err e = { .code = code };
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(e.message, sizeof(e.message), fmt, ap);
	va_end(ap);
	call_error(c, &e);
}

int call_fd(const struct call *c)
{
	return c->client->fd;
}

void call_id(const struct call *c, struct buf *ret)
{
	buf_put(ret, c->id, c->id_len);
}

static void run_method(struct client *k, struct call *c, const struct control_request *q)
{
	const struct ctlserver *s = k->server;
	for (unsigned i = 0; i < s->n_methods; i++)
		if (strcmp(s->table[i].name, q->method) == 0) {
			s->table[i].run(c, q->params, s->userdata);
			return;
		}
	call_fail(c, -ENOSYS, "the daemon knows no method \"%.40s\": is it older than the command?",
		  q->method);
}

static void take_line(struct client *k, const char *line, size_t len)
{
	struct call *c = calloc(1, sizeof(*c));
	struct control_request q;
	struct err e = { 0 };
	if (!c) {
		k->broken = true;
		return;
	}
	c->client = k;
	c->next = k->calls;
	if (c->next)
		c->next->prev = c;
	k->calls = c;
	k->n_calls++;
	/* What the method keeps of its parameters points into the line. */
	const char *copy = arena_dup(&c->arena, line, len);
	int r = copy ? control_parse_request(&c->arena, copy, len, &q, &e) :
		       err_errno(&e, -ENOMEM, "cannot read the request");
	if (copy && q.id) {
		c->id = arena_dup(&c->arena, q.id, q.id_len);
		c->id_len = c->id ? q.id_len : 0;
	}
	if (r < 0)
		call_error(c, &e);
	else
		run_method(k, c, &q);
}

static void take_lines(struct client *k)
{
	size_t done = 0;
	k->held = false;
	while (!k->broken) {
		const uint8_t *p = k->in.data + done;
		const uint8_t *nl = k->in.len > done ? memchr(p, '\n', k->in.len - done) : NULL;
		if (!nl)
			break;
		if (k->n_calls >= CTL_CALLS_MAX || backlog(k) >= CTL_ROOM) {
			k->held = true;
			break;
		}
		size_t len = (size_t)(nl - p);
		if (len)
			take_line(k, (const char *)p, len);
		done += len + 1;
	}
	buf_consume(&k->in, done);
	if (k->in.len > CONTROL_REQUEST_MAX && !k->held) {
		struct err e;
		err_set(&e, -EMSGSIZE, "a request is longer than %u bytes", CONTROL_REQUEST_MAX);
		control_put_error(&k->out, NULL, 0, &e);
		k->closing = true;
		buf_reset(&k->in);
	}
}

static void receive(struct client *k)
{
	uint8_t *room = buf_reserve(&k->in, 65536);
	if (!room) {
		k->broken = true;
		return;
	}
	ssize_t n = recv(k->fd, room, 65536, MSG_DONTWAIT);
	if (n > 0)
		k->in.len += (size_t)n;
	else if (n == 0 || (errno != EAGAIN && errno != EINTR))
		k->broken = true;
}

static void tell_drained(struct client *k)
{
	struct call *next;
	for (struct call *c = k->calls; c && backlog(k) < CTL_ROOM; c = next) {
		next = c->next;
		if (c->drained)
			c->drained(c, c->userdata);
	}
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct client *k = userdata;
	(void)source;
	(void)fd;
	k->busy = true;
	if (events & (EPOLLHUP | EPOLLERR))
		k->broken = true;
	if (!k->broken && (events & EPOLLIN) && !k->closing)
		receive(k);
	if (!k->broken && (events & EPOLLOUT)) {
		push(k);
		k->emptied = false;
		tell_drained(k);
	}
	if (!k->broken)
		take_lines(k);
	k->busy = false;
	settle(k);
	return 0;
}

/* Only the store's owner and root: the socket's mode says so as well, but a descriptor may have
 * been handed on. */
static bool allowed(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       (cred.uid == geteuid() || cred.uid == 0);
}

static int on_connect(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct ctlserver *s = userdata;
	(void)source;
	(void)events;
	_cleanup_close_ int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (c < 0)
		return 0;
	if (s->n_clients >= CTL_CLIENTS_MAX || !allowed(c))
		return 0;
	struct client *k = calloc(1, sizeof(*k));
	if (!k)
		return 0;
	k->server = s;
	k->fd = c;
	if (sd_event_add_io(s->event, &k->source, c, EPOLLIN, on_client, k) < 0) {
		free(k);
		return 0;
	}
	(void)TAKE_FD(c);
	k->next = s->clients;
	if (k->next)
		k->next->prev = k;
	s->clients = k;
	s->n_clients++;
	return 0;
}

static int make_socket(struct ctlserver *s, struct err *e)
{
	const struct storedir *dir = s->dir;
	struct sockaddr_un sa;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return err_errno(e, -errno, "cannot open the control socket");
	storedir_socket(dir, &sa);
	unlinkat(storedir_fd(dir), STOREDIR_SOCKET, 0);
	/* The directory keeps others out while the mode is not set yet; the umask is 077 besides. */
	if (bind(s->fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ||
	    fchmodat(storedir_fd(dir), STOREDIR_SOCKET, 0600, 0) < 0 || listen(s->fd, 64) < 0)
		return err_errno(e, -errno, "cannot open the control socket in %s",
				 storedir_path(dir));
	return 0;
}

int ctlserver_new(sd_event *event, const struct storedir *dir, int listening_take,
		  const struct method *table, unsigned n, void *userdata, struct log *log,
		  struct ctlserver **ret, struct err *e)
{
	_cleanup_close_ int listening = listening_take;
	_cleanup_(ctlserver_freep) struct ctlserver *s = calloc(1, sizeof(*s));
	if (!s)
		return err_errno(e, -ENOMEM, "cannot open the control socket");
	*s = (struct ctlserver){ .event = event, .dir = dir, .table = table, .n_methods = n,
				 .userdata = userdata, .log = log, .fd = TAKE_FD(listening) };
	int r = s->fd < 0 ? make_socket(s, e) : 0;
	if (r < 0)
		return r;
	r = sd_event_add_io(event, &s->source, s->fd, EPOLLIN, on_connect, s);
	if (r < 0)
		return err_errno(e, r, "cannot watch the control socket");
	*ret = TAKE_PTR(s);
	return 0;
}

int ctlserver_fd(const struct ctlserver *s)
{
	return s->fd;
}

void ctlserver_stop_listening(struct ctlserver *s)
{
	if (s->fd < 0)
		return;
	sd_event_source_disable_unref(s->source);
	s->source = NULL;
	close(s->fd);
	s->fd = -1;
	unlinkat(storedir_fd(s->dir), STOREDIR_SOCKET, 0);
}

void ctlserver_drain(struct ctlserver *s, uint64_t timeout_us)
{
	struct client *next;
	for (struct client *k = s->clients; k; k = next) {
		next = k->next;
		push(k);
		for (uint64_t waited = 0; !k->broken && backlog(k) && waited < timeout_us;
		     waited += 10000) {
			struct pollfd p = { .fd = k->fd, .events = POLLOUT };
			poll(&p, 1, 10);
			push(k);
		}
	}
}

void ctlserver_free(struct ctlserver *s)
{
	if (!s)
		return;
	ctlserver_stop_listening(s);
	while (s->clients)
		client_free(s->clients);
	free(s);
}
