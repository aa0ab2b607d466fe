/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `import` reads and `export` writes: JSON lines and CSV, against what is written down and against each other;
 * and what the bar says. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/json.h"
#include "engine/jsonw.h"
#include "tests/prng.h"
#include "tests/tap.h"
#include "tools/csvout.h"
#include "tools/progress.h"
#include "tools/records.h"

static int input(const void *data, size_t len)
{
	char name[] = "/tmp/records-XXXXXX";
	int fd = mkstemp(name);
	if (fd < 0 || unlink(name) < 0 || write(fd, data, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0)
		tap_bail("cannot write a file");
	return fd;
}

static struct records *open_records(int fd, enum record_form form, char separator, bool text_only)
{
	const struct records_config config = { form, separator, text_only };
	struct records *r;
	if (records_new(fd, &config, &r) < 0)
		tap_bail("no memory");
	return r;
}

/* All of it, as LINE:JSON or LINE!MESSAGE, joined by newlines. */
static void read_all(const char *text, enum record_form form, char separator, bool text_only, struct buf *ret)
{
	_cleanup_close_ int fd = input(text, strlen(text));
	_cleanup_(records_freep) struct records *r = open_records(fd, form, separator, text_only);
	for (unsigned i = 0; i < 100; i++) {
		struct record x;
		struct err e = { 0 };
		int n = records_next(r, &x, &e);
		if (n == 0)
			break;
		if (n > 0)
			buf_putf(ret, "%llu:%.*s\n", (unsigned long long)x.line, (int)x.len, x.json);
		else
			buf_putf(ret, "%u!%.30s\n", e.line, e.message);
	}
	if (!buf_cstr(ret))
		tap_bail("no memory");
}

struct example {
	const char *text, *want;
};

static void test_examples(void)
{
	static const struct example lines[] = {
		{ "", "" },
		{ "\n \t\r\n", "" },
		{ "{\"a\":1}\n\n[2]\r\n\"x\"", "1:{\"a\":1}\n3:[2]\r\n4:\"x\"\n" },
		{ "\xef\xbb\xbf{}\n", "1:{}\n" },
	};
	static const struct example csv[] = {
		{ "", "" },
		{ "id,name\n", "" },
		{ "id,name\n1,Ann\n2,Ben", "2:{\"id\":1,\"name\":\"Ann\"}\n3:{\"id\":2,\"name\":\"Ben\"}\n" },
		{ "\xef\xbb\xbf" "a\r\nx\r\n\r\ny\r\n", "2:{\"a\":\"x\"}\n4:{\"a\":\"y\"}\n" },
		{ "a,b\n,\n", "2:{}\n" },
		{ "a,b\n\"\",\n", "2:{\"a\":\"\"}\n" },
		{ "a,b\n\"x,\"\"y\"\"\n2\",z\n3,4\n", "2:{\"a\":\"x,\\\"y\\\"\\n2\",\"b\":\"z\"}\n4:{\"a\":3,\"b\":4}\n" },
		{ "a\n\"x\r\"\r\n", "2:{\"a\":\"x\\r\"}\n" },
		{ "a\n007\n-1.50e3\n+1\n.5\n1 \ntrue\nnull\nNULL\n\"12\"\n",
		  "2:{\"a\":\"007\"}\n3:{\"a\":-1.50e3}\n4:{\"a\":\"+1\"}\n5:{\"a\":\".5\"}\n6:{\"a\":\"1 \"}\n"
		  "7:{\"a\":true}\n8:{\"a\":null}\n9:{\"a\":\"NULL\"}\n10:{\"a\":\"12\"}\n" },
		{ "a\n\"[1,{\"\"b\"\":2}]\"\n\"[1,\"\n[1]\n", "2:{\"a\":[1,{\"b\":2}]}\n3:{\"a\":\"[1,\"}\n4:{\"a\":\"[1]\"}\n" },
		{ "/a/b,c,/a/d/e\n1,2,3\n,2,\n", "2:{\"a\":{\"b\":1,\"d\":{\"e\":3}},\"c\":2}\n3:{\"c\":2}\n" },
		{ "/a~1b/c~0,/\n1,2\n", "2:{\"a/b\":{\"c~\":1},\"\":2}\n" },
		{ "a\n5\" pipe\n", "2:{\"a\":\"5\\\" pipe\"}\n" },
		{ "a,b\n1\n2,3\n1,2,3\n4,5\n", "2!the row has 1 cells, and the h\n3:{\"a\":2,\"b\":3}\n"
					      "4!the row has 3 cells, and the h\n5:{\"a\":4,\"b\":5}\n" },
		{ "a,b\n\"x\"y,2\n3,4\n", "2!there is text behind a closing\n3:{\"a\":3,\"b\":4}\n" },
		{ "a,b\n1,\"x\n\n2,3\n", "2!a quote that begins in this ro\n" },
		{ "a\n\xff\nb\n", "2!the text is not UTF-8: convert\n3:{\"a\":\"b\"}\n" },
		{ "a,b,a\n1,2,3\n", "1!column 3, \"a\": two columns hav\n" },
		{ "/a/b,a\n1,2\n", "1!column 2, \"a\": two columns hav\n" },
		{ "a,/a/b\n1,2\n", "1!column 2, \"/a/b\": two columns \n" },
		{ "a,,b\n1,2,3\n", "1!column 2, \"\": a column has no \n" },
		{ "a,/b~2\n1,2\n", "1!column 2, \"/b~2\": " },
	};
	for (unsigned i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		_cleanup_(buf_done) struct buf got = { 0 };
		read_all(lines[i].text, RECORDS_JSONL, 0, false, &got);
		is_str(got.len ? buf_cstr(&got) : "", lines[i].want, "JSON lines, %u", i);
	}
	for (unsigned i = 0; i < sizeof(csv) / sizeof(csv[0]); i++) {
		_cleanup_(buf_done) struct buf got = { 0 };
		read_all(csv[i].text, RECORDS_CSV, ',', false, &got);
		const char *text = got.len ? buf_cstr(&got) : "";
		if (i + 1 < sizeof(csv) / sizeof(csv[0]))
			is_str(text, csv[i].want, "CSV, %u", i);
		else
			ok(strncmp(text, csv[i].want, strlen(csv[i].want)) == 0, "CSV, %u: %s", i, text);
	}
	_cleanup_(buf_done) struct buf got = { 0 }, tabs = { 0 };
	read_all("a,b\n1,\n\"\",true\n", RECORDS_CSV, ',', true, &got);
	is_str(buf_cstr(&got), "2:{\"a\":\"1\"}\n3:{\"a\":\"\",\"b\":\"true\"}\n", "all as text");
	read_all("a\tb\n1,5\t2\n", RECORDS_CSV, '\t', false, &tabs);
	is_str(buf_cstr(&tabs), "2:{\"a\":\"1,5\",\"b\":2}\n", "tabs");
}

/* Longer than may be: it ends there, whatever follows. */
static void test_long(void)
{
	for (unsigned form = 0; form < 2; form++) {
		struct buf b = { 0 };
		buf_puts(&b, "a\n");
		for (unsigned i = 0; i < RECORD_MAX / 1024 + 1; i++)
			buf_putf(&b, "%01024u", i);
		buf_puts(&b, "\n1\n");
		_cleanup_close_ int fd = input(b.data, b.len);
		_cleanup_(records_freep) struct records *r = open_records(fd, (enum record_form)form, ',', false);
		struct record x;
		struct err e = { 0 };
		if (form == RECORDS_JSONL)
			(void)records_next(r, &x, &e);
		ok(records_next(r, &x, &e) == -EFBIG && e.line == 2, "more than 8 MiB: %s", e.message);
		is_int(records_next(r, &x, &e), 0, "nothing follows");
		buf_done(&b);
	}
}

/* ---- there and back ---- */

static void put_random(struct prng *p, struct jsonw *w, unsigned depth);

static void put_text(struct prng *p, struct jsonw *w)
{
	static const char *const piece[] = { "a", "12", "true", "null", ",", "\"", "\n", "\r\n", " ", "ü", "\\", "", "-", "/", "~" };
	_cleanup_(buf_done) struct buf text = { 0 };
	for (unsigned n = (unsigned)prng_below(p, 4); n; n--)
		buf_puts(&text, piece[prng_below(p, sizeof(piece) / sizeof(piece[0]))]);
	jsonw_string_n(w, (const char *)text.data, text.len);
}

static void put_object(struct prng *p, struct jsonw *w, unsigned depth)
{
	static const char *const key[] = { "id", "name", "a", "/b", "c~d", "e,f", "", "12" };
	jsonw_object_begin(w);
	for (unsigned i = 0; i < sizeof(key) / sizeof(key[0]); i++) {
		if (prng_below(p, 3) && (depth || i))
			continue;
		jsonw_key(w, key[i]);
		put_random(p, w, depth + 1);
	}
	jsonw_object_end(w);
}

static void put_random(struct prng *p, struct jsonw *w, unsigned depth)
{
	switch (depth < 4 ? prng_below(p, 7) : prng_below(p, 5)) {
	case 0:
		jsonw_int(w, (int64_t)prng_below(p, 2000) - 1000);
		break;
	case 1:
		jsonw_bool(w, prng_below(p, 2));
		break;
	case 2:
		jsonw_null(w);
		break;
	case 3:
	case 4:
		put_text(p, w);
		break;
	case 5:
		jsonw_array_begin(w);
		for (unsigned n = (unsigned)prng_below(p, 3); n; n--)
			put_random(p, w, depth + 1);
		jsonw_array_end(w);
		break;
	default:
		put_object(p, w, depth);
		break;
	}
}

static void write_csv(struct json **document, unsigned n, struct buf *out)
{
	struct csvout *x;
	struct err e = { 0 };
	if (csvout_new(',', &x) < 0)
		tap_bail("no memory");
	for (unsigned i = 0; i < n; i++)
		if (csvout_look(x, document[i], &e) < 0)
			tap_bail("%s", e.message);
	csvout_header(x, out);
	for (unsigned i = 0; i < n; i++)
		if (csvout_row(x, document[i], out, &e) < 0)
			tap_bail("%s", e.message);
	csvout_free(x);
}

static bool same(struct arena *a, const struct record *r, const struct json *want)
{
	struct json *v;
	if (json_parse(a, r->json, r->len, NULL, &v, NULL) < 0)
		return false;
	return json_equal(v, want);
}

static void test_round_trip(uint64_t seed, uint64_t rounds)
{
	struct prng p = { seed };
	unsigned wrong = 0;
	for (uint64_t round = 0; round < rounds && !wrong; round++) {
		_cleanup_(arena_done) struct arena a = { 0 };
		_cleanup_(buf_done) struct buf csv = { 0 };
		/* Some of them are longer than what is read at once. */
		const unsigned n = round % 8 ? 2 + (unsigned)prng_below(&p, 30) : 6000;
		struct json **document = calloc(n, sizeof(*document));
		struct buf *text = calloc(n, sizeof(*text));
		for (unsigned i = 0; i < n; i++) {
			struct jsonw w;
			jsonw_init(&w, &text[i], i % 2 ? 2 : 0);
			put_object(&p, &w, 0);
			jsonw_end(&w);
			if (json_parse(&a, (const char *)text[i].data, text[i].len, NULL, &document[i], NULL) < 0)
				tap_bail("the test writes no JSON");
		}
		write_csv(document, n, &csv);
		_cleanup_close_ int fd = input(csv.data, csv.len);
		_cleanup_(records_freep) struct records *r = open_records(fd, RECORDS_CSV, ',', false);
		struct record x;
		struct err e = { 0 };
		unsigned seen = 0;
		while (!wrong && records_next(r, &x, &e) > 0) {
			if (seen >= n || !same(&a, &x, document[seen])) {
				tap_diag("round %llu: %.*s came back as %.*s", (unsigned long long)round,
					 seen < n ? (int)text[seen].len : 0, seen < n ? (const char *)text[seen].data : "",
					 (int)x.len, x.json);
				wrong++;
			}
			seen++;
		}
		if (seen != n || e.code || records_offset(r) != csv.len) {
			tap_diag("round %llu: %u of %u, %s", (unsigned long long)round, seen, n, e.message);
			wrong++;
		}
		for (unsigned i = 0; i < n; i++)
			buf_done(&text[i]);
		free(text);
		free(document);
	}
	ok(!wrong, "documents written as CSV are read as what they were");
}

static void test_csvout(void)
{
	static const char *const text[] = { "{\"a\":{\"b\":1},\"n\":\"12\"}", "{\"a\":3,\"n\":[1, {\"x\" : \"y z\"}]}", "{\"a\":{}}" };
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf out = { 0 };
	struct json *v[3], *late;
	struct err e = { 0 };
	_cleanup_(csvout_freep) struct csvout *x = NULL;
	for (unsigned i = 0; i < 3; i++)
		json_parse(&a, text[i], strlen(text[i]), NULL, &v[i], NULL);
	write_csv(v, 3, &out);
	is_str(buf_cstr(&out), "n,a\n\"12\",\"{\"\"b\"\":1}\"\n\"[1,{\"\"x\"\":\"\"y z\"\"}]\",3\n,\"{}\"\n",
	       "an object here, a number there: one column");
	if (csvout_new(',', &x) < 0)
		tap_bail("no memory");
	csvout_look(x, v[2], &e);
	csvout_header(x, &out);
	json_parse(&a, "{\"new\":1}", 9, NULL, &late, NULL);
	is_errno(csvout_row(x, late, &out, &e), -ESTALE, "%s", e.message);
	json_parse(&a, "{}", 2, NULL, &late, NULL);
	is_errno(csvout_row(x, late, &out, &e), -EINVAL, "%s", e.message);
	json_parse(&a, "[1]", 3, NULL, &late, NULL);
	is_errno(csvout_look(x, late, &e), -EINVAL, "%s", e.message);
	buf_reset(&out);
	json_put_line(&out, "{ \"a b\" :\n\t[ 1,\r\n \"\\\" \\\\\" , 2 ] }\n", 34);
	is_str(buf_cstr(&out), "{\"a b\":[1,\"\\\" \\\\\",2]}", "on one line");
}

static void test_progress(void)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	progress_text(450, 1000, 1234567, "documents", 10, 52000, 90, &b);
	is_str(buf_cstr(&b), " 45% [#############                 ] 1,234,567 documents  52,000/s  56 s left", "a bar");
	progress_text(450, 1000, 12, "files", 0.1, 0.2, 40, &b);
	is_str(buf_cstr(&b), " 45% [#####       ] 12 files  2 h left", "slow, and a narrow terminal");
	progress_text(450, 0, 12, "files", 10, 3, 80, &b);
	is_str(buf_cstr(&b), "12 files  3/s", "nobody knows how much it is");
	progress_text(2000, 1000, 12, "files", 10, 3, 80, &b);
	is_str(buf_cstr(&b), "100% [##############################] 12 files  3/s", "more than was said");
	progress_text(450, 1000, 1234567, "documents", 10, 52000, 10, &b);
	is_int((int64_t)b.len, 9, "never wider than the terminal");
}

int main(int argc, char **argv)
{
	tap_plan(4 + 22 + 2 + 4 + 5 + 5 + 1);
	uint64_t seed = tap_seed(argc, argv), rounds = tap_rounds(argc, argv, 200);
	test_examples();
	test_long();
	test_csvout();
	test_progress();
	test_round_trip(seed, rounds);
	return tap_done();
}
