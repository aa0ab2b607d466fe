/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/indexkey.h"

#include <errno.h>
#include <math.h>

#include "engine/jsonnum.h"
#include "engine/jsonstyle.h"

static void put_number(struct buf *b, double d, uint16_t rest)
{
	const uint64_t sign = UINT64_C(1) << 63;
	uint64_t bits;
	d = d == 0 ? 0 : d; /* -0 is 0 */
	memcpy(&bits, &d, sizeof(bits));
	buf_u8(b, INDEXKEY_NUMBER);
	buf_u64(b, bits & sign ? ~bits : bits | sign);
	buf_u16(b, rest);
}

void indexkey_integer(struct buf *b, int64_t v)
{
	double d = (double)v;
	if (d >= 0x1p63 || (int64_t)d > v)
		d = nextafter(d, -INFINITY);
	put_number(b, d, (uint16_t)(v - (int64_t)d));
}

void indexkey_real(struct buf *b, double v)
{
	put_number(b, v, 0);
}

static void put_bytes(struct buf *b, const char *text, size_t len)
{
	for (size_t i = 0; i < len;) {
		const char *nul = memchr(text + i, 0, len - i);
		size_t n = nul ? (size_t)(nul - text) - i : len - i;
		buf_put(b, text + i, n);
		if (nul)
			buf_u16(b, 0x00ff);
		i += n + (nul != NULL);
	}
}

void indexkey_prefix(struct buf *b, const char *text, size_t len)
{
	buf_u8(b, INDEXKEY_TEXT);
	put_bytes(b, text, len < INDEXKEY_TEXT_MAX ? len : INDEXKEY_TEXT_MAX);
}

bool indexkey_text(struct buf *b, const char *text, size_t len)
{
	bool cut = len > INDEXKEY_TEXT_MAX;
	indexkey_prefix(b, text, len);
	buf_u16(b, cut);
	return cut;
}

static int put_container(struct buf *b, const struct json *v)
{
	_cleanup_(buf_done) struct buf text = { 0 };
	/* Nobody else looks at how the tree was laid out. */
	json_style_write_compact((struct json *)(uintptr_t)v, &text);
	return buf_failed(&text) ? -ENOMEM : indexkey_text(b, (const char *)text.data, text.len);
}

static int put_decimal(struct buf *b, const struct json *v)
{
	int64_t i;
	double d;
	int rc = json_number_sql(v->text, v->len, &i, &d);
	if (rc == JSON_NUMBER_INTEGER)
		indexkey_integer(b, i);
	else if (rc == JSON_NUMBER_DOUBLE)
		indexkey_real(b, d);
	else if (rc == JSON_NUMBER_LEXEME)
		return indexkey_text(b, v->text, v->len);
	return rc < 0 ? rc : 0;
}

int indexkey_json(struct buf *b, const struct json *v)
{
	int rc = 0;
	switch (v ? (enum json_type)v->type : JSON_NULL) {
	case JSON_NULL:
		buf_u8(b, INDEXKEY_NULL);
		break;
	case JSON_FALSE:
	case JSON_TRUE:
		indexkey_integer(b, v->type == JSON_TRUE);
		break;
	case JSON_NUMBER:
		rc = put_decimal(b, v);
		break;
	case JSON_STRING:
		rc = indexkey_text(b, v->text, v->len);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		rc = put_container(b, v);
		break;
	}
	return buf_failed(b) ? -ENOMEM : rc;
}
