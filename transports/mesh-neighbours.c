/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a mesh tells the choice of neighbours (neighbours.h), and what it does about it. */
#include "transports/mesh-impl.h"

#include <errno.h>
#include <string.h>

#define SETTLE (SECOND / 5)        /* devices that answer a beacon do so within that time */
#define WAYS_GAP SECOND
#define LOOK_GAP (SECOND / 2)
#define BUSY_BYTES_A_SECOND 20000u /* more is not just talk */
#define BUSY_MAX (60 * SECOND)     /* what is always busy goes as well */
#define SESSION_BUSY_MAX (1800 * SECOND)

/* ---- links that carry something ---- */

static void look_at(struct conn *c, uint64_t now)
{
	struct link_info info;
	if (now < c->counted + LOOK_GAP)
		return;
	tls_info(c->tls, &info);
	const uint64_t bytes = info.bytes_in + info.bytes_out, time = now - c->counted;
	c->busy = c->counted > 0 && time < 10 * SECOND &&
		  (bytes - c->bytes) * SECOND / time > BUSY_BYTES_A_SECOND &&
		  now < c->up + BUSY_MAX;
	c->bytes = bytes;
	c->counted = now;
}

static bool is_busy(const struct id *device, void *user)
{
	const struct mesh *m = user;
	const struct conn *c = conn_link_to(m, device, NULL);
	if (!c || c->busy)
		return c;
	return m->handler->busy && mesh_now(m) < c->up + SESSION_BUSY_MAX && m->handler->busy(device, NULL, m->user);
}

static void let_go(struct mesh *m, uint64_t now)
{
	struct id id;
	for (struct conn *c = m->conns; c; c = c->next)
		if (c->state == CONN_UP)
			look_at(c, now);
	for (unsigned i = 0; i < NEIGHBOURS_LIMIT_MAX && neighbours_surplus(m->neighbours, now, is_busy, m, &id); i++) {
		struct conn *c = conn_link_to(m, &id, NULL);
		if (c)
			conn_dismiss(c);
		else
			neighbours_ended(m->neighbours, &id, NEIGHBOUR_ENDED, now);
	}
}

/* ---- choosing ---- */

static void ask_ways(struct mesh *m, uint64_t now)
{
	_cleanup_free_ struct neighbour_way *way = NULL;
	uint32_t n = 0;
	m->ways_at = now + WAYS_GAP;
	if (m->handler->ways(&way, &n, m->user) == 0)
		neighbours_ways(m->neighbours, way, n, now);
}

static int on_choice(sd_event_source *s, uint64_t usec, void *user)
{
	struct mesh *m = user;
	const uint64_t now = mesh_now(m);
	(void)s, (void)usec;
	m->choice_at = UINT64_MAX;
	if (m->resting || m->closing)
		return 0;
	if (m->handler->ways && now >= m->ways_at)
		ask_ways(m, now);
	uint64_t next = neighbours_choose(m->neighbours, now);
	if (neighbours_links(m->neighbours, now) > 0)
		let_go(m, now);
	targets_choose(m);
	choice_soon(m, next > now ? next - now : 0);
	return 0;
}

void choice_soon(struct mesh *m, uint64_t pause)
{
	const uint64_t at = mesh_now(m) + pause;
	if (m->closing || at >= m->choice_at)
		return;
	m->choice_at = at;
	(void)sd_event_source_set_time(m->choice, at);
	(void)sd_event_source_set_enabled(m->choice, SD_EVENT_ONESHOT);
}

int choice_new(struct mesh *m, unsigned limit, struct err *e)
{
	int r = neighbours_new(identity_device(m->identity), identity_secret(m->identity), IDENTITY_SECRET_SIZE,
			       limit ? limit : NEIGHBOURS_LIMIT, &m->neighbours);
	if (r < 0)
		return err_errno(e, r, "cannot choose neighbours");
	m->choice_at = UINT64_MAX;
	r = sd_event_add_time(m->event, &m->choice, CLOCK_BOOTTIME, 0, 10000, on_choice, m);
	if (r >= 0)
		r = sd_event_source_set_enabled(m->choice, SD_EVENT_OFF);
	return r < 0 ? err_errno(e, r, "cannot choose neighbours") : 0;
}

void choice_free(struct mesh *m)
{
	sd_event_source_disable_unref(m->choice);
	neighbours_free(m->neighbours);
}

void choice_seen(struct mesh *m, const struct id *device)
{
	const uint64_t now = mesh_now(m);
	if (!neighbours_seen(m->neighbours, device, now))
		return;
	/* While there are few, everybody is dialled as he comes. */
	if (!neighbours_dense(m->neighbours))
		(void)neighbours_choose(m->neighbours, now);
	choice_soon(m, SETTLE);
}

bool choice_wants(const struct target *t)
{
	const struct mesh *m = t->mesh;
	/* Who it is has to be seen. */
	if (t->radio && id_is_zero(&t->device))
		return radio_has_room(m, false);
	/* What is at a remembered address is asked once: it may be a hub. */
	if (t->fixed && (!t->hint || !t->met || id_is_zero(&t->device) ||
			 !neighbours_nearby(m->neighbours, &t->device, mesh_now(m))))
		return true;
	return neighbours_want(m->neighbours, &t->device) != NEIGHBOUR_NO;
}

uint8_t choice_ask(const struct target *t)
{
	if (t->mesh->take_all || (t->fixed && !t->hint))
		return CONN_CARRY;
	/* One that hears this device, and is not heard, counts it like others and may refuse. */
	if (t->fixed)
		return t->why.code == -EUSERS ? CONN_NEEDED : CONN_REMEMBERED;
	switch (neighbours_want(t->mesh->neighbours, &t->device)) {
	case NEIGHBOUR_ALONE:
		return CONN_ALONE;
	case NEIGHBOUR_NEEDED:
		return CONN_NEEDED;
	case NEIGHBOUR_NO:
	case NEIGHBOUR_WANTED:
		break;
	}
	return CONN_NEIGHBOUR;
}

bool choice_takes(const struct conn *c)
{
	struct mesh *m = c->mesh;
	return m->take_all || c->ask == CONN_CARRY ||
	       (c->ask == CONN_REMEMBERED && !neighbours_nearby(m->neighbours, &c->peer, mesh_now(m))) ||
	       neighbours_takes(m->neighbours, &c->peer,
				c->ask == CONN_ALONE  ? NEIGHBOUR_ALONE :
				c->ask == CONN_NEEDED ? NEIGHBOUR_NEEDED :
							NEIGHBOUR_WANTED,
				mesh_now(m));
}

/* A fixed address leads to it. */
static bool is_fixed(const struct mesh *m, const struct id *device)
{
	for (const struct target *t = m->targets; t; t = t->next)
		if (t->fixed && !t->hint && id_equal(&t->device, device))
			return true;
	return false;
}

void choice_linked(const struct conn *c)
{
	struct mesh *m = c->mesh;
	enum neighbour_link how = NEIGHBOUR_CHOSEN;
	if (c->target)
		c->target->met = true;
	if (c->hub && c->target)
		c->target->hint = false;
	if (c->hub || (c->dialled && m->take_all) || is_fixed(m, &c->peer) || (!c->dialled && (m->take_all || c->ask == CONN_CARRY)))
		how = NEIGHBOUR_KEPT;
	else if (c->ask == CONN_REMEMBERED)
		how = NEIGHBOUR_HINTED;
	else if (!c->dialled && (c->ask == CONN_NEEDED || c->ask == CONN_ALONE))
		how = NEIGHBOUR_CLAIMED;
	(void)neighbours_linked(m->neighbours, &c->peer, how, mesh_now(m));
	choice_soon(m, 0);
}

void choice_ended(const struct conn *c, const struct err *why)
{
	struct mesh *m = c->mesh;
	const uint64_t now = mesh_now(m);
	neighbours_ended(m->neighbours, &c->peer,
			 c->let_go ? NEIGHBOUR_ENDED : why->code == -EUSERS ? NEIGHBOUR_LET_GO : NEIGHBOUR_LOST,
			 now);
	/* Whether it is still wanted; others are dialled when the loop comes round. */
	(void)neighbours_choose(m->neighbours, now);
	choice_soon(m, 0);
}

void choice_failed(const struct target *t, const struct err *why)
{
	struct mesh *m = t->mesh;
	const uint64_t now = mesh_now(m);
	if (id_is_zero(&t->device) || why->code == -EALREADY || why->code == -ELOOP)
		return;
	if (why->code == -EUSERS) {
		for (struct target *o = m->targets; o; o = o->next)
			o->met |= id_equal(&o->device, &t->device);
		neighbours_refused(m->neighbours, &t->device, now);
	} else {
		/* Another address may do. */
		for (const struct target *o = m->targets; o; o = o->next)
			if (o != t && !o->why.code && (o->due || o->dial || o->conn) && id_equal(&o->device, &t->device))
				return;
		neighbours_failed(m->neighbours, &t->device, now);
	}
	(void)neighbours_choose(m->neighbours, now);
	choice_soon(m, 0);
}

bool mesh_hears(const struct mesh *m, const struct id *device)
{
	return neighbours_nearby(m->neighbours, device, mesh_now(m));
}

void mesh_spare(struct mesh *m, const struct id *device)
{
	neighbours_spare(m->neighbours, device, mesh_now(m));
	choice_soon(m, 0);
}

bool mesh_need(struct mesh *m, const struct id *device, unsigned seconds)
{
	const uint64_t now = mesh_now(m);
	if (!neighbours_need(m->neighbours, device, now + seconds * SECOND, now))
		return false;
	(void)neighbours_choose(m->neighbours, now);
	choice_soon(m, 0);
	return true;
}
