/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who has a file durably (user.shoal.seen_by), by what devices said to `wait` as well. */
#include <errno.h>
#include <string.h>

#include "tools/daemon.h"
#include "tools/devices.h"

struct seen {
	struct daemon *d;
	const struct cut *cut;
	bool contents;
	struct buf *out;
};

/* Of a device that lacks contents of some files it is not known of which: it would have to be asked. */
static int add_seen(const struct device *v, void *userdata)
{
	struct seen *s = userdata;
	if (id_equal(&v->id, identity_device(s->d->identity)) || !cut_held(s->cut, &v->id) ||
	    (s->contents && replica_peer_partial(s->d->replica, &v->id)))
		return 0;
	if (s->out->len > 0)
		buf_u8(s->out, '\n');
	buf_puts(s->out, v->name);
	return 0;
}

int seen_report(void *daemon, const struct cut *cut, bool contents, struct buf *out)
{
	struct seen s = { daemon, cut, contents, out };
	int r = devices_each(s.d->replica, add_seen, &s);
	return r < 0 ? r : buf_failed(out) ? -ENOMEM : 0;
}
