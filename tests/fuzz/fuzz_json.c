/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A text is refused with a place, or comes back: written in its own style and parsed again it
 * is the same, and writing that gives the same bytes. Styles survive their encoding. */
#include <errno.h>
#include <string.h>

#include "engine/json.h"
#include "engine/jsonstyle.h"
#include "tests/fuzz/replay.h"

const char *const fuzz_seed_data = "JSONTestSuite/test_parsing";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf once = { 0 }, twice = { 0 }, code = { 0 };
	const char *text = (const char *)data;
	struct json *root = NULL, *again = NULL;
	struct json_style style, style_again;
	struct err e = { 0 };
	int r = json_parse(&a, text, len, NULL, &root, &e);
	if (r < 0) {
		FUZZ_CHECK(e.code == r && e.line > 0 && e.column > 0 && e.offset <= len);
		FUZZ_CHECK(!root && e.message[0] && memchr(e.message, 0, sizeof(e.message)));
		return 0;
	}
	json_style_detect(root, text, len, &style);
	json_style_encode(&style, &code);
	FUZZ_CHECK(json_style_decode(code.data, code.len, &style_again) == 0);
	json_style_write(root, &style, &once);
	json_style_write(root, &style_again, &twice);
	FUZZ_CHECK(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
	FUZZ_CHECK(json_parse(&a, (char *)once.data, once.len, NULL, &again, NULL) == 0);
	FUZZ_CHECK(json_equal(root, again) && json_equal(again, root));
	buf_reset(&twice);
	json_style_write(again, &style, &twice);
	FUZZ_CHECK(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
	return 0;
}
