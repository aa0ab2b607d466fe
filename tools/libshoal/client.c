/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The connection: requests go out and answers come in as the socket takes and gives them, so neither side can
 * block the other. */
#include "tools/libshoal/client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "engine/jsonw.h"
#include "engine/utf8.h"
#include "tools/control.h"
#include "tools/mounts.h"
#include "tools/storedir.h"

#define TIMEOUT_US (60 * UINT64_C(1000000))
#define UNSENT_MAX (32u * 1024 * 1024)
#define READ_STEP 65536

struct request {
	struct request *next;
	uint64_t id;
	shoal_answer_fn f; /* NULL: nobody wants its answers */
	void *userdata;
	bool over;         /* f said that it wants no more; the daemon goes on telling */
	uint64_t answers;
};

struct shoal {
	int fd;
	char *store;
	uint64_t timeout_us;
	uint64_t last_id;
	struct request *first;
	struct buf in, out;
	size_t out_done; /* bytes of out that are sent */
	bool calling;    /* an f is running */
	struct err broken; /* code 0: it is not */
};

DEFINE_CLEANUP(struct shoal *, shoal_close)

int error_give(struct shoal_error *to, const struct err *from)
{
	if (to) {
		to->code = from->code;
		snprintf(to->message, sizeof(to->message), "%s", from->message);
		to->line = from->line;
		to->column = from->column;
		to->offset = from->offset;
	}
	return from->code;
}

static uint64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* ---- opening ---- */

static int find_store(const char *where, struct buf *ret, struct err *e)
{
	_cleanup_(buf_done) struct buf dir = { 0 };
	if (where && mounts_of(where, &dir, ret) == 0)
		return 0;
	buf_reset(ret);
	return storedir_find(where, ret, e);
}

static int dial(struct shoal *s, const struct storedir *dir, struct err *e)
{
	struct sockaddr_un sa;
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return err_errno(e, -errno, "cannot reach the daemon");
	storedir_socket(dir, &sa);
	if (connect(s->fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		if (errno == ENOENT || errno == ECONNREFUSED)
			return err_set(e, -ESRCH,
				       "no daemon serves the store %s; `shoal up` starts one",
				       storedir_path(dir));
		return err_errno(e, -errno, "cannot reach the daemon of %s", storedir_path(dir));
	}
	s->store = strdup(storedir_path(dir));
	return s->store ? 0 : err_errno(e, -ENOMEM, "cannot reach the daemon");
}

int client_open(const struct storedir *dir, struct shoal **ret, struct err *e)
{
	_cleanup_(shoal_closep) struct shoal *s = calloc(1, sizeof(*s));
	if (!s)
		return err_errno(e, -ENOMEM, "cannot reach the daemon");
	s->fd = -1;
	s->timeout_us = TIMEOUT_US;
	int r = dial(s, dir, e);
	if (r == 0)
		*ret = TAKE_PTR(s);
	return r;
}

int shoal_open(const char *where, struct shoal **ret, struct shoal_error *e)
{
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(buf_done) struct buf store = { 0 };
	struct err why = { 0 };
	int r = find_store(where, &store, &why);
	if (r == 0)
		r = storedir_open((const char *)store.data, false, &dir, &why);
	if (r == 0)
		r = client_open(dir, ret, &why);
	return r < 0 ? error_give(e, &why) : 0;
}

void shoal_close(struct shoal *s)
{
	if (!s)
		return;
	for (struct request *q = s->first, *next; q; q = next) {
		next = q->next;
		free(q);
	}
	if (s->fd >= 0)
		close(s->fd);
	buf_done(&s->in);
	buf_done(&s->out);
	free(s->store);
	free(s);
}

const char *shoal_store(const struct shoal *s)
{
	return s->store;
}

void shoal_set_timeout(struct shoal *s, uint64_t us)
{
	s->timeout_us = us;
}

uint64_t client_timeout(const struct shoal *s)
{
	return s->timeout_us;
}

int shoal_fd(const struct shoal *s)
{
	return s->fd;
}

static size_t unsent(const struct shoal *s)
{
	return s->out.len - s->out_done;
}

short shoal_events(const struct shoal *s)
{
	return (short)(POLLIN | (unsent(s) ? POLLOUT : 0));
}

/* ---- answers ---- */

/* Hands an answer to its request, which goes with the last one. */
static void hand_out(struct shoal *s, uint64_t id, const struct shoal_answer *a)
{
	struct request **at = &s->first;
	while (*at && (*at)->id != id)
		at = &(*at)->next;
	struct request *q = *at;
	if (!q)
		return;
	q->answers++;
	if (q->f && !q->over) {
		s->calling = true;
		q->over = q->f(a, q->userdata) != 0;
		s->calling = false;
	}
	if (!a->last)
		return;
	/* f may have made requests, which are before this one now. */
	for (at = &s->first; *at != q;)
		at = &(*at)->next;
	*at = q->next;
	free(q);
}

static void fail_all(struct shoal *s)
{
	struct shoal_error e;
	const struct shoal_answer a = { .error = &e, .last = 1 };
	error_give(&e, &s->broken);
	while (s->first)
		hand_out(s, s->first->id, &a);
}

static int break_off(struct shoal *s, int code)
{
	if (code == -ECONNRESET)
		err_set(&s->broken, code, "the daemon went away before it answered; its log says why");
	else
		err_errno(&s->broken, code, "the connection to the daemon broke");
	return code;
}

static int take_line(struct shoal *s, const char *line, size_t len)
{
	_cleanup_(arena_done) struct arena arena = { 0 };
	struct control_reply reply;
	struct shoal_error why;
	int r = control_parse_reply(&arena, line, len, &reply, &s->broken);
	if (r < 0)
		return r;
	struct shoal_answer a = { .last = !reply.more };
	if (reply.result) {
		a.json = line + reply.result->offset;
		a.len = reply.result->end - reply.result->offset;
	} else {
		error_give(&why, &reply.error);
		a.error = &why;
		/* It is about no request: one that was too long to be read. */
		if (!reply.id) {
			s->broken = reply.error;
			return reply.error.code;
		}
	}
	hand_out(s, reply.id, &a);
	return 0;
}

/* All whole lines; *count grows by them. seen: so many bytes have no newline. */
static int take_lines(struct shoal *s, size_t seen, int *count)
{
	size_t done = 0;
	int r = 0;
	while (r == 0 && s->in.len > seen) {
		const uint8_t *nl = memchr(s->in.data + seen, '\n', s->in.len - seen);
		if (!nl)
			break;
		size_t end = (size_t)(nl - s->in.data);
		r = take_line(s, (const char *)s->in.data + done, end - done);
		++*count;
		done = seen = end + 1;
	}
	buf_consume(&s->in, done);
	if (r == 0 && s->in.len > CONTROL_REPLY_MAX)
		r = err_set(&s->broken, -EPROTO, "the daemon's answer is too long");
	return r;
}

static int receive(struct shoal *s, int *count)
{
	for (;;) {
		size_t seen = s->in.len;
		uint8_t *room = buf_reserve(&s->in, READ_STEP);
		if (!room)
			return break_off(s, -ENOMEM);
		ssize_t n = recv(s->fd, room, READ_STEP, MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0)
			return break_off(s, -errno);
		if (n == 0)
			return break_off(s, -ECONNRESET);
		s->in.len += (size_t)n;
		int r = take_lines(s, seen, count);
		if (r < 0)
			return r;
		/* Who floods us does not keep us from sending. */
		if (n < READ_STEP || *count > 0)
			return 0;
	}
}

static int push(struct shoal *s)
{
	while (unsent(s)) {
		ssize_t n = send(s->fd, s->out.data + s->out_done, unsent(s), MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0)
			return errno == EPIPE ? 0 : break_off(s, -errno); /* what it said last is read first */
		s->out_done += (size_t)n;
	}
	if (s->out_done > READ_STEP || !unsent(s)) {
		buf_consume(&s->out, s->out_done);
		s->out_done = 0;
	}
	return 0;
}

static int exchange(struct shoal *s, int *count)
{
	if (s->broken.code)
		return s->broken.code;
	int r = push(s);
	if (r == 0)
		r = receive(s, count);
	if (r == 0)
		r = push(s);
	if (r < 0)
		fail_all(s);
	return r;
}

static int deadlock(struct shoal_error *e)
{
	return error_set(e, -EDEADLK, "an answer's function may ask, and not wait");
}

int shoal_process(struct shoal *s, struct shoal_error *e)
{
	int count = 0;
	if (s->calling)
		return deadlock(e);
	int r = exchange(s, &count);
	if (r < 0)
		return error_give(e, &s->broken);
	return count;
}

/* ---- requests ---- */

int64_t client_request(struct shoal *s, const char *method, const struct buf *params, shoal_answer_fn f,
		       void *userdata, struct shoal_error *e)
{
	const char *text = params && params->len ? (const char *)params->data : NULL;
	_cleanup_(buf_done) struct buf line = { 0 };
	if (s->broken.code)
		return error_give(e, &s->broken);
	if (unsent(s) > UNSENT_MAX)
		return error_set(e, -EAGAIN, "too much waits to be sent; wait for some of the answers");
	struct request *q = calloc(1, sizeof(*q));
	control_put_request(&line, method, text, text ? params->len : 0, s->last_id + 1);
	bool large = line.len > CONTROL_REQUEST_MAX;
	if (q && !buf_failed(&line) && !(params && buf_failed(params)) && !large)
		buf_put(&s->out, line.data, line.len);
	if (large || !q || buf_failed(&line) || buf_failed(&s->out) || (params && buf_failed(params))) {
		free(q);
		if (large)
			return error_set(e, -E2BIG, "that is too much for one request");
		if (buf_failed(&s->out)) /* half of a line may be in it */
			break_off(s, -ENOMEM);
		return error_set(e, -ENOMEM, "cannot ask the daemon: out of memory");
	}
	*q = (struct request){ .next = s->first, .id = ++s->last_id, .f = f, .userdata = userdata };
	s->first = q;
	/* What breaks is told by whoever waits for answers: here somebody may be in the midst of one. */
	if (!s->calling)
		push(s);
	return (int64_t)q->id;
}

static struct request *find(const struct shoal *s, uint64_t id)
{
	struct request *q = s->first;
	while (q && q->id != id)
		q = q->next;
	return q;
}

/* Is there nothing more to wait for? *ret_answers counts what came. */
static bool is_over(const struct shoal *s, uint64_t id, uint64_t *ret_answers)
{
	if (id) {
		const struct request *q = find(s, id);
		*ret_answers = q ? q->answers : 0;
		return !q || q->over;
	}
	bool over = true;
	*ret_answers = 0;
	for (const struct request *q = s->first; q; q = q->next) {
		*ret_answers += q->answers + 1;
		over &= q->over;
	}
	return over;
}

static int wait_for(struct shoal *s, uint64_t id, uint64_t timeout_us, struct shoal_error *e)
{
	uint64_t answers, before = 0, since = now_us();
	int count = 0;
	if (s->calling)
		return deadlock(e);
	while (!is_over(s, id, &answers)) {
		uint64_t now = now_us(), left = UINT64_MAX;
		if (answers != before)
			since = now;
		before = answers;
		if (timeout_us)
			left = now - since < timeout_us ? timeout_us - (now - since) : 0;
		if (!left)
			return error_set(e, -ETIMEDOUT, "the daemon does not answer; its log may say why");
		struct pollfd p = { .fd = s->fd, .events = shoal_events(s) };
		uint64_t ms = left / 1000 + 1;
		int r = s->broken.code ? 0 : poll(&p, 1, !timeout_us ? -1 : ms > INT32_MAX ? INT32_MAX : (int)ms);
		if (r < 0 && errno != EINTR)
			return error_set(e, -errno, "cannot wait for the daemon: %s", strerrorname_np(errno));
		if (r < 0 || (r == 0 && !s->broken.code))
			continue;
		r = exchange(s, &count);
		if (r < 0)
			return error_give(e, &s->broken);
	}
	return 0;
}

int shoal_finish(struct shoal *s, int64_t request, struct shoal_error *e)
{
	return wait_for(s, (uint64_t)request, s->timeout_us, e);
}

struct calling {
	shoal_answer_fn f;
	void *userdata;
	int code;
	struct shoal_error error;
};

static int take_answer(const struct shoal_answer *a, void *userdata)
{
	struct calling *c = userdata;
	if (a->error) {
		c->error = *a->error;
		c->code = a->error->code;
	} else if (c->f) {
		c->code = c->f(a, c->userdata);
	}
	return c->code;
}

/* Nobody is there any more to take its answers. */
static void abandon(struct shoal *s, uint64_t id)
{
	struct request *q = find(s, id);
	if (q)
		q->over = true;
}

int client_call(struct shoal *s, const char *method, const struct buf *params, uint64_t timeout_us,
		shoal_answer_fn f, void *userdata, struct shoal_error *e)
{
	struct calling c = { .f = f, .userdata = userdata };
	if (s->calling)
		return deadlock(e);
	int64_t id = client_request(s, method, params, take_answer, &c, e);
	if (id < 0)
		return (int)id;
	int r = wait_for(s, (uint64_t)id, timeout_us, e);
	abandon(s, (uint64_t)id);
	if (r < 0)
		return r;
	if (c.error.code && e)
		*e = c.error;
	return c.code;
}

/* ---- for programs that speak the protocol themselves ---- */

static int check_params(const char *params, struct buf *ret, struct shoal_error *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct json *v;
	struct err why = { 0 };
	if (!params)
		return 0;
	int r = json_parse(&a, params, strlen(params), NULL, &v, &why);
	if (r < 0) {
		err_prefix(&why, "the parameters are not JSON");
		return error_give(e, &why);
	}
	if (v->type != JSON_OBJECT)
		return error_set(e, -EINVAL, "the parameters are no object");
	/* A line may not have a newline in it; between the values it is a blank. */
	buf_puts(ret, params);
	for (size_t i = 0; i < ret->len; i++)
		if (ret->data[i] == '\n' || ret->data[i] == '\r')
			ret->data[i] = ' ';
	return 0;
}

int64_t shoal_request(struct shoal *s, const char *method, const char *params, shoal_answer_fn f,
		      void *userdata, struct shoal_error *e)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	int r = check_params(params, &b, e);
	return r < 0 ? r : client_request(s, method, &b, f, userdata, e);
}

int shoal_call(struct shoal *s, const char *method, const char *params, shoal_answer_fn f,
	       void *userdata, struct shoal_error *e)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	int r = check_params(params, &b, e);
	return r < 0 ? r : client_call(s, method, &b, s->timeout_us, f, userdata, e);
}

int client_keep(const struct shoal_answer *a, void *userdata)
{
	struct buf *b = userdata;
	buf_reset(b);
	buf_put(b, a->json, a->len);
	return 0;
}

int client_check(const char *const *text, unsigned n, struct shoal_error *e)
{
	for (unsigned i = 0; i < n; i++)
		if (text[i] && !utf8_valid((const uint8_t *)text[i], strlen(text[i])))
			return error_set(e, -EILSEQ, "a path or name whose bytes are not UTF-8 cannot be asked for");
	return 0;
}

static void put_name(struct buf *b, const char *name)
{
	if (b->len && b->data[b->len - 1] != '{')
		buf_u8(b, ',');
	buf_putf(b, "\"%s\":", name);
}

void client_put_text(struct buf *b, const char *name, const char *text)
{
	if (!text)
		return;
	put_name(b, name);
	json_write_string(b, text, strlen(text), JSON_ESCAPE_MINIMAL);
}

void client_put_texts(struct buf *b, const char *name, const char *const *text, unsigned n)
{
	put_name(b, name);
	buf_u8(b, '[');
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_u8(b, ',');
		json_write_string(b, text[i], strlen(text[i]), JSON_ESCAPE_MINIMAL);
	}
	buf_u8(b, ']');
}
