/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the engine does in a second, without a file system above it: documents of 1 KB on RocksDB. */

#include "engine/backlog.h"
#include "tests/bench/figure.h"
#include "tests/replicas.h"

#define DOCUMENTS 10000
#define PER_DIRECTORY 500

static size_t document(unsigned n, unsigned value, char text[static 2048])
{
	size_t len = (size_t)snprintf(text, 2048, "{\n  \"id\": %u,\n  \"value\": %u,\n", n, value);
	for (unsigned i = 0; i < 20; i++)
		len += (size_t)snprintf(text + len, 2048 - len,
					"  \"field%u\": \"some text that is in the way %u\",\n", i,
					n * 31 + i);
	return len + (size_t)snprintf(text + len, 2048 - len, "  \"tags\": [1, 2, 3]\n}\n");
}

static void send_all(struct rep *from, struct rep *to, uint64_t *ret)
{
	struct actor_codec *out, *in, *vout, *vin;
	if (actor_codec_new(replica_actors(from->r), &out) < 0 ||
	    actor_codec_new(replica_actors(to->r), &in) < 0 ||
	    actor_codec_new(replica_actors(from->r), &vout) < 0 ||
	    actor_codec_new(replica_actors(to->r), &vin) < 0)
		tap_bail("no memory");
	struct view *view = replica_view(from->r);
	for (uint32_t i = 0; i < view_scopes(view); i++) {
		_cleanup_(backlog_freep) struct backlog *b = NULL;
		_cleanup_(arena_done) struct arena a = { 0 };
		_cleanup_(buf_done) struct buf wire = { 0 };
		_cleanup_(vv_done) struct vv upto = { 0 };
		static const struct vv nothing;
		const struct vv *have;
		struct id scope;
		struct delta *d;
		view_scope(view, i, &scope, &have);
		vv_encode(have, replica_actors(from->r), vout, &wire);
		struct cursor c = cursor_make(wire.data, wire.len);
		if (vv_decode(&c, replica_actors(to->r), vin, &upto) < 0 ||
		    backlog_new(from->r, view, &scope, &nothing, &b) < 0)
			tap_bail("backlog_new");
		for (;;) {
			enum apply_result result;
			struct sha256 *missing;
			uint32_t n;
			arena_reset(&a);
			if (backlog_next(b, &a, &d, NULL) < 0)
				tap_bail("backlog_next");
			if (!d)
				break;
			buf_reset(&wire);
			delta_encode(d, replica_actors(from->r), out, &wire);
			c = cursor_make(wire.data, wire.len);
			if (delta_decode(&a, replica_actors(to->r), in, &c, &d, NULL) < 0 ||
			    replica_apply(to->r, &a, d, &upto, &result, &missing, &n, NULL) < 0)
				tap_bail("replica_apply");
			++*ret;
		}
		replica_claim(to->r, &scope, &upto, NULL);
	}
	view_unref(view);
	actor_codec_free(out);
	actor_codec_free(in);
	actor_codec_free(vout);
	actor_codec_free(vin);
}

static int nothing_to_do(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	(void)name;
	(void)len;
	(void)attr;
	++*(uint64_t *)userdata;
	return 0;
}

struct finding {
	struct replica *r;
	unsigned n;
};

static int find_path(const struct id *id, void *userdata)
{
	_cleanup_(buf_done) struct buf path = { 0 };
	struct finding *f = userdata;
	f->n++;
	return replica_path(f->r, id, &path);
}

/* One document in ten has two values for a field: finding those, with their paths. */
static void bench_conflicts(struct replica *r, const struct id *id)
{
	char text[2048];
	for (unsigned i = 0; i < DOCUMENTS; i += 10) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		bool good = replica_read(r, &id[i], &v) == 0;
		for (unsigned k = 2; good && k < 4; k++) {
			struct content c = { text, document(i, k, text), -1 };
			good = replica_save(r, &id[i], v, &c, SAVE_BY_NAME, NULL, NULL) == 0;
		}
		if (!good)
			tap_bail("replica_save");
	}
	struct finding f = { r, 0 };
	double since = now();
	if (replica_conflicted(r, find_path, &f) < 0 || f.n != DOCUMENTS / 10)
		tap_bail("replica_conflicted");
	figure("engine: files in conflict listed", f.n, since, ">=5000");
}

int main(void)
{
	static struct id id[DOCUMENTS], dir[DOCUMENTS / PER_DIRECTORY + 1];
	struct rep p, q;
	struct attr at;
	char path[2][300], name[32], text[2048];
	uint64_t n = 0;
	for (unsigned i = 0; i < 2; i++)
		snprintf(path[i], sizeof(path[i]), "%s/%u", tap_tmpdir(), i);
	rep_open(&p, path[0], 0, 1);
	rep_open(&q, path[1], 1, 1);
	rep_mkdir(p.r, &NODE_ROOT, "cars", &at);
	struct id top = at.id;
	for (unsigned i = 0; i * PER_DIRECTORY < DOCUMENTS; i++) {
		snprintf(name, sizeof(name), "d%u", i);
		rep_mkdir(p.r, &top, name, &at);
		dir[i] = at.id;
	}
	double since = now();
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct content c = { text, document(i, 0, text), -1 };
		snprintf(name, sizeof(name), "%u.json", i);
		if (replica_create(p.r, &dir[i / PER_DIRECTORY], name, strlen(name), 0644, &c,
				   SAVE_BY_NAME, 0, &at, NULL, NULL) < 0)
			tap_bail("replica_create");
		id[i] = at.id;
	}
	figure("engine: documents created", DOCUMENTS, since, ">=15000");
	p.wall += 3600 * UINT64_C(1000000); /* what is replaced is worth keeping */
	since = now();
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		_cleanup_(version_unrefp) struct version *v = NULL;
		struct content c = { text, document(i, 1, text), -1 };
		if (replica_read(p.r, &id[i], &v) < 0 ||
		    replica_save(p.r, &id[i], v, &c, SAVE_BY_NAME, NULL, NULL) < 0)
			tap_bail("replica_save");
	}
	figure("engine: documents read and one field saved", DOCUMENTS, since, ">=15000");
	since = now();
	for (unsigned i = 0; i < 1000000; i++)
		replica_attr(p.r, &id[i * 7919 % DOCUMENTS], &at);
	figure("engine: attributes", 1000000, since, ">=500000");
	since = now();
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		snprintf(name, sizeof(name), "%u.json", i);
		if (rep_lookup(p.r, &dir[i / PER_DIRECTORY], name, &at) < 0)
			tap_bail("replica_lookup");
	}
	figure("engine: lookups", DOCUMENTS, since, "");
	since = now();
	for (unsigned i = 0; i * PER_DIRECTORY < DOCUMENTS; i++)
		replica_list(p.r, &dir[i], nothing_to_do, &n);
	figure("engine: entries listed", (double)n, since, "");
	replica_flush(p.r, NULL);
	rep_stop(&p);
	rep_start(&p);
	since = now();
	for (unsigned i = 0; i < DOCUMENTS; i++) {
		struct version *v;
		if (replica_read(p.r, &id[i], &v) < 0)
			tap_bail("replica_read");
		version_unref(v);
	}
	figure("engine: documents rendered", DOCUMENTS, since, "");
	n = 0;
	since = now();
	send_all(&p, &q, &n);
	replica_flush(q.r, NULL);
	figure("engine: nodes sent and applied", (double)n, since, ">=5000");
	bench_conflicts(p.r, id);
	rep_close(&p);
	rep_close(&q);
	return 0;
}
