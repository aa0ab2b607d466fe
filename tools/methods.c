/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control protocol's methods that answer at once; shoal-control(7) lists them all. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "engine/jsonw.h"
#include "tools/control.h"
#include "tools/daemon.h"
#include "tools/devices.h"
#include "transports/keyfile.h"
#include "transports/tcp.h"

static void answer(struct call *c, struct daemon *d, void (*report)(struct daemon *, struct buf *))
{
	_cleanup_(buf_done) struct buf b = { 0 };
	report(d, &b);
	call_result(c, &b, false);
}

static void method_status(struct call *c, const struct json *params, void *userdata)
{
	(void)params;
	answer(c, userdata, report_status);
}

static void method_peers(struct call *c, const struct json *params, void *userdata)
{
	(void)params;
	answer(c, userdata, report_peers);
}

static void method_devices(struct call *c, const struct json *params, void *userdata)
{
	(void)params;
	answer(c, userdata, report_devices);
}

static int read_address(struct call *c, const struct json *params, struct token_address *ret,
			struct err *e)
{
	const char *text = "";
	int r = param_text(call_arena(c), params, "address", &text, e);
	return r < 0 ? r : token_address_parse(text, SHOAL_PORT, ret, e);
}

static void answer_address(struct call *c, const char *address)
{
	_cleanup_(buf_done) struct buf b = { 0 };
	struct jsonw w;
	jsonw_init(&w, &b, 0);
	jsonw_object_begin(&w);
	jsonw_key(&w, "address");
	jsonw_string(&w, address);
	jsonw_object_end(&w);
	jsonw_end(&w);
	call_result(c, &b, false);
}

static void method_connect(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	char text[ADDRESS_LABEL_SIZE];
	struct token_address a;
	struct err e = { 0 };
	int r = read_address(c, params, &a, &e);
	if (r == 0) {
		r = mesh_connect(d->mesh, &a, &e);
		if (r == -EEXIST)
			r = 0;
	}
	if (r == 0) {
		r = addresses_add(d->replica, report_address(&a, text), false);
		if (r < 0)
			err_errno(&e, r, "cannot remember %s", text);
		else
			flusher_kick(d->flusher);
	}
	if (r < 0)
		call_error(c, &e);
	else
		answer_address(c, text);
}

static void method_disconnect(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	char text[ADDRESS_LABEL_SIZE];
	struct token_address a;
	struct err e = { 0 };
	int r = read_address(c, params, &a, &e);
	if (r < 0) {
		call_error(c, &e);
		return;
	}
	int known = addresses_remove(d->replica, report_address(&a, text));
	r = mesh_disconnect(d->mesh, &a);
	if (r < 0 && known < 0)
		call_fail(c, -ENOENT, "%s is not one of the fixed addresses; `shoal status` lists them",
			  text);
	else
		answer_address(c, text);
}

static void method_invite(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct err e = { 0 };
	const char *text = "member";
	uint64_t expires = 3600, uses = 1;
	enum role role = ROLE_MEMBER;
	struct token token;
	int r = param_text(call_arena(c), params, "role", &text, &e);
	if (r == 0)
		r = param_uint(params, "expires_s", 366 * 86400, &expires, &e);
	if (r == 0)
		r = param_uint(params, "uses", INVITE_USES_MAX, &uses, &e);
	if (r == 0 && role_parse(text, &role) < 0)
		r = err_set(&e, -EINVAL, "there is no role \"%.40s\": member or admin", text);
	if (r == 0 && (role == ROLE_READER || role == ROLE_COURIER))
		r = err_set(&e, -EOPNOTSUPP, "this version does not enforce the role %s yet, so it "
					     "does not give it: invite a member or an admin", text);
	if (r == 0)
		r = mesh_invite(d->mesh, role, (int64_t)expires, (unsigned)uses, &token, &e);
	if (r < 0) {
		call_error(c, &e);
		return;
	}
	_cleanup_(keyfile_wipe) struct buf code = { 0 }, b = { 0 };
	r = token_encode(&token, &code, &e);
	token_wipe(&token);
	if (r < 0) {
		call_error(c, &e);
		return;
	}
	buf_puts(&b, "{\"token\":");
	json_write_string(&b, (const char *)code.data, code.len, JSON_ESCAPE_MINIMAL);
	buf_puts(&b, "}");
	call_result(c, &b, false);
}

static void method_mount(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *dir = "", *options = "";
	struct err e = { 0 };
	int r = param_text(call_arena(c), params, "dir", &dir, &e);
	if (r == 0)
		r = param_text(call_arena(c), params, "options", &options, &e);
	if (r == 0 && *dir != '/')
		r = err_set(&e, -EINVAL, "the mount point has to be an absolute path");
	if (r == 0 && !(d->fs && strcmp(d->mount_dir, dir) == 0))
		r = daemon_mount(d, dir, options, &e);
	if (r < 0)
		call_error(c, &e);
	else
		call_result(c, NULL, false);
}

static void method_umount(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct err e = { 0 };
	(void)params;
	if (daemon_umount(d, false, &e) < 0)
		call_error(c, &e);
	else if (d->mount_bound)
		daemon_stop(d, c);
	else
		call_result(c, NULL, false);
}

static void method_stop(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	struct err e = { 0 };
	(void)params;
	/* In use: better said than cut off. A signal does not ask. */
	if (daemon_umount(d, false, &e) < 0) {
		call_error(c, &e);
		return;
	}
	log_info(d->log, "told to end");
	daemon_stop(d, c);
}

static void method_upgrade(struct call *c, const struct json *params, void *userdata)
{
	const char *program = NULL;
	struct err e = { 0 };
	int r = param_text(call_arena(c), params, "program", &program, &e);
	if (r == 0)
		r = daemon_upgrade(userdata, program, c, &e);
	if (r < 0)
		call_error(c, &e);
}

static void method_reload(struct call *c, const struct json *params, void *userdata)
{
	struct err e = { 0 };
	(void)params;
	if (daemon_reload(userdata, &e) < 0)
		call_error(c, &e);
	else
		call_result(c, NULL, false);
}

static void method_log_level(struct call *c, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *text = NULL;
	struct err e = { 0 };
	enum log_level level;
	int r = param_text(call_arena(c), params, "level", &text, &e);
	if (r == 0 && text) {
		r = log_level_parse(text, &level);
		if (r < 0)
			err_set(&e, r, "there is no level \"%.40s\": error, warning, info or debug",
				text);
		else
			log_set_level(d->log, level);
	}
	if (r < 0) {
		call_error(c, &e);
		return;
	}
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_putf(&b, "{\"level\":\"%s\"}", log_level_name(log_level(d->log)));
	call_result(c, &b, false);
}

const struct method daemon_methods[] = {
	{ "blame", method_blame },
	{ "cat", method_cat },
	{ "conflicts", method_conflicts },
	{ "connect", method_connect },
	{ "devices", method_devices },
	{ "disconnect", method_disconnect },
	{ "evict", method_evict },
	{ "fetch", method_fetch },
	{ "graph", method_graph },
	{ "index", method_index },
	{ "indexes", method_indexes },
	{ "invite", method_invite },
	{ "log", method_log },
	{ "log-level", method_log_level },
	{ "mkdir", method_mkdir },
	{ "mount", method_mount },
	{ "peers", method_peers },
	{ "query", method_query },
	{ "reload", method_reload },
	{ "resolve", method_resolve },
	{ "restore", method_restore },
	{ "status", method_status },
	{ "stop", method_stop },
	{ "subscribe", method_subscribe },
	{ "subscriptions", method_subscriptions },
	{ "sync", method_sync },
	{ "txn", method_txn },
	{ "type", method_type },
	{ "umount", method_umount },
	{ "unsubscribe", method_unsubscribe },
	{ "upgrade", method_upgrade },
	{ "verify", method_verify },
	{ "wait", method_wait },
	{ "watch", method_watch },
};
const unsigned daemon_n_methods = sizeof(daemon_methods) / sizeof(daemon_methods[0]);
