/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Several replicas joined by sessions over pretended lines, one of which has the contents of a file that all know of,
 * for tests of contents that come from farther away. What fails ends the test. */

#include <errno.h>
#include <string.h>

#include "engine/chunk.h"
#include "engine/fetch.h"
#include "tests/pair.h"
#include "tests/tap.h"

#define NODES 6
#define LINKS 8
#define SIZE (1024u * 1024)
#define SECOND 1000000ull

struct wire {
	unsigned end[2];
	struct session *session[2]; /* NULL: it is down */
	struct buf held[2];         /* said by that end and not delivered, while it is mute */
	bool mute[2];               /* what that end says stays on its way */
	bool silent[2];             /* SEEK and FOUND of that end are lost */
	bool lies[2];               /* its chunks are others */
	bool deaf[2];               /* that end does not hear what was in vain */
	uint64_t ping[2];           /* the last one that it said */
	unsigned frames[2][FRAME_TYPES];
	unsigned chunks[2];         /* found */
	unsigned vain[2];           /* looked for in vain */
	unsigned links_max[2];      /* of SEEK */
	uint64_t bytes[2];
	int error;                  /* by which it ended */
};

struct waiting {
	unsigned n;
	int code;
	uint64_t at;
};

static struct net {
	struct node node[NODES];
	struct fetches *f[NODES];
	unsigned n;
	struct wire line[LINKS];
	unsigned n_lines;
	uint64_t now;
	size_t most; /* that one end says at a time */
	size_t size;
	char *data;
	struct attr big;
	struct blob_ref ref;
	bool woken;
	uint64_t chunks[NODES]; /* in the store, before anything was looked for */
} net;

_unused_ static void done(int code, void *userdata)
{
	struct waiting *w = userdata;
	w->n++;
	w->code = code;
	w->at = net.now;
}

_unused_ static void wake(void *userdata)
{
	*(bool *)userdata = true;
}

/* ---- the net ---- */

_unused_ static void line_down(unsigned i)
{
	struct wire *l = &net.line[i];
	for (int k = 0; k < 2; k++) {
		session_free(l->session[k]);
		l->session[k] = NULL;
		buf_done(&l->held[k]);
	}
}

_unused_ static void line_up(unsigned i)
{
	struct wire *l = &net.line[i];
	*l = (struct wire){ .end = { l->end[0], l->end[1] } };
	for (int k = 0; k < 2; k++) {
		struct node *node = &net.node[l->end[k]];
		node_flush(node, NULL);
		if (session_new(node->replica, &net.node[l->end[!k]].id, net.now, &l->session[k]) < 0)
			tap_bail("no session");
		session_unpacked(l->session[k]);
		session_fetch_for(l->session[k], net.f[l->end[k]]);
	}
}

_unused_ static unsigned line(unsigned a, unsigned b)
{
	const unsigned i = net.n_lines++;
	net.line[i] = (struct wire){ .end = { a, b } };
	line_up(i);
	return i;
}

/* What end k said, frame by frame, as it arrives. */
_unused_ static void carry(struct wire *l, int k, const struct buf *said, struct buf *out)
{
	for (size_t at = 0; at < said->len;) {
		enum frame_type t;
		size_t head, len;
		if (frame_head(said->data + at, said->len - at, &t, &head, &len, NULL) != 1)
			tap_bail("half a frame");
		uint8_t *p = said->data + at;
		at += head + len;
		l->frames[k][t]++;
		const bool found = t == FRAME_FOUND && len > FRAME_SEEK_HEAD, vain = t == FRAME_FOUND && !found;
		l->chunks[k] += found;
		l->vain[k] += vain;
		if (t == FRAME_SEEK && p[head] > l->links_max[k])
			l->links_max[k] = p[head];
		if (t == FRAME_PING) {
			struct cursor c = cursor_make(p + head, len);
			l->ping[k] = cursor_varint(&c);
		}
		if ((l->silent[k] && (t == FRAME_SEEK || t == FRAME_FOUND)) || (l->deaf[!k] && vain))
			continue;
		if (found && l->lies[k])
			p[head + len - 1] ^= 1;
		buf_put(out, p, head + len);
	}
}

/* What that end has to say goes over. True: something did. */
_unused_ static bool say(struct wire *l, int k)
{
	_cleanup_(buf_done) struct buf said = { 0 }, out = { 0 };
	struct err e = { 0 };
	if (!l->session[k])
		return false;
	int r = session_output(l->session[k], &said, net.most, net.now, &e);
	const bool any = said.len > 0;
	carry(l, k, &said, l->mute[k] ? &l->held[k] : &out);
	l->bytes[k] += said.len;
	if (r >= 0 && !l->mute[k]) {
		buf_put(&l->held[k], out.data, out.len);
		r = session_input(l->session[!k], l->held[k].data, l->held[k].len, net.now, &e);
		buf_reset(&l->held[k]);
	}
	if (r < 0) {
		l->error = r;
		tap_diag("line %u-%u: %s", l->end[0], l->end[1], e.message);
		line_down((unsigned)(l - net.line));
	}
	return any;
}

/* Nobody has anything to say now. */
_unused_ static void quiet(void)
{
	bool moved = true;
	for (unsigned turns = 0; moved; turns++) {
		moved = net.woken;
		net.woken = false;
		if (turns == 100000)
			tap_bail("it never ends");
		for (unsigned i = 0; i < net.n_lines; i++)
			for (int k = 0; k < 2; k++)
				moved |= say(&net.line[i], k);
		for (unsigned i = 0; i < net.n && !moved; i++) {
			moved |= replica_dirty(net.node[i].replica);
			node_flush(&net.node[i], NULL);
			for (unsigned k = 0; k < 2 * net.n_lines; k++)
				if (moved && net.line[k / 2].session[k % 2] && net.line[k / 2].end[k % 2] == i)
					session_news(net.line[k / 2].session[k % 2]);
		}
		net.now += 100;
	}
}

/* So much time goes by. */
_unused_ static void pass(uint64_t us)
{
	const uint64_t until = net.now + us;
	for (unsigned turns = 0; net.now < until; turns++) {
		uint64_t at = until;
		if (turns == 100000)
			tap_bail("time stands still");
		quiet();
		for (unsigned k = 0; k < 2 * net.n_lines; k++) {
			const struct session *s = net.line[k / 2].session[k % 2];
			uint64_t due = s ? session_deadline(s) : UINT64_MAX;
			at = due < at ? due : at;
		}
		net.now = at > net.now ? at : net.now + 100;
	}
	quiet();
}

_unused_ static uint64_t stored(unsigned i)
{
	struct verify_report report;
	if (replica_verify(net.node[i].replica, false, NULL, NULL, &report, NULL) < 0 || report.errors > 0)
		tap_bail("node %u is damaged", i);
	return report.chunks;
}

/* n nodes that have the name of a file; the contents are at the last one. */
_unused_ static void net_open_of(unsigned n, size_t size)
{
	struct prng r = { 5 };
	net = (struct net){ .n = n, .now = 1 * SECOND, .most = 65536, .size = size };
	net.data = malloc(size);
	if (!net.data)
		tap_bail("out of memory");
	prng_fill(&r, net.data, size);
	for (unsigned i = 0; i < n; i++) {
		node_open(&net.node[i], (uint8_t)(i + 1), NULL);
		replica_set_eager(net.node[i].replica, 1000);
	}
	node_write(&net.node[n - 1], "c", "big.bin", net.data, size);
	for (unsigned i = 0; i + 1 < n; i++)
		if (!pair_meet(&net.node[n - 1], &net.node[i]))
			tap_bail("they did not meet");
	struct attr dir = { .id = NODE_ROOT };
	_cleanup_(version_unrefp) struct version *v = NULL;
	if (replica_lookup(net.node[0].replica, &NODE_ROOT, "c", 1, &dir) < 0 ||
	    replica_lookup(net.node[0].replica, &dir.id, "big.bin", 7, &net.big) < 0 || !net.big.absent ||
	    replica_read(net.node[0].replica, &net.big.id, &v) < 0)
		tap_bail("no file");
	net.ref = *version_blob(v);
	for (unsigned i = 0; i < n; i++) {
		if (fetches_new(net.node[i].replica, wake, &net.woken, &net.f[i]) < 0)
			tap_bail("out of memory");
		net.chunks[i] = stored(i);
	}
}

_unused_ static void net_open(unsigned n)
{
	net_open_of(n, SIZE);
}

_unused_ static void chain(unsigned n)
{
	net_open(n);
	for (unsigned i = 0; i + 1 < n; i++)
		line(i, i + 1);
	quiet();
}

/* Nobody is asked any more, and those between have kept nothing. */
_unused_ static void net_close(const char *what)
{
	bool kept = false;
	for (unsigned i = 0; i < net.n_lines; i++)
		line_down(i);
	for (unsigned i = 0; i < net.n; i++) {
		kept |= i > 0 && stored(i) != net.chunks[i];
		kept |= fetch_files(net.f[i]) > 0;
		fetches_free(net.f[i]);
	}
	for (unsigned i = 0; i < net.n; i++)
		node_close(&net.node[i]);
	free(net.data);
	if (what)
		ok(!kept, "%s", what);
}

_unused_ static int begin(unsigned i, uint64_t offset, uint64_t len, struct waiting *w, uint64_t *ticket)
{
	*w = (struct waiting){ 0 };
	return fetch_begin(net.f[i], &net.big.id, &net.ref, offset, len, done, w, ticket);
}

_unused_ static int begin_all(unsigned i, struct waiting *w)
{
	*w = (struct waiting){ 0 };
	return fetch_begin(net.f[i], &net.big.id, NULL, 0, UINT64_MAX, done, w, NULL);
}

_unused_ static bool reads(unsigned i, uint64_t offset, size_t len)
{
	_cleanup_free_ char *got = malloc(len);
	_cleanup_(version_unrefp) struct version *v = NULL;
	return replica_read(net.node[i].replica, &net.big.id, &v) == 0 &&
	       version_pread(v, got, len, offset) == (ssize_t)len && memcmp(net.data + offset, got, len) == 0;
}

_unused_ static bool came(unsigned i, const struct waiting *w, uint64_t offset, size_t len)
{
	return w->n == 1 && w->code == 0 && reads(i, offset, len);
}

_unused_ static bool refused(const struct waiting *w)
{
	return w->n == 1 && w->code == -EHOSTDOWN;
}
