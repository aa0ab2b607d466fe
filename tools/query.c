/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `query`: SQL (engine/query.h). A query may take minutes, so each has a thread of its own. The thread puts lines into a
 * buffer under a lock and waits when nobody takes them; the loop, woken by the query's own eventfd, hands them to the
 * client as fast as that reads. A client that leaves ends its query. Those that go on: tools/query-live.c. */
#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "engine/jsonw.h"
#include "tools/base64.h"
#include "tools/control.h"
#include "tools/query-impl.h"

#define QUERIES_MAX 8
#define LIVE_MAX 16
#define LINE_US 200000                /* rows are gathered for so long */
#define PENDING_MAX (512u * 1024)     /* lines that wait; then the thread does */

uint64_t asking_clock_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void signal_loop(struct asking *q)
{
	const uint64_t one = 1;
	(void)!write(q->fd, &one, sizeof(one));
}

/* ---- the query's thread ---- */

void asking_begin(struct asking *q)
{
	q->since_us = asking_clock_us();
	q->waited_us = 0;
}

int asking_check(void *userdata)
{
	struct asking *q = userdata;
	if (atomic_load(&q->cancelled))
		return -ECANCELED;
	return q->time_us && asking_clock_us() - q->since_us - q->waited_us > q->time_us ? -ETIMEDOUT : 0;
}

int asking_hand_over(struct asking *q, struct buf *line)
{
	bool failed = buf_failed(line);
	pthread_mutex_lock(&q->lock);
	uint64_t begin = asking_clock_us();
	while (!failed && q->lines.len > PENDING_MAX && !atomic_load(&q->cancelled))
		pthread_cond_wait(&q->taken, &q->lock);
	q->waited_us += asking_clock_us() - begin;
	buf_put(&q->lines, line->data, line->len);
	buf_u8(&q->lines, '\n');
	failed = failed || buf_failed(&q->lines);
	pthread_mutex_unlock(&q->lock);
	buf_reset(line);
	signal_loop(q);
	return failed ? -ENOMEM : asking_check(q);
}

int asking_columns(const struct query_column *c, unsigned n, void *userdata)
{
	struct asking *q = userdata;
	_cleanup_(buf_done) struct buf line = { 0 };
	struct jsonw w;
	jsonw_init(&w, &line, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "columns");
	jsonw_array_begin(&w);
	for (unsigned i = 0; i < n; i++) {
		jsonw_object_begin(&w);
		jsonw_key(&w, "name");
		jsonw_string(&w, c[i].name);
		jsonw_key(&w, "json");
		jsonw_bool(&w, c[i].json);
		jsonw_object_end(&w);
	}
	jsonw_array_end(&w);
	jsonw_object_end(&w);
	jsonw_end(&w);
	return asking_hand_over(q, &line);
}

/* The shortest digits that give the number back, with a point or an exponent, so that it is no integer. */
static void put_real(struct buf *b, double d)
{
	struct jsonw w;
	size_t from = b->len;
	if (!isfinite(d)) {
		buf_puts(b, isnan(d) ? "null" : d > 0 ? "9e999" : "-9e999");
		return;
	}
	jsonw_init(&w, b, 0);
	jsonw_double(&w, d);
	jsonw_end(&w);
	for (size_t i = from; i < b->len; i++)
		if (b->data[i] == '.' || b->data[i] == 'e')
			return;
	buf_puts(b, ".0");
}

void asking_put_value(struct buf *b, const struct query_value *v)
{
	switch (v->type) {
	case QUERY_NULL:
		buf_puts(b, "null");
		return;
	case QUERY_INTEGER:
		buf_putf(b, "%lld", (long long)v->integer);
		return;
	case QUERY_REAL:
		put_real(b, v->real);
		return;
	case QUERY_TEXT:
		json_write_string(b, v->text ? v->text : "", v->len, JSON_ESCAPE_MINIMAL);
		return;
	case QUERY_BLOB:
		buf_puts(b, "{\"base64\":\"");
		base64_encode(v->text, v->len, b);
		buf_puts(b, "\"}");
		return;
	}
}

int asking_put_row(struct asking *q, const struct query_value *v, unsigned n, struct buf *b)
{
	size_t from = b->len;
	buf_u8(b, '[');
	for (unsigned i = 0; i < n; i++) {
		if (i)
			buf_u8(b, ',');
		asking_put_value(b, &v[i]);
	}
	buf_u8(b, ']');
	if (b->len - from > ROW_MAX)
		return err_set(&q->e, -EFBIG, "a row of an answer may have %u MiB, not more; `shoal cat` prints large documents",
			       ROW_MAX >> 20);
	return 0;
}

int asking_end_list(struct asking *q)
{
	if (q->rows.len == 0)
		return 0;
	buf_puts(&q->rows, "]}");
	return asking_hand_over(q, &q->rows);
}

static int tell_row(const struct query_value *v, unsigned n, void *userdata)
{
	struct asking *q = userdata;
	struct buf *b = &q->rows;
	if (b->len == 0) {
		buf_puts(b, "{\"rows\":[");
		q->line_us = asking_clock_us();
	} else {
		buf_u8(b, ',');
	}
	q->n_rows++;
	int r = asking_put_row(q, v, n, b);
	if (r < 0)
		return r;
	return b->len > LINE_SIZE || asking_clock_us() - q->line_us > LINE_US ? asking_end_list(q) : 0;
}

static int ask_once(struct asking *q, struct err *e)
{
	const struct query_sink sink = { .columns = asking_columns, .row = tell_row, .check = asking_check, .userdata = q };
	asking_begin(q);
	int r = query_run(q->d->replica, &q->query, &sink, e);
	return r == 0 ? asking_end_list(q) : r;
}

static void *work(void *userdata)
{
	struct asking *q = userdata;
	struct err e = { 0 };
	(void)pthread_setname_np(pthread_self(), q->kind->name);
	int r = q->kind->run(q, &e);
	if (r == -ETIMEDOUT)
		err_set(&e, r, "the query took longer than %llu s (query.time)", (unsigned long long)(q->time_us / 1000000));
	else if (r < 0 && q->e.code)
		e = q->e;
	else if (r < 0 && !e.code)
		err_errno(&e, r, "cannot go on");
	pthread_mutex_lock(&q->lock);
	q->e = e;
	q->code = r;
	q->done = true;
	pthread_mutex_unlock(&q->lock);
	signal_loop(q);
	return NULL;
}

/* ---- the loop ---- */

/* What the client has room for. True: that was all. */
static bool hand_out(struct asking *q)
{
	size_t at = 0;
	while (q->call && at < q->lines.len && call_backlog(q->call) < CTL_ROOM) {
		const uint8_t *nl = memchr(q->lines.data + at, '\n', q->lines.len - at);
		size_t len = (size_t)(nl - (q->lines.data + at));
		const struct buf line = { .data = q->lines.data + at, .len = len };
		call_result(q->call, &line, true);
		at += len + 1;
	}
	if (!q->call)
		at = q->lines.len;
	buf_consume(&q->lines, at);
	q->behind = q->lines.len > 0 || (q->call && call_backlog(q->call) > 0);
	return q->lines.len == 0;
}

static void asking_free(struct asking *q)
{
	sd_event_source_disable_unref(q->source);
	if (q->fd >= 0)
		close(q->fd);
	pthread_cond_destroy(&q->taken);
	pthread_mutex_destroy(&q->lock);
	buf_done(&q->lines);
	buf_done(&q->rows);
	if (q->kind->free)
		q->kind->free(q);
	arena_done(&q->arena);
	free(q);
}

static void finish(struct asking *q)
{
	pthread_join(q->thread, NULL);
	if (q->kind->stop)
		q->kind->stop(q);
	q->d->n_live -= q->kind->lasting;
	if (q->call && q->code < 0) {
		call_error(q->call, &q->e);
	} else if (q->call) {
		_cleanup_(buf_done) struct buf b = { 0 };
		buf_putf(&b, "{\"count\":%llu}", (unsigned long long)q->n_rows);
		call_result(q->call, &b, false);
	}
	for (struct asking **at = &q->d->queries; *at; at = &(*at)->next)
		if (*at == q) {
			*at = q->next;
			break;
		}
	q->d->n_queries--;
	asking_free(q);
}

static void go_on(struct asking *q)
{
	pthread_mutex_lock(&q->lock);
	bool empty = hand_out(q), done = q->done;
	pthread_cond_signal(&q->taken);
	pthread_mutex_unlock(&q->lock);
	if (empty && done)
		finish(q);
}

static int on_word(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
	uint64_t count;
	(void)s;
	(void)events;
	(void)!read(fd, &count, sizeof(count));
	go_on(userdata);
	return 0;
}

/* From within the client's handler, which still looks at the call: the loop goes on with it. */
static void client_drained(struct call *c, void *userdata)
{
	(void)c;
	signal_loop(userdata);
}

static void client_left(struct call *c, void *userdata)
{
	struct asking *q = userdata;
	(void)c;
	q->call = NULL;
	atomic_store(&q->cancelled, true);
	signal_loop(q);
}

static int begin(struct asking *q)
{
	q->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (q->fd < 0)
		return -errno;
	int r = sd_event_add_io(q->d->event, &q->source, q->fd, EPOLLIN, on_word, q);
	return r < 0 ? r : -pthread_create(&q->thread, NULL, work, q);
}

static int make_room(const struct daemon *d, bool lasting, struct err *e)
{
	unsigned once = d->n_queries - d->n_live;
	if (!lasting && once >= QUERIES_MAX)
		return err_set(e, -EBUSY, "%u queries run already: wait for the end of one", once);
	if (lasting && d->n_live >= LIVE_MAX)
		return err_set(e, -EBUSY, "%u queries and watches with --where go on already: end one of them", d->n_live);
	return 0;
}

int asking_new(struct daemon *d, struct call *call, const struct asking_kind *kind, struct asking **ret, struct err *e)
{
	pthread_condattr_t attr;
	int r = make_room(d, kind->lasting, e);
	if (r < 0)
		return r;
	struct asking *q = calloc(1, sizeof(*q));
	if (!q) {
		err_set(e, -ENOMEM, "out of memory");
		return -ENOMEM;
	}
	q->kind = kind;
	q->d = d;
	q->call = call;
	q->fd = -1;
	pthread_mutex_init(&q->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&q->taken, &attr);
	pthread_condattr_destroy(&attr);
	*ret = q;
	return 0;
}

void asking_start(struct asking *q, int r, struct err *e)
{
	struct daemon *d = q->d;
	struct call *call = q->call;
	daemon_settle(d);
	if (r == 0) {
		r = begin(q);
		if (r < 0)
			err_errno(e, r, "cannot begin");
	}
	if (r < 0) {
		if (q->kind->stop)
			q->kind->stop(q);
		asking_free(q);
		call_error(call, e);
		return;
	}
	q->next = d->queries;
	d->queries = q;
	d->n_queries++;
	d->n_live += q->kind->lasting;
	call_keep(call, client_left, client_drained, q);
}

/* Parameters are texts (query_param_parse) in an object. */
static int take_params(struct asking *q, const struct json *params, struct err *e)
{
	const struct json *list = params ? json_get_z(params, "params") : NULL;
	if (!list)
		return 0;
	struct query_param *p = list->type == JSON_OBJECT && list->count <= QUERY_PARAMS_MAX ?
					arena_array(&q->arena, list->count + 1, sizeof(*p)) : NULL;
	if (!p)
		return err_set(e, -EINVAL, "parameter params is no object of up to %d texts", QUERY_PARAMS_MAX);
	for (const struct json *c = list->first; c; c = c->next) {
		const char *text;
		int r = json_text(&q->arena, c, &text);
		if (r < 0)
			return err_set(e, r, "parameter params is no object of texts");
		p[q->query.n_params].name = arena_dup(&q->arena, c->key, c->key_len);
		r = query_param_parse(&q->arena, text, &p[q->query.n_params++].value);
		if (r < 0)
			return err_errno(e, r, "cannot read the parameters");
	}
	q->query.param = p;
	return 0;
}

static int take_query(struct asking *q, const struct json *params, struct err *e)
{
	const struct daemon *d = q->d;
	const char *sql = "";
	int r = param_text(&q->arena, params, "sql", &sql, e);
	q->query.sql = sql;
	q->query.len = strlen(sql);
	q->query.memory = (size_t)config_number(&d->config, CONFIG_QUERY_MEMORY) << 20;
	q->time_us = config_number(&d->config, CONFIG_QUERY_TIME) * 1000000;
	return r < 0 ? r : take_params(q, params, e);
}

void method_query(struct call *call, const struct json *params, void *userdata)
{
	static const struct asking_kind once = { .name = "query", .run = ask_once };
	struct daemon *d = userdata;
	struct err e = { 0 };
	struct asking *q = NULL;
	bool watch = false;
	int r = param_bool(params, "watch", &watch, &e);
	if (r == 0)
		r = asking_new(d, call, watch ? &live_kind : &once, &q, &e);
	if (!q) {
		call_error(call, &e);
		return;
	}
	r = take_query(q, params, &e);
	if (r == 0 && watch)
		r = live_new(q, params, &e);
	asking_start(q, r, &e);
}

void queries_cancel(struct daemon *d)
{
	for (struct asking *q = d->queries; q; q = q->next) {
		atomic_store(&q->cancelled, true);
		pthread_mutex_lock(&q->lock);
		pthread_cond_signal(&q->taken);
		pthread_mutex_unlock(&q->lock);
	}
}

void queries_look(struct daemon *d)
{
	unsigned changes = d->n_live ? replica_interest_changes(d->replica) : 0;
	for (struct asking *q = d->queries; q; q = q->next)
		if (q->kind->look)
			q->kind->look(q, changes);
}
