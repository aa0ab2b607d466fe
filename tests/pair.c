/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/pair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/storecopy.h"
#include "tests/tap.h"

#define SOON_US 20000

static uint64_t node_clock(void *userdata)
{
	struct node *n = userdata;
	return n->now += 1000;
}

static void node_random(void *userdata, void *data, size_t len)
{
	struct node *n = userdata;
	prng_fill(&n->random, data, len);
}

static void node_start(struct node *n)
{
	struct err e = { 0 };
	struct replica_config config = { .store = n->store,
					 .device = n->id,
					 .wall_us = node_clock,
					 .random = node_random,
					 .userdata = n };
	memcpy(config.fence, n->fence, sizeof(config.fence));
	int r = replica_open(&config, &n->replica, &e);
	if (r < 0)
		tap_bail("no replica: %s (%s)", e.message, strerror(-r));
}

void node_open(struct node *n, uint8_t no, const char *path)
{
	struct err e = { 0 };
	*n = (struct node){ .random = { no }, .now = UINT64_C(1700000000000000) };
	memset(n->id.b, no, ID_SIZE);
	int r = path ? store_open(path, true, &n->store, &e) : store_open_memory(&n->store);
	if (r < 0)
		tap_bail("no store: %s (%s)", e.message, strerror(-r));
	node_start(n);
}

void node_open_as(struct node *n, const struct id *id)
{
	*n = (struct node){ .id = *id, .now = UINT64_C(1700000000000000) };
	memcpy(&n->random, id->b, sizeof(n->random));
	if (store_open_memory(&n->store) < 0)
		tap_bail("no store");
	node_start(n);
}

void node_crash(struct node *n, uint64_t keep)
{
	replica_free(n->replica);
	store_crash(n->store, keep);
	node_start(n);
}

void node_close(struct node *n)
{
	replica_free(n->replica);
	store_close(n->store);
}

static struct store *store_like(struct store *from)
{
	struct store *to = store_copy(from);
	if (!to)
		tap_bail("cannot copy a store");
	return to;
}

struct store *node_copy(const struct node *n)
{
	if (replica_flush(n->replica, NULL) < 0)
		tap_bail("cannot flush");
	return store_like(n->store);
}

void node_bring_back(struct node *n, struct store *copy)
{
	node_close(n);
	n->store = store_like(copy);
	node_start(n);
}

void node_clone(struct node *n, const struct node *of)
{
	if (replica_flush(of->replica, NULL) < 0)
		tap_bail("cannot flush");
	*n = (struct node){ .id = of->id, .store = store_like(of->store),
			    .random = { of->random.state + 1 }, .now = of->now };
	n->fence[0] = (uint8_t)(of->fence[0] + 1);
	node_start(n);
}

static struct id node_dir(struct node *n, const char *dir)
{
	struct attr attr = { .id = NODE_ROOT };
	if (dir && replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &attr) < 0 &&
	    replica_mkdir(n->replica, &NODE_ROOT, dir, strlen(dir), 0755, &attr) < 0)
		tap_bail("cannot make directory %s", dir);
	return attr.id;
}

void node_write(struct node *n, const char *dir, const char *name, const void *data, size_t len)
{
	struct id parent = node_dir(n, dir);
	struct content c = { .data = data, .len = len, .fd = -1 };
	struct attr attr;
	struct err e = { 0 };
	int r;
	if (replica_lookup(n->replica, &parent, name, strlen(name), &attr) == 0) {
		_cleanup_(version_unrefp) struct version *base = NULL;
		r = replica_read(n->replica, &attr.id, &base);
		if (r == 0)
			r = replica_save(n->replica, &attr.id, base, &c, SAVE_BY_NAME, NULL, &e);
	} else {
		r = replica_create(n->replica, &parent, name, strlen(name), 0644, &c, SAVE_BY_NAME,
				   0, &attr, NULL, &e);
	}
	if (r < 0)
		tap_bail("cannot write %s: %s (%s)", name, e.message, strerror(-r));
}

char *node_read(struct node *n, const char *dir, const char *name)
{
	struct attr attr = { .id = NODE_ROOT };
	_cleanup_(version_unrefp) struct version *v = NULL;
	if (dir && replica_lookup(n->replica, &NODE_ROOT, dir, strlen(dir), &attr) < 0)
		return NULL;
	struct id parent = attr.id;
	if (replica_lookup(n->replica, &parent, name, strlen(name), &attr) < 0 ||
	    replica_read(n->replica, &attr.id, &v) < 0)
		return NULL;
	size_t len = (size_t)version_size(v);
	char *text = malloc(len + 1);
	if (!text)
		tap_bail("out of memory");
	if (version_data(v))
		memcpy(text, version_data(v), len);
	else if (version_pread(v, text, len, 0) != (ssize_t)len)
		tap_bail("cannot read %s", name);
	text[len] = 0;
	return text;
}

void node_flush(struct node *n, struct session *s)
{
	struct err e = { 0 };
	if (!replica_dirty(n->replica))
		return;
	if (replica_flush(n->replica, &e) < 0)
		tap_bail("cannot flush: %s", e.message);
	if (s)
		session_news(s);
}

void pair_open(struct pair *p, struct node *a, struct node *b)
{
	*p = (struct pair){ .node = { a, b }, .now = 1000000 };
	node_flush(a, NULL);
	node_flush(b, NULL);
	for (int i = 0; i < 2; i++)
		if (session_new(p->node[i]->replica, &p->node[!i]->id, p->now, &p->session[i]) < 0)
			tap_bail("no session");
}

void pair_close(struct pair *p)
{
	session_free(p->session[0]);
	session_free(p->session[1]);
	p->session[0] = p->session[1] = NULL;
}

bool pair_turn(struct pair *p, size_t max)
{
	bool moved = false;
	for (int i = 0; i < 2 && !p->failed; i++) {
		_cleanup_(buf_done) struct buf out = { 0 };
		int r = session_output(p->session[i], &out, max, p->now, &p->e);
		p->bytes[i] += out.len;
		if (p->said[i])
			buf_put(p->said[i], out.data, out.len);
		moved |= out.len > 0;
		if (r >= 0)
			r = session_input(p->session[!i], out.data, out.len, p->now, &p->e);
		p->failed = r < 0;
	}
	p->now += 100;
	return moved;
}

unsigned pair_delays(struct pair *p, unsigned most)
{
	for (unsigned n = 0; n < most; n++) {
		struct buf out[2] = { 0 };
		if (session_in_step(p->session[0]) && session_in_step(p->session[1]))
			return n;
		for (int i = 0; i < 2 && !p->failed; i++) {
			node_flush(p->node[i], p->session[i]);
			p->failed = session_output(p->session[i], &out[i], 65536, p->now, &p->e) < 0;
			p->bytes[i] += out[i].len;
		}
		p->now += 10000;
		for (int i = 0; i < 2 && !p->failed; i++)
			p->failed = session_input(p->session[!i], out[i].data, out[i].len, p->now, &p->e) < 0;
		buf_done(&out[0]);
		buf_done(&out[1]);
		if (p->failed)
			return most;
	}
	return most;
}

bool pair_crawl(struct pair *p, size_t max, unsigned byte_us, void (*look)(const struct buf *out))
{
	bool moved = false;
	for (int i = 0; i < 2; i++) {
		_cleanup_(buf_done) struct buf out = { 0 };
		if (session_output(p->session[i], &out, max, p->now, &p->e) < 0)
			tap_bail("output: %s", p->e.message);
		if (look)
			look(&out);
		p->now += out.len * byte_us;
		p->bytes[i] += out.len;
		moved |= out.len > 0;
		if (out.len > 0 && session_input(p->session[!i], out.data, out.len, p->now, &p->e) < 0)
			tap_bail("input: %s", p->e.message);
	}
	p->now += 1000;
	for (int i = 0; i < 2; i++) {
		moved |= replica_dirty(p->node[i]->replica);
		node_flush(p->node[i], p->session[i]);
	}
	return moved;
}

void pair_pace(struct pair *p, uint64_t rate, bool slow)
{
	for (int i = 0; i < 2; i++)
		session_pace(p->session[i], rate, slow);
}

void pair_run(struct pair *p)
{
	bool moved = true;
	while (moved && !p->failed) {
		moved = pair_turn(p, 65536);
		for (int i = 0; i < 2 && !moved; i++) {
			moved |= replica_dirty(p->node[i]->replica);
			node_flush(p->node[i], p->session[i]);
		}
		/* What waits for more of its kind does not wait long. */
		for (int i = 0; i < 2 && !moved && !p->failed; i++) {
			uint64_t due = session_deadline(p->session[i]);
			moved = due > p->now && due <= p->now + SOON_US;
			p->now = moved ? due : p->now;
		}
	}
}

bool pair_meet(struct node *x, struct node *y)
{
	struct pair p;
	pair_open(&p, x, y);
	pair_run(&p);
	if (p.failed && p.e.code != -ESTALE)
		tap_diag("%s", p.e.message);
	pair_close(&p);
	return !p.failed;
}
