/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/control.h"

#include <errno.h>
#include <string.h>

#include "engine/jsonw.h"

/* Nobody needs more to ask for something; a small tree also bounds the memory of a request. */
static const struct json_limits request_limits = {
	.depth = 16, .size = CONTROL_REQUEST_MAX, .values = 16384
};
static const struct json_limits reply_limits = {
	.depth = 64, .size = CONTROL_REPLY_MAX, .values = 0
};

int json_text(struct arena *a, const struct json *v, const char **ret)
{
	if (!v || v->type != JSON_STRING || memchr(v->text, 0, v->len))
		return -EINVAL;
	const char *text = arena_dup(a, v->text, v->len);
	if (!text)
		return -ENOMEM;
	*ret = text;
	return 0;
}

int json_uint(const struct json *v, uint64_t max, uint64_t *ret)
{
	uint64_t n = 0;
	if (!v || v->type != JSON_NUMBER || v->len > 20)
		return -EINVAL;
	for (size_t i = 0; i < v->len; i++) {
		if (v->text[i] < '0' || v->text[i] > '9')
			return -EINVAL;
		uint64_t d = (uint64_t)(v->text[i] - '0');
		if (n > (UINT64_MAX - d) / 10)
			return -EINVAL;
		n = n * 10 + d;
	}
	if (n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

int control_parse_request(struct arena *a, const char *line, size_t len,
			  struct control_request *ret, struct err *e)
{
	struct json *root;
	*ret = (struct control_request){ 0 };
	int r = json_parse(a, line, len, &request_limits, &root, e);
	if (r < 0) {
		err_prefix(e, "the request is not JSON");
		return r == -ENOMEM ? r : -EINVAL;
	}
	if (root->type != JSON_OBJECT)
		return err_set(e, -EINVAL, "a request is an object with \"method\"");
	const struct json *id = json_get_z(root, "id");
	if (id && (json_is_container(id) || id->end - id->offset > CONTROL_ID_MAX))
		return err_set(e, -EINVAL, "the request's id is not a short text or number");
	if (id) {
		ret->id = line + id->offset;
		ret->id_len = id->end - id->offset;
	}
	const struct json *method = json_get_z(root, "method");
	if (!method || method->type != JSON_STRING || method->len > CONTROL_METHOD_MAX ||
	    json_text(a, method, &ret->method) < 0)
		return err_set(e, -EINVAL, "a request is an object with \"method\"");
	const struct json *params = json_get_z(root, "params");
	if (params && params->type != JSON_OBJECT && params->type != JSON_NULL)
		return err_set(e, -EINVAL, "the request's params are not an object");
	ret->params = params && params->type == JSON_OBJECT ? params : NULL;
	return 0;
}

static int parse_error(struct arena *a, const struct json *error, struct control_reply *ret,
		       struct err *e)
{
	uint64_t code = 0;
	const char *message = NULL;
	if (json_uint(json_get_z(error, "code"), 4095, &code) < 0 || code == 0 ||
	    json_text(a, json_get_z(error, "message"), &message) < 0)
		return err_set(e, -EPROTO, "the daemon's answer makes no sense");
	err_set(&ret->error, -(int)code, "%s", message);
	uint64_t line = 0, column = 0;
	(void)json_uint(json_get_z(error, "line"), UINT32_MAX, &line);
	(void)json_uint(json_get_z(error, "column"), UINT32_MAX, &column);
	(void)json_uint(json_get_z(error, "offset"), UINT64_MAX, &ret->error.offset);
	ret->error.line = (uint32_t)line;
	ret->error.column = (uint32_t)column;
	return 0;
}

int control_parse_reply(struct arena *a, const char *line, size_t len, struct control_reply *ret,
			struct err *e)
{
	struct json *root;
	*ret = (struct control_reply){ 0 };
	int r = json_parse(a, line, len, &reply_limits, &root, e);
	if (r < 0)
		return err_set(e, r == -ENOMEM ? r : -EPROTO, "the daemon's answer makes no sense");
	const struct json *more = json_get_z(root, "more");
	json_uint(json_get_z(root, "id"), UINT64_MAX, &ret->id);
	ret->more = more && more->type == JSON_TRUE;
	ret->result = json_get_z(root, "result");
	if (ret->result)
		return 0;
	return parse_error(a, json_get_z(root, "error"), ret, e);
}

void control_put_request(struct buf *out, const char *method, const char *params,
			 size_t params_len, uint64_t id)
{
	struct jsonw w;
	jsonw_init(&w, out, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "method");
	jsonw_string(&w, method);
	if (params) {
		jsonw_key(&w, "params");
		jsonw_raw(&w, params, params_len);
	}
	jsonw_key(&w, "id");
	jsonw_uint(&w, id);
	jsonw_object_end(&w);
	jsonw_end(&w);
	buf_u8(out, '\n');
}

static void put_tail(struct jsonw *w, struct buf *out, const char *id, size_t id_len)
{
	jsonw_key(w, "id");
	if (id)
		jsonw_raw(w, id, id_len);
	else
		jsonw_null(w);
	jsonw_object_end(w);
	jsonw_end(w);
	buf_u8(out, '\n');
}

void control_put_result(struct buf *out, const char *id, size_t id_len, const char *result,
			size_t result_len, bool more)
{
	struct jsonw w;
	jsonw_init(&w, out, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "result");
	jsonw_raw(&w, result ? result : "{}", result ? result_len : 2);
	if (more) {
		jsonw_key(&w, "more");
		jsonw_bool(&w, true);
	}
	put_tail(&w, out, id, id_len);
}

void control_put_error(struct buf *out, const char *id, size_t id_len, const struct err *e)
{
	struct jsonw w;
	int code = e->code < 0 ? -e->code : EIO;
	jsonw_init(&w, out, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "error");
	jsonw_object_begin(&w);
	jsonw_key(&w, "code");
	jsonw_int(&w, code);
	jsonw_key(&w, "name");
	jsonw_string(&w, strerrorname_np(code));
	jsonw_key(&w, "message");
	jsonw_string(&w, e->message);
	if (e->line) {
		jsonw_key(&w, "line");
		jsonw_uint(&w, e->line);
		jsonw_key(&w, "column");
		jsonw_uint(&w, e->column);
		jsonw_key(&w, "offset");
		jsonw_uint(&w, e->offset);
	}
	jsonw_object_end(&w);
	put_tail(&w, out, id, id_len);
}

int param_text(struct arena *a, const struct json *params, const char *name, const char **ret,
	       struct err *e)
{
	const struct json *v = params ? json_get_z(params, name) : NULL;
	if (!v || v->type == JSON_NULL)
		return 0;
	int r = json_text(a, v, ret);
	return r < 0 ? err_set(e, r, "parameter %s is not a text", name) : 0;
}

int param_uint(const struct json *params, const char *name, uint64_t max, uint64_t *ret,
	       struct err *e)
{
	const struct json *v = params ? json_get_z(params, name) : NULL;
	if (!v || v->type == JSON_NULL)
		return 0;
	if (json_uint(v, max, ret) < 0)
		return err_set(e, -EINVAL, "parameter %s is not a whole number up to %llu", name,
			       (unsigned long long)max);
	return 0;
}

int param_bool(const struct json *params, const char *name, bool *ret, struct err *e)
{
	const struct json *v = params ? json_get_z(params, name) : NULL;
	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_TRUE && v->type != JSON_FALSE)
		return err_set(e, -EINVAL, "parameter %s is neither true nor false", name);
	*ret = v->type == JSON_TRUE;
	return 0;
}

int param_texts(struct arena *a, const struct json *params, const char *name, uint32_t max,
		const char ***ret, uint32_t *ret_n, struct err *e)
{
	const struct json *v = params ? json_get_z(params, name) : NULL;
	if (!v || v->type == JSON_NULL)
		return 0;
	if (v->type != JSON_ARRAY || v->count > max)
		return err_set(e, -EINVAL, "parameter %s is not a list of up to %u texts", name, max);
	const char **list = arena_array(a, v->count + 1, sizeof(*list));
	if (!list)
		return err_errno(e, -ENOMEM, "cannot read parameter %s", name);
	uint32_t n = 0;
	for (const struct json *c = v->first; c; c = c->next) {
		int r = json_text(a, c, &list[n++]);
		if (r < 0)
			return err_set(e, r, "parameter %s is not a list of texts", name);
	}
	*ret = list;
	*ret_n = n;
	return 0;
}
