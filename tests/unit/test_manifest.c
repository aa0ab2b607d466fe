/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Manifests: formats, trees of many sizes against a plain list, finding and walking. */

#include <errno.h>
#include <string.h>

#include "engine/manifest.h"
#include "tests/prng.h"
#include "tests/tap.h"

#define CHUNKS 200000

/* A blob as a plain list; a hash says by its place whether it is there. */
struct model {
	struct manifest_entry *entry;
	uint32_t n;
	uint64_t size, data;
};

static void model_make(struct model *m, struct prng *r, uint32_t n, unsigned holes)
{
	m->n = 0;
	m->size = m->data = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct manifest_entry *e = &m->entry[m->n];
		bool hole = prng_chance(r, holes) && m->n && e[-1].data;
		uint64_t size = 1 + prng_below(r, hole ? 1u << 30 : CHUNK_MAX);
		*e = (struct manifest_entry){ .offset = m->size, .size = size, .data = hole ? 0 : size };
		for (unsigned k = 0; !hole && k < SHA256_SIZE; k += 8) {
			uint64_t v = prng_u64(r);
			memcpy(e->hash.b + k, &v, 8);
		}
		m->n++;
		m->size += e->size;
		m->data += e->data;
	}
}

static struct sha256 write_all(struct store *s, const struct model *m, struct prng *r)
{
	_cleanup_(manifest_writer_freep) struct manifest_writer *w = NULL;
	struct sha256 root;
	int rc = manifest_writer_new(s, NULL, &w);
	for (uint32_t i = 0; rc == 0 && i < m->n; i++) {
		const struct manifest_entry *e = &m->entry[i];
		uint64_t part = e->data == 0 ? prng_below(r, e->size) : 0;
		if (part)
			rc = manifest_writer_hole(w, part, NULL);
		if (rc == 0)
			rc = e->data ? manifest_writer_chunk(w, &e->hash, (uint32_t)e->size, NULL) :
				       manifest_writer_hole(w, e->size - part, NULL);
	}
	if (rc == 0)
		rc = manifest_writer_end(w, &root, NULL);
	if (rc < 0)
		tap_bail("manifest_writer: %d", rc);
	return root;
}

/* The entry of the list that offset lies in. */
static uint32_t model_at(const struct model *m, uint64_t offset)
{
	uint32_t low = 0, high = m->n;
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;
		*(m->entry[middle].offset <= offset ? &low : &high) = middle;
	}
	return low;
}

static uint64_t model_next(const struct model *m, uint64_t offset, bool hole)
{
	for (uint32_t i = model_at(m, offset); i < m->n; i++)
		if ((m->entry[i].data == 0) == hole)
			return m->entry[i].offset > offset ? m->entry[i].offset : offset;
	return m->size;
}

static bool finds(struct store *s, const struct model *m, const struct sha256 *root, struct prng *r)
{
	_cleanup_(manifest_iter_freep) struct manifest_iter *it = NULL;
	_cleanup_(buf_done) struct buf plain = { 0 };
	uint64_t size = 0, data = 0;
	if (manifest_iter_new(s, root, m->size, &it) < 0 || chunk_load(s, root, &plain) < 0 ||
	    manifest_sizes(plain.data, plain.len, &size, &data) < 0 || size != m->size ||
	    data != m->data)
		return false;
	for (unsigned i = 0; i < 3000; i++) {
		const struct manifest_entry *e;
		uint64_t start, next;
		uint64_t offset = prng_below(r, m->size);
		const struct manifest_entry *want = &m->entry[model_at(m, offset)];
		if (manifest_iter_seek(it, offset, &e, &start) < 0 || start != want->offset ||
		    e->size != want->size || e->data != want->data ||
		    (e->data && sha256_cmp(&e->hash, &want->hash) != 0))
			return false;
		if (i < 100 && (manifest_iter_next(it, offset, i & 1, &next) < 0 ||
				next != model_next(m, offset, i & 1)))
			return false;
	}
	return true;
}

struct visits {
	const struct model *m;
	uint32_t at, nodes;
	uint64_t bytes; /* of the nodes */
	struct store *store;
	bool wrong;
};

static int visit(void *userdata, const struct sha256 *hash, uint64_t offset, uint64_t size, bool node)
{
	struct visits *v = userdata;
	if (node) {
		_cleanup_(buf_done) struct buf b = { 0 };
		v->nodes++;
		v->bytes += chunk_load(v->store, hash, &b) == 0 ? b.len : 0;
		return 1;
	}
	while (v->at < v->m->n && v->m->entry[v->at].data == 0)
		v->at++;
	if (v->at >= v->m->n) {
		v->wrong = true;
		return 0;
	}
	const struct manifest_entry *e = &v->m->entry[v->at++];
	if (e->offset != offset || e->size != size || sha256_cmp(&e->hash, hash) != 0)
		v->wrong = true;
	return 0;
}

static struct visits walk(struct store *s, const struct model *m, const struct sha256 *root,
			  uint64_t from)
{
	struct visits v = { .m = m, .store = s, .at = from ? model_at(m, from) : 0 };
	if (manifest_walk(s, root, m->size, from, NULL, visit, &v) < 0 || v.at + 1 < m->n)
		v.wrong = true;
	return v;
}

static void test_trees(struct store *s, struct prng *r)
{
	static const uint32_t n[] = { 1, 2, 63, 64, 65, 700, 5000, CHUNKS };
	struct model m = { .entry = calloc(CHUNKS, sizeof(*m.entry)) };
	bool good = m.entry, walked = true;
	for (unsigned i = 0; good && i < 2 * sizeof(n) / sizeof(n[0]); i++) {
		model_make(&m, r, n[i / 2], i & 1 ? 20 : 0);
		if (m.size <= CHUNK_MIN)
			continue;
		struct sha256 root = write_all(s, &m, r), again = write_all(s, &m, r);
		good = sha256_cmp(&root, &again) == 0 && finds(s, &m, &root, r);
		walked = walked && !walk(s, &m, &root, 0).wrong &&
			 !walk(s, &m, &root, m.size / 2).wrong;
		if (!good || !walked)
			tap_diag("%u entries", n[i / 2]);
	}
	ok(good, "trees of many sizes are found again at any place");
	ok(walked, "and walked in order, from any place");
	free(m.entry);
}

struct hashes {
	struct sha256 hash[2000];
	uint32_t n;
};

static int collect(void *userdata, const struct sha256 *hash, uint64_t offset, uint64_t size, bool node)
{
	struct hashes *h = userdata;
	(void)offset;
	(void)size;
	if (node && h->n < 2000)
		h->hash[h->n++] = *hash;
	return node;
}

/* Nodes of y that x does not have. */
static uint32_t new_nodes(struct store *s, const struct sha256 *x, const struct sha256 *y,
			  uint64_t size_x, uint64_t size_y)
{
	static struct hashes a, b;
	uint32_t n = 0;
	a.n = b.n = 0;
	if (manifest_walk(s, x, size_x, 0, NULL, collect, &a) < 0 ||
	    manifest_walk(s, y, size_y, 0, NULL, collect, &b) < 0)
		tap_bail("manifest_walk");
	for (uint32_t i = 0; i < b.n; i++) {
		uint32_t k = 0;
		while (k < a.n && sha256_cmp(&a.hash[k], &b.hash[i]) != 0)
			k++;
		n += k == a.n;
	}
	return n;
}

/* 4 GiB: how large is the manifest, and how much of it does a change in the middle renew? */
static void test_large(struct store *s, struct prng *r)
{
	struct model m = { .entry = calloc(60000, sizeof(*m.entry)) };
	if (!m.entry)
		tap_bail("no memory");
	model_make(&m, r, 40000, 0);
	struct sha256 root = write_all(s, &m, r);
	struct visits v = walk(s, &m, &root, 0);
	ok(!v.wrong && v.nodes > 20 && v.bytes < 40000 * 40, "%llu MiB in 40000 chunks: %u nodes, %llu bytes",
	   (unsigned long long)m.size >> 20, v.nodes, (unsigned long long)v.bytes);
	/* One chunk becomes two: what follows is counted from another place. */
	uint64_t before = m.size;
	memmove(&m.entry[20001], &m.entry[20000], 20000 * sizeof(*m.entry));
	m.entry[20000].hash.b[3] ^= 1;
	m.n++;
	m.size += m.entry[20000].size;
	struct sha256 changed = write_all(s, &m, r);
	uint32_t n = new_nodes(s, &root, &changed, before, m.size);
	ok(n >= 2 && n <= 8, "a chunk more in the middle: %u nodes are new", n);
	free(m.entry);
}

static void test_same(struct store *s)
{
	_cleanup_(manifest_writer_freep) struct manifest_writer *w = NULL;
	struct sha256 hash = { { 1 } }, root;
	struct model none = { 0 };
	if (manifest_writer_new(s, NULL, &w) < 0)
		tap_bail("no memory");
	for (unsigned i = 0; i < 100000; i++)
		manifest_writer_chunk(w, &hash, CHUNK_MAX, NULL);
	manifest_writer_end(w, &root, NULL);
	struct visits v = { .m = &none, .store = s };
	int rc = manifest_walk(s, &root, UINT64_C(100000) * CHUNK_MAX, 0, NULL, visit, &v);
	ok(rc == 0 && v.nodes < 6, "what repeats itself is walked once: %u nodes", v.nodes);
}

static int decode(struct arena *a, const struct buf *b, size_t len, struct manifest_node *ret)
{
	return manifest_decode(a, b->data, len, ret);
}

static void test_formats(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct manifest_entry e[3] = { { 0, 5, 5, { { 1 } } }, { 5, 70000, 0, { { 0 } } },
				       { 70005, 7, 7, { { 2 } } } };
	struct manifest_node m = { 0, 3, e, 70012, 12 }, got;
	manifest_encode(&m, false, &b);
	ok(decode(&a, &b, b.len, &got) == 0 && got.n == 3 && got.size == 70012 && got.data == 12 &&
		   got.entry[1].data == 0 && got.entry[2].offset == 70005 &&
		   got.entry[2].hash.b[0] == 2, "a node with a hole");
	bool refused = true;
	for (size_t n = 0; n < b.len; n++)
		refused = refused && decode(&a, &b, n, &got) == -EBADMSG;
	ok(refused, "no part of it");
	b.data[0] = 3;
	is_errno(decode(&a, &b, b.len, &got), -EPROTONOSUPPORT, "one of a later format");
	b.data[0] = 2;
	b.data[1] = MANIFEST_LEVELS;
	is_errno(decode(&a, &b, b.len, &got), -EBADMSG, "one too high");
	m.data = 13;
	buf_reset(&b);
	manifest_encode(&m, false, &b);
	is_errno(decode(&a, &b, b.len, &got), -EBADMSG, "one whose data do not add up");
	m.data = 7;
	e[0].data = 0;
	buf_reset(&b);
	manifest_encode(&m, false, &b);
	is_errno(decode(&a, &b, b.len, &got), -EBADMSG, "one with two holes that meet");

	/* The format that there was first. */
	struct manifest_entry f[2] = { { 0, 5, 5, { { 1 } } }, { 5, 7, 7, { { 2 } } } };
	struct manifest_node flat = { 0, 2, f, 12, 12 };
	buf_reset(&b);
	manifest_encode(&flat, true, &b);
	ok(b.len == 2 + 2 * (SHA256_SIZE + 1) && b.data[0] == 1 && b.data[1] == 12 && b.data[2] == 1 &&
		   b.data[2 + SHA256_SIZE] == 5, "a flat one: hash and size of each chunk");
	ok(decode(&a, &b, b.len, &got) == 0 && got.n == 2 && got.size == 12 && got.data == 12 &&
		   got.entry[1].size == 7, "is read");
	flat.size = 13;
	buf_reset(&b);
	manifest_encode(&flat, true, &b);
	is_errno(decode(&a, &b, b.len, &got), -EBADMSG, "one whose sizes do not add up");
	flat.size = 5;
	f[1].size = 0;
	buf_reset(&b);
	manifest_encode(&flat, true, &b);
	is_errno(decode(&a, &b, b.len, &got), -EBADMSG, "one with an empty chunk");
}

int main(int argc, char **argv)
{
	struct store *s;
	tap_plan(15);
	struct prng r = { tap_seed(argc, argv) };
	if (store_open_memory(&s) < 0)
		tap_bail("no memory");
	test_trees(s, &r);
	test_large(s, &r);
	test_same(s);
	test_formats();
	store_close(s);
	return tap_done();
}
