/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Queries that are followed (shoal-query(7), "Following"): each is asked again after a commit that touched what it reads, by
 * its thread, and the differences are told (engine/answer.h).
 *
 * The observer runs in the thread that commits. It only notes that something was touched, and wakes the query's thread, which
 * forgets the note before it looks at the store: what is committed later is noted again. */
#include <errno.h>
#include <string.h>

#include "engine/answer.h"
#include "engine/sha256.h"
#include "tools/control.h"
#include "tools/query-impl.h"

#define PERIOD_US 20000 /* between the beginnings of two rounds, at least, */
#define SHARE 4         /* and so many times what the last one took of a processor */

struct live {
	struct answer *answer;
	struct id since, cursor;  /* zero: none */
	unsigned changes;         /* the loop's: of what is shown here */
	bool keyed[QUERY_COLUMNS_MAX];
	unsigned n_keys;
	struct id columns;        /* hash of them; zero: not told yet */
	struct buf row, key;
	/* The rest: q->lock. */
	bool touched, known;      /* known: dirs is complete */
	struct buf dirs;          /* texts with their NUL, + or . (not deep) in front */
};

/* ---- what a commit touches ---- */

static bool reads(const struct live *x, const char *path)
{
	const char *end = (const char *)x->dirs.data + x->dirs.len;
	for (const char *d = (const char *)x->dirs.data; d < end; d += strlen(d) + 1) {
		bool deep = *d == '+';
		/* What is above it takes it along. */
		if (deep ? path_is_below(path, d + 1) || path_is_below(d + 1, path) : !strchr(path, '/'))
			return true;
	}
	return false;
}

static bool touches(const struct live *x, struct replica *r, const struct change *c)
{
	_cleanup_free_ char *path = change_path(r, c), *old = change_old_path(r, c);
	struct attr at;
	if ((path && reads(x, path)) || (old && reads(x, old)))
		return true;
	/* It has other names, perhaps where this looks. */
	return !c->name && !c->old_name && replica_attr(r, &c->id, &at) == 0 && at.linked;
}

static void touch(struct asking *q)
{
	pthread_mutex_lock(&q->lock);
	q->live->touched = true;
	pthread_cond_signal(&q->taken);
	pthread_mutex_unlock(&q->lock);
}

/* dirs stays what it is once it is known. */
static void observe(const struct change *change, size_t n, void *userdata)
{
	struct asking *q = userdata;
	pthread_mutex_lock(&q->lock);
	bool touched = q->live->touched, known = q->live->known;
	pthread_mutex_unlock(&q->lock);
	for (size_t i = 0; !touched && i < n; i++)
		if (!known || touches(q->live, q->d->replica, &change[i])) {
			touch(q);
			return;
		}
}

static void live_look(struct asking *q, unsigned changes)
{
	if (changes != q->live->changes)
		touch(q);
	q->live->changes = changes;
}

/* ---- a round ---- */

static int take_table(const char *path, bool deep, void *userdata)
{
	struct asking *q = userdata;
	struct live *x = q->live;
	if (x->known)
		return 0;
	buf_u8(&x->dirs, deep ? '+' : '.');
	buf_put(&x->dirs, path, strlen(path) + 1);
	return buf_failed(&x->dirs) ? -ENOMEM : 0;
}

static int take_columns(const struct query_column *c, unsigned n, void *userdata)
{
	struct asking *q = userdata;
	struct live *x = q->live;
	_cleanup_(buf_done) struct buf all = { 0 };
	struct id is;
	for (unsigned i = 0; i < n; i++) {
		buf_bytes(&all, c[i].name, strlen(c[i].name));
		buf_u8(&all, c[i].json);
	}
	if (buf_failed(&all))
		return -ENOMEM;
	const struct sha256_part part = { all.data, all.len };
	sha256_id(&part, 1, &is);
	if (id_equal(&is, &x->columns))
		return 0;
	if (!id_is_zero(&x->columns))
		return err_set(&q->e, -ESTALE, "the columns of the answer are others now: ask again");
	x->columns = is;
	for (unsigned i = 0; i < n; i++) {
		x->keyed[i] = strcmp(c[i].name, "_id") == 0 || strcmp(c[i].name, "_path") == 0;
		x->n_keys += x->keyed[i];
	}
	pthread_mutex_lock(&q->lock);
	x->known = true;
	pthread_mutex_unlock(&q->lock);
	return asking_columns(c, n, q);
}

static int take_row(const struct query_value *v, unsigned n, void *userdata)
{
	struct asking *q = userdata;
	struct live *x = q->live;
	buf_reset(&x->row);
	buf_reset(&x->key);
	int r = asking_put_row(q, v, n, &x->row);
	for (unsigned i = 0; r == 0 && i < n; i++)
		if (x->keyed[i]) {
			asking_put_value(&x->key, &v[i]);
			buf_u8(&x->key, ',');
		}
	if (r == 0 && (buf_failed(&x->row) || buf_failed(&x->key)))
		r = -ENOMEM;
	if (r == 0)
		r = answer_row(x->answer, x->n_keys ? x->key.data : NULL, x->key.len, x->row.data, x->row.len);
	if (r == -E2BIG)
		return err_set(&q->e, r, "the answer is too large to be followed: it may have %u rows and %u MiB; ask for less",
			       ANSWER_ROWS_MAX, ANSWER_BYTES_MAX >> 20);
	return r;
}

static int tell_change(enum answer_op op, const void *row, size_t len, void *userdata)
{
	static const char *const names[] = { "delete", "update", "insert" };
	struct asking *q = userdata;
	buf_puts(&q->rows, q->rows.len == 0 ? "{\"changes\":[" : ",");
	buf_putf(&q->rows, "{\"op\":\"%s\",\"row\":", names[op]);
	buf_put(&q->rows, row, len);
	buf_u8(&q->rows, '}');
	return q->rows.len > LINE_SIZE ? asking_end_list(q) : 0;
}

static int tell_cursor(struct asking *q, const struct id *cursor)
{
	char hex[ID_HEX];
	buf_putf(&q->rows, "{\"cursor\":\"%s\"}", id_hex(cursor, hex));
	return asking_hand_over(q, &q->rows);
}

/* A cursor says which rows there are, and of which columns. */
static int tell_round(struct asking *q)
{
	struct live *x = q->live;
	struct id rows, cursor;
	bool first = id_is_zero(&x->cursor);
	int r = answer_digest(x->answer, &rows);
	if (r < 0)
		return r;
	const struct sha256_part part[] = { { x->columns.b, ID_SIZE }, { rows.b, ID_SIZE } };
	sha256_id(part, 2, &cursor);
	bool same = id_equal(&cursor, first ? &x->since : &x->cursor);
	if (first && !same) {
		buf_puts(&q->rows, "{\"reset\":true}");
		r = asking_hand_over(q, &q->rows);
	}
	if (r == 0)
		r = answer_end(x->answer, same ? NULL : tell_change, q);
	if (r == 0)
		r = asking_end_list(q);
	x->cursor = cursor;
	return r == 0 && (first || !same) ? tell_cursor(q, &cursor) : r;
}

static uint64_t processor_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Until there is something new, it is time, and the client has read what it was told. */
static int wait_for_change(struct asking *q, uint64_t began_us, uint64_t took_us)
{
	uint64_t next = began_us + (took_us * SHARE > PERIOD_US ? took_us * SHARE : PERIOD_US);
	const struct timespec until = { (time_t)(next / 1000000), (long)(next % 1000000) * 1000 };
	pthread_mutex_lock(&q->lock);
	while (!atomic_load(&q->cancelled)) {
		if (!q->live->touched || q->lines.len > 0 || q->behind)
			pthread_cond_wait(&q->taken, &q->lock);
		else if (asking_clock_us() < next)
			(void)pthread_cond_timedwait(&q->taken, &q->lock, &until);
		else
			break;
	}
	pthread_mutex_unlock(&q->lock);
	return atomic_load(&q->cancelled) ? -ECANCELED : 0;
}

static int live_run(struct asking *q, struct err *e)
{
	const struct query_sink sink = {
		.table = take_table, .columns = take_columns, .row = take_row, .check = asking_check, .userdata = q,
	};
	int r = 0;
	while (r == 0) {
		pthread_mutex_lock(&q->lock);
		q->live->touched = false;
		pthread_mutex_unlock(&q->lock);
		asking_begin(q);
		uint64_t began = q->since_us, used = processor_us();
		r = query_run(q->d->replica, &q->query, &sink, e);
		if (r == 0)
			r = tell_round(q);
		if (r == 0)
			r = wait_for_change(q, began, processor_us() - used);
	}
	return r;
}

/* ---- beginning and end ---- */

static void live_stop(struct asking *q)
{
	replica_unobserve(q->d->replica, observe, q);
}

static void live_free(struct asking *q)
{
	struct live *x = q->live;
	if (!x)
		return;
	answer_free(x->answer);
	buf_done(&x->row);
	buf_done(&x->key);
	buf_done(&x->dirs);
	free(x);
}

const struct asking_kind live_kind = {
	.name = "live-query", .lasting = true, .run = live_run, .stop = live_stop, .free = live_free, .look = live_look,
};

int live_new(struct asking *q, const struct json *params, struct err *e)
{
	struct replica *r = q->d->replica;
	const char *since = NULL;
	uint64_t seed;
	int rc = param_text(&q->arena, params, "since", &since, e);
	if (rc < 0)
		return rc;
	struct live *x = q->live = calloc(1, sizeof(*x));
	if (!x)
		return err_errno(e, -ENOMEM, "cannot follow the query");
	if (since && id_parse(since, strlen(since), &x->since) < 0)
		return err_set(e, -EINVAL, "\"%.40s\" is no cursor: one is what a line with \"cursor\" says, 32 digits", since);
	replica_random(r, &seed, sizeof(seed));
	x->changes = replica_interest_changes(r);
	rc = answer_new(seed, &x->answer);
	if (rc == 0)
		rc = replica_observe(r, observe, q);
	return rc < 0 ? err_errno(e, rc, "cannot follow the query") : 0;
}
