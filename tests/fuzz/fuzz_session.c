/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A session takes any bytes from a peer: it answers, or refuses for good. The replica behind it
 * stays whole. There is another source of contents, for which and at which chunks are looked for, and which gets nothing
 * but what it looks for. The seeds are what peers said to just this device in real sessions:
 *     tests/unit/test_session seeds tests/fuzz/corpus/session */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/chunk.h"
#include "engine/fetch.h"
#include "engine/frame.h"
#include "engine/presence.h"
#include "engine/session.h"
#include "engine/spread.h"
#include "tests/fuzz/replay.h"
#include "tests/pair.h"

/* As tests/unit/test_session.c has them. */
static const char sought[] = "what the other one looks for\n", given[] = "what the other one has\n";

/* The other source, at all times. */
static void other_turn(struct fetch_source *other, uint64_t now)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct fetch_seek seek;
	struct sha256 mine;
	sha256_of(given, sizeof(given) - 1, &mine);
	while (fetch_seek_next(other, now, &seek)) {
		FUZZ_CHECK(seek.links < FETCH_HOPS);
		buf_reset(&b);
		buf_u8(&b, 0);
		buf_puts(&b, given);
		FUZZ_CHECK(fetch_found(other, &seek, b.data, sha256_cmp(&seek.hash, &mine) == 0 ? b.len : 0, now, NULL) == 0);
	}
	int r;
	while ((r = fetch_answer(other, &seek, &b)) > 0) {
		FUZZ_CHECK(chunk_check(seek.hash.b, b.data, b.len) == 0);
		fetch_given(other);
	}
	FUZZ_CHECK(r == 0);
	while (fetch_answer_vain(other, &seek))
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct node node;
	static const char text[] = "{\"a\": 1, \"b\": [1, 2]}\n";
	node_open(&node, 1, NULL);
	node_write(&node, "c", "x.json", text, sizeof(text) - 1);
	node_flush(&node, NULL);
	struct replica *replica = node.replica;
	struct id peer;
	memset(peer.b, 2, ID_SIZE);
	struct session *s;
	struct presence *presence;
	struct spread *spread;
	struct graph *graph;
	struct statement_link own = { .peer = peer, .name = "peer", .transport = "tcp" };
	FUZZ_CHECK(session_new(replica, &peer, 1, &s) == 0);
	FUZZ_CHECK(presence_new(&node.id, "this", &presence) == 0);
	FUZZ_CHECK(presence_own(presence, &own, 1, 1, 1) == 1);
	session_presence_for(s, presence);
	FUZZ_CHECK(spread_new(&spread) == 0);
	session_spread_for(s, spread);
	struct fetches *fetches;
	struct fetch_source *other;
	struct fetch_seek seek = { .id = UINT64_C(0x7175657374696f6e), .links = FETCH_HOPS };
	sha256_of(sought, sizeof(sought) - 1, &seek.hash);
	FUZZ_CHECK(fetches_new(replica, NULL, NULL, &fetches) == 0);
	FUZZ_CHECK(fetch_join(fetches, &other) == 0);
	session_fetch_for(s, fetches);
	struct buf out = { 0 };
	int r = session_output(s, &out, 65536, 1, NULL);
	FUZZ_CHECK(r >= 0 && out.len > 0);
	/* In pieces, with answers and flushes between. */
	for (size_t at = 0; at < len && r >= 0;) {
		size_t n = 1 + (at * 31 + data[at]) % 200;
		if (n > len - at)
			n = len - at;
		struct err e = { 0 };
		r = session_input(s, data + at, n, at, &e);
		FUZZ_CHECK(r >= 0 || e.message[0]);
		at += n;
		FUZZ_CHECK(replica_flush(replica, NULL) == 0);
		session_news(s);
		if (session_is_source(s) && seek.links > 0) {
			FUZZ_CHECK(fetch_seek_for(other, &seek, NULL) == 0);
			seek.links = 0;
		}
		other_turn(other, at);
		for (int i = 0; i < 50 && r >= 0; i++) {
			buf_reset(&out);
			r = session_output(s, &out, 4096, at, NULL);
			if (r == 0)
				break;
		}
	}
	struct session_status st;
	session_status(s, &st);
	session_in_step(s);
	if (r < 0)
		FUZZ_CHECK(session_input(s, "x", 1, 5, NULL) == r);
	FUZZ_CHECK(presence_graph(presence, len, &graph) == 0);
	FUZZ_CHECK(graph->n_devices > 0 && graph->device[0].source == GRAPH_OWN);
	for (uint32_t i = 1; i < graph->n_devices; i++)
		FUZZ_CHECK(graph->device[i].parent < i && graph->device[i].name[0]);
	graph_free(graph);
	session_free(s);
	other_turn(other, len);
	FUZZ_CHECK(!fetch_seeks(other));
	fetch_leave(other);
	fetches_free(fetches);
	spread_free(spread);
	presence_free(presence);
	struct verify_report report;
	FUZZ_CHECK(replica_verify(replica, false, NULL, NULL, &report, NULL) >= 0);
	FUZZ_CHECK(report.errors == 0);
	node_close(&node);
	buf_done(&out);
	return 0;
}
