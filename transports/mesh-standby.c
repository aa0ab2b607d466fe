/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A second connection
 * ===================
 *
 * While the link to a device carries a session, one more connection to that device may rest: it is
 * authenticated and says nothing, the kernel's probes aside. It is worth having when it goes another way:
 * over another interface of this device, or, less so, over the same one by the other family of
 * addresses. The dialler judges that by its own interfaces before the handshake; who accepts refuses
 * only what would take the place of one that is worth more to itself. So the two never put each other's off in
 * turn: each new one is better to one side and no worse to the other.
 *
 * It takes over
 *
 *   - when the link ends, for whatever reason;
 *   - when what was sent over the link is not acknowledged for about 0.4 s (tls_haste), or three seconds if it costs more
 *     than the link: a network that is busy is still the better way than Bluetooth;
 *   - when the link is found to be slow (engine/pace.h), and the other way was not within an hour; whatever else speaks for
 *     the link. So each way is left once an hour at most for that, and of two slow ways neither;
 *   - when it costs less than the link, or has less than half its round trip and 10 ms, three seconds after it came.
 *     The device with the smaller id decides about these two, so that the two agree.
 *
 * The call is one byte, 1, which the other side answers with the same. Whoever has seen the other's byte
 * drops the link that it had and begins a session on this one. So a standby that is dead itself never
 * takes over from a link that only paused, and it does not matter if both call at once. Without a link
 * an answer has 1.5 s, then the device is dialled as if there were none.
 *
 * The new session tells what it holds durably, like any other, so nothing is lost, and nothing that was
 * acknowledged is sent again.
 */
#include "transports/mesh-impl.h"

#include <errno.h>
#include <string.h>
#include <syslog.h>

#define ANSWER_WITHIN (3 * SECOND / 2)
#define BETTER_AFTER (3 * SECOND)
#define PATIENCE (3 * SECOND)
#define BETTER_BY_US 10000 /* a round trip that is so much less than half the other */

static unsigned worth(const struct mesh *m, const char *link, const char *other)
{
	unsigned via = ifaces_index(m->ifaces, link), via_other = ifaces_index(m->ifaces, other);
	if (via != via_other)
		return 2;
	return !strchr(link, ':') != !strchr(other, ':');
}

unsigned standby_worth(const struct mesh *m, const struct conn *link, const struct link_info *other)
{
	struct link_info info;
	tls_info(link->tls, &info);
	return worth(m, info.local, other->local);
}

static unsigned conn_worth(const struct mesh *m, const struct conn *link, const struct conn *other)
{
	struct link_info info;
	tls_info(other->tls, &info);
	return standby_worth(m, link, &info);
}

struct conn *standby_of(const struct mesh *m, const struct id *device)
{
	for (struct conn *c = m->conns; c; c = c->next)
		if (c->state == CONN_REST && id_equal(&c->peer, device))
			return c;
	return NULL;
}

bool standby_wanted(const struct mesh *m, const struct id *device)
{
	const struct conn *link = conn_link_to(m, device, NULL), *rest = standby_of(m, device);
	return link && (!rest || conn_worth(m, link, rest) < 2);
}

bool standby_fits(const struct mesh *m, const struct id *device, const struct link_info *info)
{
	const struct conn *link = conn_link_to(m, device, NULL), *rest = standby_of(m, device);
	return link && standby_worth(m, link, info) > (rest ? conn_worth(m, link, rest) : 0);
}

bool standby_refused(const struct conn *c)
{
	const struct mesh *m = c->mesh;
	const struct conn *link = conn_link_to(m, &c->peer, c), *rest = standby_of(m, &c->peer);
	/* Both ask at once: the smaller's stays. */
	for (const struct conn *o = m->conns; o; o = o->next)
		if (o->state == CONN_GREETING && id_equal(&o->peer, &c->peer) &&
		    id_cmp(identity_device(m->identity), &c->peer) < 0)
			return true;
	return rest && conn_worth(m, link, rest) > conn_worth(m, link, c);
}

/* ---- taking over ---- */

static int on_no_answer(sd_event_source *s, uint64_t usec, void *user)
{
	struct conn *c = user;
	struct err why = { 0 };
	(void)s, (void)usec;
	if (conn_link_to(c->mesh, &c->peer, NULL))
		return 0; /* it went on after all, and this one may still answer */
	err_set(&why, -ETIMEDOUT, "the peer does not answer on the second connection either");
	conn_end(c, &why);
	return 0;
}

static int timer(struct conn *c, uint64_t usec, sd_event_time_handler_t fn)
{
	c->timer = sd_event_source_disable_unref(c->timer);
	return sd_event_add_time_relative(c->mesh->event, &c->timer, CLOCK_BOOTTIME, usec, SECOND / 10,
					  fn, c);
}

void standby_call(struct conn *c, const struct conn *link, enum chosen chosen)
{
	if (!c->called) {
		c->chosen = chosen;
		c->before = link ? way_kind(link) : NULL;
		(void)link_write(tls_link(c->tls), &(uint8_t){ CONN_CARRY }, 1);
	}
	c->called = true;
	if (timer(c, ANSWER_WITHIN, on_no_answer) < 0) {
		struct err why = { 0 };
		err_set(&why, -ENOMEM, "out of memory");
		conn_end(c, &why);
	}
}

/* Why it is; CHOSEN_FIRST: it is not. */
static enum chosen better(const struct conn *link, const struct conn *rest)
{
	struct link_info l, r;
	tls_info(link->tls, &l);
	tls_info(rest->tls, &r);
	bool slow = way_is_slow(link);
	if (slow != way_is_slow(rest))
		return slow ? CHOSEN_SLOW : CHOSEN_FIRST;
	if (l.cost != r.cost)
		return r.cost < l.cost ? CHOSEN_CHEAPER : CHOSEN_FIRST;
	/* An idle link's estimate is that of the handshake, in which the first packet took long. */
	const bool closer = r.rtt_least_us && 2 * (uint64_t)r.rtt_least_us + BETTER_BY_US < l.rtt_least_us;
	return closer ? CHOSEN_CLOSER : CHOSEN_FIRST;
}

static int on_settled(sd_event_source *s, uint64_t usec, void *user)
{
	struct conn *c = user;
	const struct conn *link = conn_link_to(c->mesh, &c->peer, NULL);
	(void)s, (void)usec;
	const enum chosen why = link ? better(link, c) : CHOSEN_FIRST;
	if (why != CHOSEN_FIRST)
		standby_call(c, link, why);
	return 0;
}

void standby_paced(struct conn *link)
{
	struct mesh *m = link->mesh;
	struct conn *c = standby_of(m, &link->peer);
	if (c && !c->called && link->state == CONN_UP && id_cmp(identity_device(m->identity), &c->peer) < 0 &&
	    better(link, c) != CHOSEN_FIRST) {
		mesh_note(m, LOG_INFO, "%s: the link is slow, calling the standby", tls_link(link->tls)->name);
		standby_call(c, link, CHOSEN_SLOW);
	}
}

static void on_called(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct conn *c = user;
	if (c->state != CONN_REST)
		return;
	if (data[0] != CONN_CARRY) {
		struct err why = { 0 };
		err_set(&why, -EPROTO, "the peer says something on a connection that rests");
		conn_end(c, &why);
		return;
	}
	if (!c->called) {
		const struct conn *link = conn_link_to(c->mesh, &c->peer, NULL);
		const enum chosen why = link ? better(link, c) : CHOSEN_ENDED;
		c->chosen = why == CHOSEN_FIRST ? CHOSEN_PEER : why;
		c->before = link ? way_kind(link) : NULL;
		(void)link_write(l, &(uint8_t){ CONN_CARRY }, 1);
	}
	conn_up(c);
	/* What came in the same record is the link's user's already. */
	if (len > 1 && c->state == CONN_UP && l->handler)
		l->handler->received(l, data + 1, len - 1, l->user);
}

static const struct link_handler rest_handler = { .received = on_called };

void standby_begin(struct conn *c, const uint8_t *data, size_t len)
{
	struct mesh *m = c->mesh;
	struct conn *old = standby_of(m, &c->peer), *link = conn_link_to(m, &c->peer, NULL);
	struct err why = { 0 };
	char text[ADDRESS_TEXT];
	err_set(&why, -ECONNRESET, "replaced by another connection");
	c->state = CONN_REST;
	c->timer = sd_event_source_disable_unref(c->timer);
	if (old)
		conn_end(old, &why);
	mesh_note(m, LOG_INFO, "%s: standby up, %s %s", tls_link(c->tls)->name,
		  c->dialled ? "dialled" : "from", address_text(&c->remote, text));
	link_handle(tls_link(c->tls), &rest_handler, c);
	if (!link) {
		standby_call(c, NULL, CHOSEN_ENDED); /* it went meanwhile */
	} else {
		tls_haste(link->tls, true);
		if (id_cmp(identity_device(m->identity), &c->peer) < 0)
			(void)timer(c, BETTER_AFTER, on_settled);
	}
	if (len > 0 && c->state == CONN_REST)
		on_called(tls_link(c->tls), data, len, c);
}

/* The link is silent for so long that even a dearer one is better. */
static bool patience_ends(struct conn *link, const struct conn *rest)
{
	struct link_info l, r;
	const uint64_t now = mesh_now(link->mesh);
	tls_info(link->tls, &l);
	tls_info(rest->tls, &r);
	/* It is said several times a second. */
	if (now - link->stall_said > SECOND)
		link->stall_since = now;
	link->stall_said = now;
	return r.cost <= l.cost || now - link->stall_since >= PATIENCE;
}

void standby_stalled(struct conn *link)
{
	struct mesh *m = link->mesh;
	struct conn *c = link->state == CONN_UP ? standby_of(m, &link->peer) : NULL;
	if (!c) {
		tls_haste(link->tls, false);
	} else if (patience_ends(link, c) && !c->called) {
		mesh_note(m, LOG_INFO, "%s: no answer over the link, calling the standby",
			  tls_link(link->tls)->name);
		standby_call(c, link, CHOSEN_SILENT);
	}
}

void mesh_paced(struct mesh *m, const struct id *device, bool slow)
{
	struct conn *link = conn_link_to(m, device, NULL);
	if (!link)
		return;
	way_note(link, slow);
	if (slow)
		standby_paced(link);
}

bool mesh_standby(struct mesh *m, const struct id *device, struct link_info *ret)
{
	const struct conn *c = standby_of(m, device);
	if (c)
		tls_info(c->tls, ret);
	return c != NULL;
}
