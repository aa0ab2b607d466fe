/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/replica-live.h"

#include "engine/replica-impl.h"

bool replica_has(struct replica *r, const struct id *scope, struct dot d)
{
	pthread_mutex_lock(&r->scopes_lock);
	const struct scope *s = scope_get(r, scope, false);
	const bool has = s && vv_has(&s->have, d);
	pthread_mutex_unlock(&r->scopes_lock);
	return has;
}
