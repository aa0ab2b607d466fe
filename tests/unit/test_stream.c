/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deltas one after the other on a link: each is told by how it differs from the one before (engine/recent.h), and comes
 * out as it went in. There is one way to write each. */
#include <errno.h>
#include <string.h>

#include "engine/nameid.h"
#include "tests/device.h"
#include "tests/prng.h"

struct stream {
	struct device from, to;
	struct actor_codec *out, *in, *again; /* again: of what came, for comparison */
};

static void stream_open(struct stream *s)
{
	device_init(&s->from, 1);
	device_init(&s->to, 2);
	must(actor_codec_new(s->from.actors, &s->out));
	must(actor_codec_new(s->to.actors, &s->in));
	must(actor_codec_new(s->to.actors, &s->again));
}

static void stream_close(struct stream *s)
{
	actor_codec_free(s->out);
	actor_codec_free(s->in);
	actor_codec_free(s->again);
	device_done(&s->from);
	device_done(&s->to);
}

static int decode(struct stream *s, const struct buf *b, struct delta **ret)
{
	struct cursor c = cursor_make(b->data, b->len);
	int r = delta_decode(&s->to.arena, s->to.actors, s->in, &c, ret, NULL);
	return r == 0 && !cursor_end(&c) ? -EBADMSG : r;
}

/* A file that is made now. generation: of the id that its name gives; NAMED_GENERATIONS: another id. */
static void make(struct device *d, const struct id *parent, const char *name, uint32_t generation, const char *text)
{
	struct record *r;
	const struct record *saved;
	struct id id = { { 0xab, (uint8_t)d->seq } };
	struct stamp st;
	if (generation < NAMED_GENERATIONS)
		name_id("json", parent, name, strlen(name), generation, &id);
	must(record_new(&d->arena, &id, &device_scope, NODE_FILE, &r));
	d->rec = r;
	st = device_edit(d, text);
	d->wall += 100;
	saved = d->rec;
	must(record_move(&d->arena, d->actors, saved, parent, name, strlen(name), &st, &d->rec));
	uint8_t data[VALUE_INT_MAX];
	struct value ns = value_of_int((int64_t)(d->wall - 30) * 1000 + 17, data);
	must(record_set(&d->arena, d->actors, d->rec, TOP_MTIME, NULL, 0, &ns, NULL, &st, &d->rec));
}

static struct delta *whole(struct device *d)
{
	static const struct vv nothing;
	struct delta *ret;
	must(delta_make(&d->arena, d->actors, d->rec, &nothing, true, &ret));
	return ret;
}

static const struct id dirs[] = { { { 0xd1 } }, { { 0xd2 } }, { { 0 } } };

static void test_round_trip(uint64_t seed, uint64_t rounds)
{
	struct prng r = { seed };
	struct stream s;
	unsigned wrong = 0, partial = 0, named = 0;
	stream_open(&s);
	for (uint64_t i = 0; i < rounds; i++) {
		_cleanup_(buf_done) struct buf b = { 0 }, again = { 0 };
		struct device *d = &s.from;
		struct delta *sent, *got;
		struct id x, y;
		char name[32], text[64];
		snprintf(name, sizeof(name), "%u%s", (unsigned)prng_below(&r, 50), prng_chance(&r, 80) ? ".json" : ".txt");
		snprintf(text, sizeof(text), "{\"a\": %u, \"b\": [1, {\"c\": 2}]}\n", (unsigned)prng_below(&r, 1000));
		bool json = strstr(name, ".json") != NULL;
		make(d, &dirs[prng_below(&r, 3)], name,
		     json && prng_chance(&r, 90) ? (uint32_t)prng_below(&r, NAMED_GENERATIONS) : NAMED_GENERATIONS, text);
		d->wall += prng_below(&r, 3) ? prng_below(&r, 500) : prng_u64(&r) >> 24;
		struct vv known = { 0 };
		if (prng_chance(&r, 30)) {
			must(vv_raise(&known, d->me, d->seq));
			snprintf(text, sizeof(text), "{\"a\": %u, \"b\": [1]}\n", (unsigned)prng_below(&r, 1000));
			device_edit(d, text);
			partial++;
		}
		must(delta_make(&d->arena, d->actors, d->rec, &known, false, &sent));
		delta_encode(sent, d->actors, s.out, &b);
		named += sent->complete && b.data[1] & 3;
		if (decode(&s, &b, &got) < 0)
			tap_bail("delta %u of a stream is refused", (unsigned)i);
		delta_encode(got, s.to.actors, s.again, &again);
		if (!got->complete)
			got->state.scope = device_scope; /* which is told with the round */
		record_fingerprint(&sent->state, d->actors, &x);
		record_fingerprint(&got->state, s.to.actors, &y);
		wrong += again.len != b.len || memcmp(again.data, b.data, b.len) != 0 || !id_equal(&x, &y) ||
			 !id_equal(&sent->state.id, &got->state.id) || !id_equal(&got->state.scope, &device_scope) ||
			 record_mtime_ns(&sent->state, d->actors) != record_mtime_ns(&got->state, s.to.actors);
		vv_done(&known);
	}
	is_uint(wrong, 0, "%u deltas come out as they went in, %u of them parts", (unsigned)rounds, partial);
	ok(named > rounds / 4 && named < rounds - partial, "%u have the id that their name gives", named);
	stream_close(&s);
}

static void test_size(void)
{
	struct stream s;
	size_t len[3];
	stream_open(&s);
	for (unsigned i = 0; i < 3; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		char name[32];
		struct delta *got;
		snprintf(name, sizeof(name), "%u.json", i);
		make(&s.from, &dirs[0], name, 0, "{\"n\":1}");
		delta_encode(whole(&s.from), s.from.actors, s.out, &b);
		if (decode(&s, &b, &got) < 0)
			tap_bail("it is refused");
		len[i] = b.len;
	}
	ok(len[1] == len[2] && len[1] <= 64, "a small document takes %zu bytes, one after others %zu", len[0], len[1]);
	stream_close(&s);
}

/* One document in a stream, then the same again with some bytes of the encoding replaced by others. */
static int hears(unsigned at, unsigned cut, const void *instead, size_t len)
{
	struct stream s;
	struct delta *got;
	_cleanup_(buf_done) struct buf first = { 0 }, b = { 0 }, other = { 0 };
	stream_open(&s);
	make(&s.from, &dirs[0], "n.json", 0, "{\"n\":1}");
	delta_encode(whole(&s.from), s.from.actors, s.out, &first);
	make(&s.from, &dirs[0], "m.json", 0, "{\"n\":1}");
	delta_encode(whole(&s.from), s.from.actors, s.out, &b);
	if (decode(&s, &first, &got) < 0)
		tap_bail("it is refused");
	buf_put(&other, b.data, at);
	buf_put(&other, instead, len);
	buf_put(&other, b.data + at + cut, b.len - at - cut);
	int r = decode(&s, &other, &got);
	stream_close(&s);
	return r;
}

static void test_one_way(void)
{
	struct id id;
	name_id("json", &dirs[0], "m.json", 6, 0, &id);
	uint8_t raw[1 + 2 * ID_SIZE] = { 0 };
	is_int(hears(1, 1, "\1", 1), 0, "the names of the second document are one byte: the first generation");
	is_int(hears(1, 1, "\2", 1), 0, "that of another is another file");
	memcpy(raw + 1, id.b, ID_SIZE);
	is_errno(hears(1, 1, raw, 1 + ID_SIZE), -EBADMSG, "the id that the name gives is not said");
	raw[1] ^= 1;
	is_int(hears(1, 1, raw, 1 + ID_SIZE), 0, "any other one is");
	raw[0] = 5;
	memcpy(raw + 1, device_scope.b, ID_SIZE);
	is_errno(hears(1, 1, raw, 1 + ID_SIZE), -EBADMSG, "nor the scope, when it is that of the last one");
	raw[1] ^= 1;
	is_int(hears(1, 1, raw, 1 + ID_SIZE), 0, "when it is not, it is");
	is_errno(hears(1, 1, "\11", 1), -EBADMSG, "there are no other names");
}

int main(int argc, char **argv)
{
	tap_plan(10);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 500);
	test_round_trip(seed, rounds);
	test_size();
	test_one_way();
	return tap_done();
}
