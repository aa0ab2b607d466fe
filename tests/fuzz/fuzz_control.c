/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Any bytes as a line of the control protocol, as settings, and as mountinfo. */
#include <string.h>

#include "tests/fuzz/replay.h"
#include "tools/config.h"
#include "tools/control.h"
#include "tools/mounts.h"

static int see_mount(const struct mount_entry *m, void *userdata)
{
	*(size_t *)userdata += strlen(m->dir) + strlen(m->source);
	return 0;
}

static void settings(const char *text, size_t len)
{
	struct config c = { 0 };
	struct err e = { 0 };
	if (config_parse(text, len, &c, &e) < 0) {
		FUZZ_CHECK(e.message[0]);
		return;
	}
	/* What is accepted stays acceptable, and means what was asked, when it is changed. */
	_cleanup_(buf_done) struct buf b = { 0 };
	FUZZ_CHECK(config_edit(text, len, CONFIG_LOG_LEVEL, "debug", &b, &e) == 0);
	struct config d = { 0 };
	FUZZ_CHECK(b.len > CONFIG_SIZE_MAX ||
		   config_parse((const char *)b.data, b.len, &d, &e) == 0);
	FUZZ_CHECK(b.len > CONFIG_SIZE_MAX ||
		   strcmp(config_text(&d, CONFIG_LOG_LEVEL), "debug") == 0);
	FUZZ_CHECK(b.len > CONFIG_SIZE_MAX || strcmp(config_text(&d, CONFIG_LISTEN),
						     config_text(&c, CONFIG_LISTEN)) == 0);
	config_done(&c);
	config_done(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct control_request q;
	struct control_reply reply;
	struct err e = { 0 };
	const char *text = (const char *)data;
	size_t sum = 0;
	if (!data)
		text = "";
	if (control_parse_request(&a, text, len, &q, &e) == 0) {
		const char *t = NULL, **l = NULL;
		uint64_t n = 0;
		uint32_t n_list = 0;
		FUZZ_CHECK(q.method && (!q.id || q.id_len <= CONTROL_ID_MAX));
		param_text(&a, q.params, "a", &t, &e);
		param_uint(q.params, "a", 10, &n, &e);
		FUZZ_CHECK(n <= 10);
		param_texts(&a, q.params, "a", 3, &l, &n_list, &e);
		FUZZ_CHECK(n_list <= 3);
		/* The answer carries the id and is itself a good line. */
		_cleanup_(buf_done) struct buf b = { 0 };
		control_put_result(&b, q.id, q.id_len, NULL, 0, true);
		FUZZ_CHECK(control_parse_reply(&a, (const char *)b.data, b.len - 1, &reply, &e) == 0);
	} else {
		FUZZ_CHECK(e.message[0]);
	}
	if (control_parse_reply(&a, text, len, &reply, &e) == 0)
		FUZZ_CHECK(reply.result || reply.error.code < 0);
	settings(text, len);
	mounts_parse(text, len, see_mount, &sum);
	return 0;
}
