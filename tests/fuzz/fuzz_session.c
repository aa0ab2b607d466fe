/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A session takes any bytes from a peer: it answers, or refuses for good. The replica behind it
 * stays whole. The seeds are what peers said to just this device in real sessions:
 *     tests/unit/test_session seeds tests/fuzz/corpus/session */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/frame.h"
#include "engine/presence.h"
#include "engine/session.h"
#include "engine/spread.h"
#include "tests/fuzz/replay.h"
#include "tests/pair.h"

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
	spread_free(spread);
	presence_free(presence);
	struct verify_report report;
	FUZZ_CHECK(replica_verify(replica, false, NULL, NULL, &report, NULL) >= 0);
	FUZZ_CHECK(report.errors == 0);
	node_close(&node);
	buf_done(&out);
	return 0;
}
