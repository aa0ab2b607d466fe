/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libshoal with daemons that answer as they should, late, in pieces, in any order, or nonsense. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "engine/buf.h"
#include "tests/tap.h"
#include "tools/libshoal/shoal.h"

/* ---- a daemon that plays a part ---- */

/* What it does: for each line that comes, the next text of the list goes out; then it closes. */
struct play {
	const char *const *reply;
	bool slowly;    /* byte by byte */
	bool deaf;      /* reads nothing until told */
	bool stays;     /* does not close until the client does */
	pthread_t thread;
	int fd;
	struct buf heard;
	int told[2];
};

static void put_all(int fd, const char *text, bool slowly)
{
	for (size_t len = strlen(text); len;) {
		ssize_t n = send(fd, text, slowly ? 1 : len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		text += n;
		len -= (size_t)n;
	}
}

static bool hear(struct play *p, int fd)
{
	for (;;) {
		uint8_t *room = buf_reserve(&p->heard, 1);
		if (!room || recv(fd, room, 1, 0) != 1)
			return false;
		p->heard.len++;
		if (*room == '\n')
			return true;
	}
}

static void *play(void *userdata)
{
	struct play *p = userdata;
	char byte;
	int fd = accept(p->fd, NULL, NULL);
	if (p->deaf && read(p->told[0], &byte, 1) != 1)
		tap_diag("nobody said a word");
	for (const char *const *r = p->reply; *r && hear(p, fd); r++)
		put_all(fd, *r, p->slowly);
	while (p->stays && recv(fd, &byte, 1, 0) > 0)
		;
	close(fd);
	return NULL;
}

static void play_begin(struct play *p, struct shoal **ret)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct shoal_error e = { 0 };
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", tap_path("control.sock"));
	unlink(sa.sun_path);
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || bind(p->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(p->fd, 1) < 0 ||
	    pipe(p->told) < 0 || pthread_create(&p->thread, NULL, play, p))
		tap_bail("no socket");
	if (shoal_open(tap_tmpdir(), ret, &e) < 0)
		tap_bail("%s", e.message);
	shoal_set_timeout(*ret, 20 * 1000000);
}

static void play_end(struct play *p, struct shoal *s)
{
	shoal_close(s);
	pthread_join(p->thread, NULL);
	close(p->fd);
	close(p->told[0]);
	close(p->told[1]);
	buf_done(&p->heard);
}

/* ---- answers ---- */

struct heard {
	struct buf text;
	int code, stop; /* stop: what the function returns behind so many answers */
	unsigned n, after;
};

static int listen_to(const struct shoal_answer *a, void *userdata)
{
	struct heard *h = userdata;
	h->n++;
	if (a->error)
		h->code = a->error->code;
	else
		buf_put(&h->text, a->json, a->len);
	buf_puts(&h->text, a->last ? "." : " ");
	return h->stop && h->n == h->after ? h->stop : 0;
}

static void test_calls(bool slowly)
{
	static const char *const reply[] = {
		"{\"result\":[1],\"more\":true,\"id\":1}\n{\"result\":2,\"more\":true,\"id\":1}\n{\"result\":{},\"id\":1}\n",
		"{\"error\":{\"code\":2,\"name\":\"ENOENT\",\"message\":\"there is no \\u00e4\"},\"id\":2}\n",
		"{\"result\":1,\"more\":true,\"id\":3}\n{\"result\":2,\"more\":true,\"id\":3}\n",
		"{\"result\":3,\"more\":true,\"id\":3}\n{\"result\":4,\"id\":3}\n{\"result\":\"next\",\"id\":4}\n",
		"", NULL
	};
	struct play p = { .reply = reply, .slowly = slowly };
	struct heard h = { 0 }, stopped = { .stop = 7, .after = 2 }, next = { 0 };
	struct shoal_error e = { 0 };
	struct shoal *s;
	play_begin(&p, &s);
	is_int(shoal_call(s, "x", NULL, listen_to, &h, &e), 0, "a call%s", slowly ? ", byte by byte" : "");
	is_str(buf_cstr(&h.text), "[1] 2 {}.", "its answers in order");
	ok(shoal_call(s, "x", "{}", listen_to, &h, &e) == -ENOENT && e.code == -ENOENT &&
	   !strcmp(e.message, "there is no \xc3\xa4") && h.n == 3, "an error is returned: %s", e.message);
	is_int(shoal_call(s, "x", NULL, listen_to, &stopped, &e), 7, "whoever has enough says so");
	is_int(shoal_call(s, "x", NULL, listen_to, &next, &e), 0, "and calls again");
	ok(stopped.n == 2 && !strcmp(buf_cstr(&next.text), "\"next\"."),
	   "what the first one is told still is nobody's");
	ok(shoal_call(s, "x", NULL, NULL, NULL, &e) == -ECONNRESET && strstr(e.message, "went away"),
	   "a daemon that ends: %s", e.message);
	is_errno(shoal_request(s, "x", NULL, NULL, NULL, &e), -ECONNRESET, "and is not asked again");
	play_end(&p, s);
	buf_done(&h.text);
	buf_done(&stopped.text);
	buf_done(&next.text);
}

static void test_order(void)
{
	static const char *const reply[] = {
		"", "{\"result\":2,\"id\":2}\n{\"result\":9,\"id\":77}\n{\"result\":1,\"id\":1}\n", NULL
	};
	struct play p = { .reply = reply, .stays = true };
	struct heard h[2] = { 0 };
	struct shoal_error e = { 0 };
	struct shoal *s;
	play_begin(&p, &s);
	int64_t first = shoal_request(s, "x", NULL, listen_to, &h[0], &e),
		second = shoal_request(s, "y", "{\n\"a\":\r\n1}", listen_to, &h[1], &e);
	ok(first == 1 && second == 2, "two requests");
	is_int(shoal_finish(s, second, &e), 0, "wait for the second");
	is_str(buf_cstr(&h[1].text), "2.", "which comes first");
	is_int(shoal_finish(s, 0, &e), 0, "then for all");
	is_str(buf_cstr(&h[0].text), "1.", "and an answer to nothing is passed over");
	is_int(shoal_finish(s, 0, &e), 0, "when nothing is asked there is nothing to wait for");
	is_str(buf_cstr(&p.heard), "{\"method\":\"x\",\"id\":1}\n{\"method\":\"y\",\"params\":{ \"a\":  1},\"id\":2}\n",
	       "each request is one line");
	play_end(&p, s);
	buf_done(&h[0].text);
	buf_done(&h[1].text);
}

/* A loop of the program's own, which never waits in the library. */
static void test_loop(void)
{
	static const char *const reply[] = { "{\"result\":1,\"more\":true,\"id\":1}\n{\"result\":2,\"id\":1}\n", NULL };
	struct play p = { .reply = reply, .slowly = true, .stays = true };
	struct heard h = { 0 };
	struct shoal_error e = { 0 };
	struct shoal *s;
	int r = 0, answers = 0;
	play_begin(&p, &s);
	is_int(shoal_process(s, &e), 0, "nothing has come");
	shoal_request(s, "x", NULL, listen_to, &h, &e);
	while (answers < 2 && r >= 0) {
		struct pollfd fd = { .fd = shoal_fd(s), .events = shoal_events(s) };
		if (poll(&fd, 1, 20000) != 1)
			break;
		r = shoal_process(s, &e);
		answers += r;
	}
	ok(answers == 2 && h.n == 2, "both answers come by way of poll");
	play_end(&p, s);
	buf_done(&h.text);
}

static void test_broken(void)
{
	static const struct {
		const char *line;
		int code;
		const char *name;
	} c[] = {
		{ "nonsense\n", -EPROTO, "a line that is not JSON" },
		{ "{\"id\":1}\n", -EPROTO, "an answer without any" },
		{ "{\"error\":{\"code\":0,\"message\":\"\"},\"id\":1}\n", -EPROTO, "an error without a code" },
		{ "{\"error\":{\"code\":90,\"message\":\"too long\"},\"id\":null}\n", -EMSGSIZE,
		  "an error that is about no request" },
		{ "{\"result\":1,\"id\":1", -ECONNRESET, "half an answer" },
	};
	for (size_t i = 0; i < sizeof(c) / sizeof(*c); i++) {
		const char *reply[] = { c[i].line, NULL };
		struct play p = { .reply = reply };
		struct heard h = { 0 };
		struct shoal_error e = { 0 };
		struct shoal *s;
		play_begin(&p, &s);
		shoal_request(s, "x", NULL, listen_to, &h, &e);
		int r = shoal_finish(s, 0, &e);
		ok(r == c[i].code && h.n == 1 && h.code == r && shoal_process(s, &e) == r, "%s: %s", c[i].name,
		   e.message);
		play_end(&p, s);
		buf_done(&h.text);
	}
}

static void test_late(void)
{
	static const char *const reply[] = { "", "{\"result\":1,\"id\":1}\n{\"result\":2,\"id\":2}\n", NULL };
	struct play p = { .reply = reply, .stays = true };
	struct heard h = { 0 }, next = { 0 };
	struct shoal_error e = { 0 };
	struct shoal *s;
	play_begin(&p, &s);
	shoal_set_timeout(s, 20000);
	is_errno(shoal_call(s, "x", NULL, listen_to, &h, &e), -ETIMEDOUT, "no answer: %s", e.message);
	shoal_set_timeout(s, 0);
	ok(shoal_call(s, "x", NULL, listen_to, &next, &e) == 0 && h.n == 0 && !strcmp(buf_cstr(&next.text), "2."),
	   "which comes later, and is nobody's");
	play_end(&p, s);
	buf_done(&h.text);
	buf_done(&next.text);
}

/* ---- inside an answer ---- */

struct inside {
	struct shoal *s;
	struct heard asked;
	int waited, processed;
	int64_t id;
};

static int ask_inside(const struct shoal_answer *a, void *userdata)
{
	struct inside *x = userdata;
	struct shoal_error e;
	if (a->last)
		return 0;
	x->waited = shoal_call(x->s, "x", NULL, NULL, NULL, &e);
	x->processed = shoal_process(x->s, &e);
	x->id = shoal_request(x->s, "y", NULL, listen_to, &x->asked, &e);
	return 0;
}

static void test_inside(void)
{
	static const char *const reply[] = { "{\"result\":1,\"more\":true,\"id\":1}\n{\"result\":2,\"id\":1}\n",
					     "{\"result\":3,\"id\":2}\n", NULL };
	struct play p = { .reply = reply, .stays = true };
	struct inside x = { 0 };
	struct shoal_error e = { 0 };
	play_begin(&p, &x.s);
	is_int(shoal_call(x.s, "x", NULL, ask_inside, &x, &e), 0, "a call");
	ok(x.waited == -EDEADLK && x.processed == -EDEADLK, "from within, nobody may wait");
	ok(x.id == 2 && shoal_finish(x.s, x.id, &e) == 0 && !strcmp(buf_cstr(&x.asked.text), "3."), "but ask");
	play_end(&p, x.s);
	buf_done(&x.asked.text);
}

static void test_full(void)
{
	static const char *const reply[] = { NULL };
	struct play p = { .reply = reply, .deaf = true, .stays = true };
	struct shoal_error e = { 0 };
	struct shoal *s;
	_cleanup_(buf_done) struct buf params = { 0 };
	int64_t r = 0;
	unsigned n = 0;
	buf_putf(&params, "{\"x\":\"%*s\"}", 4 << 20, "");
	play_begin(&p, &s);
	while (r >= 0 && n < 100) {
		r = shoal_request(s, "x", buf_cstr(&params), NULL, NULL, &e);
		n += r >= 0;
	}
	ok(r == -EAGAIN && n >= 8 && n < 12, "a daemon that reads nothing is not sent more and more: %s", e.message);
	ok(shoal_events(s) & POLLOUT, "something waits to be sent");
	buf_reset(&params);
	buf_putf(&params, "{\"x\":\"%*s\"}", 8 << 20, "");
	shoal_close(s);
	(void)!write(p.told[1], "x", 1);
	pthread_join(p.thread, NULL);
	close(p.fd);
	close(p.told[0]);
	close(p.told[1]);
	buf_done(&p.heard);
	struct play q = { .reply = reply, .stays = true };
	play_begin(&q, &s);
	is_errno(shoal_request(s, "x", buf_cstr(&params), NULL, NULL, &e), -E2BIG, "a request over 8 MiB: %s",
		 e.message);
	is_errno(shoal_request(s, "x", "[1]", NULL, NULL, &e), -EINVAL, "parameters in a list: %s", e.message);
	is_errno(shoal_request(s, "x", "{\"a\":", NULL, NULL, &e), -EINVAL, "half an object: %s", e.message);
	is_errno(shoal_get(s, "a\xff", NULL, 0, &(struct shoal_file){ 0 }, &e), -EILSEQ, "a path: %s", e.message);
	is_errno(shoal_watch(s, (const char *const[]){ "a", "\xc0\x80" }, 2, NULL, NULL, &e), -EILSEQ,
		 "one of two paths");
	play_end(&q, s);
}

/* ---- changes ---- */

static void test_txn(void)
{
	static const char *const reply[] = {
		"{\"result\":{\"changes\":[{\"path\":\"a.json\",\"version\":\"0123456789abcdef0123456789abcdef\"},"
		"{\"path\":\"b.json\",\"version\":null},{\"path\":\"a\\\"\",\"version\":\"01\"}]},\"id\":1}\n",
		"{\"result\":{\"changes\":[]},\"id\":2}\n", "{\"result\":{\"changes\":[1,2]},\"id\":3}\n",
		"{\"error\":{\"code\":116,\"message\":\"line 1: \\\"a\\\" is at version 12\"},\"id\":4}\n", NULL
	};
	struct play p = { .reply = reply, .stays = true };
	char version[3][SHOAL_VERSION_SIZE];
	struct shoal_error e = { 0 };
	struct shoal_txn *t;
	struct shoal *s;
	play_begin(&p, &s);
	if (shoal_txn_new(&t) < 0)
		tap_bail("no memory");
	const char *json = "{\r\n\t\"a\": [1,\n  2],\n\n  \"b\":\"\\n\"\n}\n";
	is_int(shoal_txn_put(t, "a.json", json, strlen(json), NULL, &e), 0, "a step");
	is_int(shoal_txn_delete(t, "b.json", "", &e), 0, "another");
	is_int(shoal_txn_patch(t, "a\"", "[]", 2, "0123", &e), 0, "a third");
	ok(shoal_txn_merge(t, "c", "{\n\"a\":1,}", 9, NULL, &e) == -EINVAL && strstr(e.message, "line 2, column 7"),
	   "what is not JSON is no step: %s", e.message);
	is_errno(shoal_txn_put(t, "\xff", "1", 1, NULL, &e), -EILSEQ, "nor what has no path");
	is_int(shoal_txn_count(t), 3, "three steps");
	is_int(shoal_txn_run(s, t, SHOAL_APART | SHOAL_SYNC, version, &e), 0, "are done");
	ok(!strcmp(version[0], "0123456789abcdef0123456789abcdef") && !*version[1] && !strcmp(version[2], "01"),
	   "with the versions that came of it");
	is_str(buf_cstr(&p.heard),
	       "{\"method\":\"txn\",\"params\":{\"lines\":\""
	       "{\\\"put\\\":\\\"a.json\\\",\\\"value\\\":{\\\"a\\\": [1,2],\\\"b\\\":\\\"\\\\n\\\"}}\\n"
	       "{\\\"delete\\\":\\\"b.json\\\",\\\"if\\\":null}\\n"
	       "{\\\"patch\\\":\\\"a\\\\\\\"\\\",\\\"ops\\\":[],\\\"if\\\":\\\"0123\\\"}\\n\""
	       ",\"apart\":true,\"sync\":true},\"id\":1}\n",
	       "in one line, and each of them in one");
	shoal_txn_clear(t);
	is_int(shoal_txn_run(s, t, 0, version, &e), 0, "nothing can be done as well");
	shoal_txn_put(t, "a.json", "1", 1, NULL, &e);
	is_errno(shoal_txn_run(s, t, 0, version, &e), -EPROTO, "not so many versions");
	is_errno(shoal_txn_run(s, t, 4, version, &e), -EINVAL, "an unknown flag: %s", e.message);
	ok(shoal_put(s, "a", "1", 1, "34", NULL, &e) == -ESTALE && !strcmp(e.message, "\"a\" is at version 12"),
	   "of one change, no line is told: %s", e.message);
	play_end(&p, s);
	shoal_txn_free(t);
}

static void test_txn_limits(void)
{
	struct shoal_error e = { 0 };
	struct shoal_txn *t;
	_cleanup_(buf_done) struct buf value = { 0 };
	int r = 0;
	if (shoal_txn_new(&t) < 0)
		tap_bail("no memory");
	for (unsigned i = 0; i < SHOAL_TXN_STEPS && r == 0; i++)
		r = shoal_txn_put(t, "a.json", "1", 1, NULL, &e);
	is_int(r, 0, "1000 steps");
	ok(shoal_txn_put(t, "a.json", "1", 1, NULL, &e) == -E2BIG && shoal_txn_count(t) == SHOAL_TXN_STEPS,
	   "and not one more: %s", e.message);
	shoal_txn_clear(t);
	/* Each of these takes two more bytes in the request. */
	buf_putf(&value, "[%*s", 1 << 20, "");
	for (unsigned i = 0; i < 200000; i++)
		buf_puts(&value, "\"\",");
	buf_puts(&value, "0]");
	for (r = 0; r == 0;)
		r = shoal_txn_put(t, "a.json", (const char *)value.data, value.len, NULL, &e);
	ok(r == -E2BIG && shoal_txn_count(t) == 4, "4 of 1.6 MB, each 2 MB on the way: %u", shoal_txn_count(t));
	is_int(shoal_txn_put(t, "b.json", "1", 1, NULL, &e), 0, "and there is room for a small one");
	shoal_txn_clear(t);
	buf_reset(&value);
	buf_putf(&value, "\"%0*d\"", 9 << 20, 0);
	ok(shoal_txn_put(t, "a.json", buf_cstr(&value), value.len, NULL, &e) == -E2BIG &&
	   shoal_txn_count(t) == 0 && strstr(e.message, "too large"), "9 MiB fit nowhere: %s", e.message);
	shoal_txn_free(t);
	shoal_txn_free(NULL);
}

static void test_get(void)
{
	static const char *const reply[] = {
		"{\"result\":{\"version\":\"0123\",\"form\":\"json\",\"size\":7,\"data\":\"e30K\"},\"more\":true,\"id\":1}\n"
		"{\"result\":{\"data\":\"AAECAw==\"},\"id\":1}\n",
		"{\"result\":{\"version\":\"0123\",\"form\":\"json\",\"size\":4,\"data\":\"e30K\"},\"id\":2}\n",
		"{\"result\":{\"version\":\"0123\",\"form\":\"json\",\"size\":3,\"data\":\"e!0K\"},\"id\":3}\n",
		"{\"result\":{\"version\":\"0123\",\"form\":\"a long word\",\"size\":3,\"data\":\"e30K\"},\"id\":4}\n",
		"{\"result\":{\"data\":\"e30K\"},\"id\":5}\n",
		"{\"result\":{\"version\":\"0123\",\"form\":\"blob\",\"size\":3,\"data\":\"e30K\"},\"id\":6}\n",
		"{\"result\":{\"version\":\"0123\",\"form\":\"none\",\"size\":0,\"data\":\"\"},\"id\":7}\n", NULL
	};
	struct play p = { .reply = reply, .stays = true };
	struct shoal_file f = { 0 };
	struct shoal_error e = { 0 };
	struct shoal *s;
	play_begin(&p, &s);
	ok(shoal_get(s, "a", NULL, 7, &f, &e) == 0 && !strcmp(f.version, "0123") && !strcmp(f.form, "json"),
	   "a file in two parts");
	is_mem(f.data, f.len + 1, "{}\n\0\1\2\3\0", 8, "its bytes, and a NUL");
	shoal_file_done(&f);
	is_errno(shoal_get(s, "a", NULL, 0, &f, &e), -EPROTO, "less than was said");
	is_errno(shoal_get(s, "a", NULL, 0, &f, &e), -EPROTO, "what is no base64");
	is_errno(shoal_get(s, "a", NULL, 0, &f, &e), -EPROTO, "a form that nobody has room for");
	is_errno(shoal_get(s, "a", NULL, 0, &f, &e), -EPROTO, "no version");
	ok(shoal_get(s, "a", "01", 2, &f, &e) == -EFBIG && !f.data, "more than is wanted: %s", e.message);
	ok(shoal_get(s, "a", NULL, 2, &f, &e) == 0 && f.len == 0 && !*f.data, "an empty file");
	shoal_file_done(&f);
	play_end(&p, s);
}

static void test_open(void)
{
	struct shoal_error e = { 0 };
	struct shoal *s = NULL;
	ok(shoal_open("/nonexistent/store", &s, &e) == -ENOENT && !s && strstr(e.message, "shoal up"), "no store: %s",
	   e.message);
	unlink(tap_path("control.sock"));
	is_errno(shoal_open(tap_tmpdir(), &s, &e), -ESRCH, "no daemon: %s", e.message);
	is_errno(shoal_open(tap_tmpdir(), &s, NULL), -ESRCH, "and nobody who asks why");
	shoal_close(NULL);
}

int main(void)
{
	tap_plan(2 * 8 + 7 + 2 + 5 + 2 + 3 + 7 + 13 + 5 + 8 + 3);
	test_calls(false);
	test_calls(true);
	test_order();
	test_loop();
	test_broken();
	test_late();
	test_inside();
	test_full();
	test_txn();
	test_txn_limits();
	test_get();
	test_open();
	return tap_done();
}
