/* SPDX-License-Identifier: GPL-2.0-or-later */
/* `mkdir`: a directory, with those above it that are missing. */
#include <errno.h>
#include <string.h>

#include "tools/control.h"
#include "tools/daemon.h"

#define MODE 0755

/* Each name on the way is looked up, or made. */
static int make(struct replica *r, const char *path, uint32_t *made, struct err *e)
{
	struct attr at;
	int code = path_resolve(r, "", &at, e);
	for (const char *p = path + strspn(path, "/"); code == 0 && *p;) {
		const size_t n = strcspn(p, "/");
		const struct id parent = at.id;
		code = replica_lookup(r, &parent, p, n, &at);
		if (code == -ENOENT) {
			code = replica_mkdir(r, &parent, p, n, MODE, &at);
			*made += code == 0;
		}
		if (code < 0)
			return err_errno(e, code, "cannot make the directory \"%.*s\" of \"%.100s\"",
					 (int)(n < 60 ? n : 60), p, path);
		if (at.kind != NODE_DIR)
			return err_set(e, -ENOTDIR, "\"%.120s\" cannot be a directory: there is something else of the "
						    "name \"%.*s\"", path, (int)(n < 60 ? n : 60), p);
		p += n;
		p += strspn(p, "/");
	}
	return code;
}

void method_mkdir(struct call *call, const struct json *params, void *userdata)
{
	struct daemon *d = userdata;
	const char *path = "";
	struct err e = { 0 };
	uint32_t made = 0;
	int r = param_text(call_arena(call), params, "path", &path, &e);
	if (r == 0) {
		daemon_settle(d);
		r = make(d->replica, path, &made, &e);
	}
	if (r < 0) {
		call_error(call, &e);
		return;
	}
	_cleanup_(buf_done) struct buf b = { 0 };
	buf_putf(&b, "{\"made\":%u}", made);
	call_result(call, &b, false);
}
