/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control protocol: its lines, and a server with well and badly behaved clients. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "tests/tap.h"
#include "tools/control.h"
#include "tools/ctlclient.h"
#include "tools/ctlserver.h"

static void test_requests(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct control_request q;
	struct err e = { 0 };
	const char *line = "{\"id\":\"x\\n\",\"params\":{\"n\":7,\"t\":\"\\u00e4\",\"b\":true,"
			   "\"l\":[\"a\",\"b\"]},\"method\":\"status\"}";
	is_int(control_parse_request(&a, line, strlen(line), &q, &e), 0, "a request");
	is_str(q.method, "status", "its method");
	is_mem(q.id, q.id_len, "\"x\\n\"", 5, "its id as it was written");
	uint64_t n = 0;
	bool b = false;
	const char *text = NULL, **list = NULL;
	uint32_t n_list = 0;
	ok(param_uint(q.params, "n", 10, &n, &e) == 0 && n == 7, "a number");
	ok(param_text(&a, q.params, "t", &text, &e) == 0 && !strcmp(text, "\xc3\xa4"), "a text");
	ok(param_bool(q.params, "b", &b, &e) == 0 && b, "a truth value");
	ok(param_texts(&a, q.params, "l", 2, &list, &n_list, &e) == 0 && n_list == 2 &&
		   !strcmp(list[1], "b"),
	   "a list");
	is_errno(param_uint(q.params, "n", 6, &n, &e), -EINVAL, "a number out of range");
	is_errno(param_text(&a, q.params, "n", &text, &e), -EINVAL, "a number is no text");
	is_errno(param_texts(&a, q.params, "l", 1, &list, &n_list, &e), -EINVAL, "a long list");
	ok(param_text(&a, NULL, "t", &text, &e) == 0 && text, "what is missing stays as it was");
	static const char *const bad[] = {
		"", "[]", "7", "{}", "{\"method\":7}", "{\"method\":\"a\\u0000b\"}",
		"{\"method\":\"x\",\"params\":[]}", "{\"method\":\"x\",\"id\":{}}",
		"{\"method\":\"x\",\"method\":\"y\"}", "{\"method\":\"x\"} {}",
		"[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]", "{\"method\":\"\xff\"}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		is_errno(control_parse_request(&a, bad[i], strlen(bad[i]), &q, &e), -EINVAL,
			 "refused: %s", bad[i]);
}

static void test_replies(void)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	struct control_reply r;
	struct err e = { 0 };
	control_put_result(&b, "7", 1, "[1]", 3, true);
	is_str(buf_cstr(&b), "{\"result\":[1],\"more\":true,\"id\":7}\n", "a result, more to come");
	ok(control_parse_reply(&a, (char *)b.data, b.len - 1, &r, &e) == 0 && r.more && r.result,
	   "is read");
	buf_reset(&b);
	err_set(&e, -ENOENT, "there is no \"x\"");
	control_put_error(&b, NULL, 0, &e);
	ok(control_parse_reply(&a, (char *)b.data, b.len - 1, &r, &e) == 0 && !r.result &&
		   r.error.code == -ENOENT && !strcmp(r.error.message, "there is no \"x\""),
	   "an error comes back");
	ok(r.error.line == 0, "without a place");
	buf_reset(&b);
	e.line = 3;
	e.column = 7;
	e.offset = 41;
	control_put_error(&b, NULL, 0, &e);
	ok(control_parse_reply(&a, (char *)b.data, b.len - 1, &r, &e) == 0 && r.error.line == 3 && r.error.column == 7 &&
		   r.error.offset == 41,
	   "or with one");
	is_errno(control_parse_reply(&a, "{\"error\":{}}", 12, &r, &e), -EPROTO, "nonsense is not");
}

static void echo(struct call *c, const struct json *params, void *userdata)
{
	const char *text = "";
	struct err e;
	(void)userdata;
	if (param_text(call_arena(c), params, "text", &text, &e) < 0) {
		call_error(c, &e);
		return;
	}
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_putf(&b, "\"%s\"", text);
	call_result(c, &b, false);
}

/* Three results, then the last. */
static void count(struct call *c, const struct json *params, void *userdata)
{
	(void)params;
	(void)userdata;
	for (int i = 0; i < 4; i++) {
		_cleanup_(buf_done) struct buf b = { 0 };
		buf_putf(&b, "%d", i);
		call_result(c, &b, i < 3);
	}
}

static unsigned cancelled;
static void cancel(struct call *c, void *userdata)
{
	(void)c;
	(void)userdata;
	cancelled++;
}

/* Reports without end to whoever does not read. */
static int flood_more(sd_event_source *s, uint64_t now, void *userdata)
{
	(void)now;
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_puts(&b, "\"");
	for (unsigned i = 0; i < 65536; i++)
		buf_u8(&b, 'x');
	buf_puts(&b, "\"");
	if (cancelled)
		return 0;
	call_result(userdata, &b, true);
	sd_event_source_set_time(s, 0);
	sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
	return 0;
}

static sd_event *loop;
static void flood(struct call *c, const struct json *params, void *userdata)
{
	(void)params;
	(void)userdata;
	call_keep(c, cancel, NULL, NULL);
	sd_event_add_time(loop, NULL, CLOCK_MONOTONIC, 0, 0, flood_more, c);
}

static void quit(struct call *c, const struct json *params, void *userdata)
{
	(void)params;
	(void)userdata;
	call_result(c, NULL, false);
	sd_event_exit(loop, 0);
}

static const struct method methods[] = {
	{ "echo", echo }, { "count", count }, { "flood", flood }, { "quit", quit },
};

static void *serve(void *userdata)
{
	struct ctlserver *s = userdata;
	sd_event_loop(loop);
	ctlserver_drain(s, 1000000);
	return NULL;
}

static int take_text(const struct json *v, const char *raw, size_t len, bool last, void *userdata)
{
	(void)v;
	(void)last;
	buf_put(userdata, raw, len);
	buf_u8(userdata, ' ');
	return 0;
}

static int raw_connect(const struct storedir *dir)
{
	struct sockaddr_un sa;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	storedir_socket(dir, &sa);
	return connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -1 : fd;
}

static bool says(int fd, const char *text)
{
	char line[65536];
	size_t n = 0;
	while (n < sizeof(line) - 1) {
		ssize_t m = recv(fd, line + n, sizeof(line) - 1 - n, 0);
		if (m <= 0)
			break;
		n += (size_t)m;
		if (memchr(line, '\n', n))
			break;
	}
	line[n] = 0;
	return strstr(line, text) != NULL;
}

static void test_server(void)
{
	_cleanup_(storedir_freep) struct storedir *dir = NULL;
	_cleanup_(log_freep) struct log *log = NULL;
	_cleanup_(ctlclient_freep) struct ctlclient *c = NULL;
	struct ctlserver *s = NULL;
	struct err e = { 0 };
	struct stat st;
	pthread_t thread;
	if (storedir_open(tap_tmpdir(), false, &dir, &e) < 0 ||
	    log_new(LOG_TARGET_FILE, storedir_fd(dir), "log", &log, &e) < 0)
		tap_bail("%s", e.message);
	is_errno(ctlclient_new(dir, &c, &e), -ESRCH, "nobody serves yet: %s", e.message);
	sd_event_new(&loop);
	is_int(ctlserver_new(loop, dir, -1, methods, 4, NULL, log, &s, &e), 0, "a server");
	ok(fstatat(storedir_fd(dir), STOREDIR_SOCKET, &st, 0) == 0 &&
		   (st.st_mode & 07777) == 0600,
	   "its socket is private");
	pthread_create(&thread, NULL, serve, s);

	is_int(ctlclient_new(dir, &c, &e), 0, "a client");
	_cleanup_(buf_done) struct buf params = { 0 }, out = { 0 };
	buf_puts(&params, "{\"text\":\"hi\"}");
	is_int(ctlclient_call(c, "echo", &params, 5000000, take_text, &out, &e), 0, "a call");
	is_str(buf_cstr(&out), "\"hi\" ", "is answered");
	buf_reset(&out);
	is_int(ctlclient_call(c, "count", NULL, 5000000, take_text, &out, &e), 0, "a report");
	is_str(buf_cstr(&out), "0 1 2 3 ", "comes in order");
	is_errno(ctlclient_call(c, "nope", NULL, 5000000, NULL, NULL, &e), -ENOSYS,
		 "an unknown method: %s", e.message);

	int fd = raw_connect(dir);
	ok(send(fd, "garbage\n", 8, 0) == 8 && says(fd, "not JSON"), "garbage is answered");
	ok(send(fd, "\n\n{\"method\":\"echo\",\"id\":1}\n", 27, 0) == 27 &&
		   says(fd, "{\"result\":\"\",\"id\":1}"),
	   "and the client may go on");
	const char *two = "{\"method\":\"echo\",\"id\":1}\n{\"method\":\"echo\",\"id\":2}\n";
	ok(send(fd, two, strlen(two), 0) > 0 && says(fd, "\"id\":1"), "two requests at once");
	close(fd);

	fd = raw_connect(dir);
	static char lots[CONTROL_REQUEST_MAX + 70000];
	memset(lots, 'x', sizeof(lots));
	bool sent = true;
	for (size_t done = 0; sent && done < sizeof(lots);) {
		ssize_t n = send(fd, lots + done, sizeof(lots) - done, MSG_NOSIGNAL);
		sent = n > 0;
		done += sent ? (size_t)n : 0;
	}
	ok(says(fd, "longer than"), "a line without end is refused");
	close(fd);

	/* One client that never reads, another that works on meanwhile. */
	fd = raw_connect(dir);
	ok(send(fd, "{\"method\":\"flood\"}\n", 19, 0) == 19, "a flood begins");
	buf_reset(&out);
	is_int(ctlclient_call(c, "count", NULL, 10000000, take_text, &out, &e), 0,
	       "others are served meanwhile");
	ctlclient_call(c, "quit", NULL, 10000000, NULL, NULL, &e);
	pthread_join(thread, NULL);
	ctlserver_free(s);
	is_uint(cancelled, 1, "whoever does not read is cut off, and the method told once");
	close(fd);
	ok(faccessat(storedir_fd(dir), STOREDIR_SOCKET, F_OK, 0) < 0, "the socket goes");
	sd_event_unref(loop);
}

static void test_lock(void)
{
	_cleanup_(storedir_freep) struct storedir *x = NULL, *y = NULL;
	struct err e = { 0 };
	char path[512];
	snprintf(path, sizeof(path), "%s/a/b", tap_tmpdir());
	is_errno(storedir_open(path, false, &x, &e), -ENOENT, "no store: %s", e.message);
	is_int(storedir_open(path, true, &x, &e), 0, "a store is made");
	storedir_open(path, false, &y, &e);
	is_int(storedir_holder(y), 0, "nobody holds it");
	is_int(storedir_lock(x, &e), 0, "it is locked");
	is_errno(storedir_lock(y, &e), -EBUSY, "once only: %s", e.message);
	is_int(storedir_holder(y), getpid(), "the holder is known");
	storedir_free(TAKE_PTR(x));
	is_int(storedir_lock(y, &e), 0, "and free again");
	chmod(path, 0777);
	is_errno(storedir_open(path, false, &x, &e), -EPERM, "%s", e.message);
	chmod(path, 0700);
	snprintf(path, sizeof(path), "%s/other", tap_tmpdir());
	mkdir(path, 0700);
	int fd = open(path, O_RDONLY | O_DIRECTORY);
	close(openat(fd, "letter.txt", O_WRONLY | O_CREAT, 0600));
	close(fd);
	is_errno(storedir_open(path, true, &x, &e), -ENOTEMPTY, "%s", e.message);
}

int main(void)
{
	tap_plan(11 + 12 + 6 + 17 + 9);
	test_requests();
	test_replies();
	test_server();
	test_lock();
	return tap_done();
}
