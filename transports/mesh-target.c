/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The addresses that are dialled: fixed ones, and those that discovery found. When, and how many. */
#include "transports/mesh-impl.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <string.h>

#define DIAL_TIMEOUT (10 * SECOND)
#define BACKOFF_MIN SECOND
#define BACKOFF_MAX (60 * SECOND)
#define SELF_PAUSE (600 * SECOND)  /* an address that turned out to be ours */
#define YIELD (3 * SECOND / 2)     /* the larger id lets the smaller dial first */
#define SPARE_PAUSE SECOND         /* while another address of the device is tried */
#define SPARE_AFTER (2 * SECOND)   /* a second way is looked for when the first has settled */
#define REST_PAUSE (60 * SECOND)   /* should nobody say that the machine is awake */
#define FOUND_FORGET (45 * SECOND) /* a found address that no beacon confirms */
#define RADIO_TIMEOUT (20 * SECOND)
#define RADIO_YIELD (10 * SECOND)   /* who is called needs a scan to hear who is to call */
#define RADIO_FORGET (180 * SECOND) /* scans may be two minutes apart */
#define FOUND_PER_DEVICE 4
#define FOUND_MAX (2 * NEIGHBOURS_SEEN_MAX) /* most have two addresses */

/* ---- when targets are dialled ---- */

void target_plan(struct target *t, uint64_t pause)
{
	if (t->mesh->resting && pause < REST_PAUSE)
		pause = REST_PAUSE;
	t->due = mesh_now(t->mesh) + pause;
	(void)sd_event_source_set_time(t->timer, t->due);
	(void)sd_event_source_set_enabled(t->timer, SD_EVENT_ONESHOT);
}

static void target_unplan(struct target *t)
{
	t->due = 0;
	(void)sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
}

static uint64_t jitter(uint64_t pause)
{
	uint32_t v = 0;
	(void)gnutls_rnd(GNUTLS_RND_NONCE, &v, sizeof(v));
	return pause * 3 / 4 + pause / 2 * (v % 1024) / 1024;
}

/* Of two that know of each other this one dials first, and the other after a while. */
static uint64_t yield(const struct target *t)
{
	if (t->radio)
		return radio_first(t) ? 0 : RADIO_YIELD;
	return id_cmp(identity_device(t->mesh->identity), &t->device) < 0 ? 0 : YIELD;
}

static bool is_forgotten(const struct target *t)
{
	return !t->fixed && mesh_now(t->mesh) > t->heard + (t->radio ? RADIO_FORGET : FOUND_FORGET);
}

/* It would be a second way to a device that has a link. */
static bool is_spare(const struct target *t)
{
	return !t->useless && standby_wanted(t->mesh, &t->device) && (!t->radio || radio_has_room(t->mesh, true));
}

/* Nothing needs it: the device has a link, and what else it may have, or is not wanted. */
static bool is_idle(const struct target *t)
{
	return conn_link_to(t->mesh, &t->device, NULL) ? !is_spare(t) : !choice_wants(t);
}

/* A handshake through another address of the same device is under way. */
static bool tried_elsewhere(const struct target *t)
{
	if (id_is_zero(&t->device))
		return false;
	for (const struct target *o = t->mesh->targets; o; o = o->next)
		if (o != t && o->conn && o->conn->state < CONN_REST && id_equal(&o->device, &t->device))
			return true;
	return false;
}

void target_failed(struct target *t, const struct err *why)
{
	t->why = *why;
	choice_failed(t, why);
	if (why->code == -EUSERS && !t->fixed) {
		/* It is there and has enough. To be asked again, perhaps with a claim. */
		t->backoff = 0;
		if (choice_wants(t))
			target_plan(t, jitter(SECOND));
		return;
	}
	t->backoff = t->backoff ? t->backoff * 2 : BACKOFF_MIN;
	if (t->backoff > BACKOFF_MAX)
		t->backoff = BACKOFF_MAX;
	target_plan(t, why->code == -ELOOP ? SELF_PAUSE : jitter(t->backoff));
}

void targets_rest(struct mesh *m, const struct id *device)
{
	for (struct target *t = m->targets; t; t = t->next)
		if (id_equal(&t->device, device)) {
			t->backoff = 0;
			t->why = (struct err){ 0 };
			t->useless = false;
			if (!t->dial && !t->conn)
				target_unplan(t);
		}
	targets_spare(m, device);
}

void targets_spare(struct mesh *m, const struct id *device)
{
	unsigned n = 0;
	for (struct target *t = m->targets; t; t = t->next)
		if (id_equal(&t->device, device) && !t->dial && !t->conn && !t->due && is_spare(t))
			target_plan(t, SPARE_AFTER + yield(t) + n++ * (SECOND / 2));
}

/* The device lost its link: dial it, soon but not at the same moment as it dials us. */
void targets_wake(struct mesh *m, const struct id *device)
{
	for (struct target *t = m->targets; t; t = t->next)
		if (id_equal(&t->device, device) && !t->dial && !t->conn && !t->due && choice_wants(t))
			target_plan(t, jitter(t->fixed || !yield(t) ? SECOND / 5 : yield(t)));
}

void targets_stop(struct mesh *m)
{
	for (struct target *t = m->targets; t; t = t->next)
		if (t->dial) {
			dial_free(TAKE_PTR(t->dial));
			target_plan(t, REST_PAUSE);
		}
}

void targets_hurry(struct mesh *m)
{
	for (struct target *t = m->targets; t; t = t->next) {
		t->useless = false;
		if (t->radio) /* a network has nothing to do with it */
			continue;
		/* What is being tried may wait for an answer that a way that is gone has lost. */
		if (t->dial) {
			dial_free(TAKE_PTR(t->dial));
			target_plan(t, 0);
		}
		if (!t->conn && (t->due || is_spare(t))) {
			t->backoff = 0;
			target_plan(t, SECOND / 20);
		}
	}
}

void target_free(struct target *t)
{
	struct mesh *m = t->mesh;
	if (t->prev)
		t->prev->next = t->next;
	else
		m->targets = t->next;
	if (t->next)
		t->next->prev = t->prev;
	m->found -= !t->fixed;
	dial_free(t->dial);
	if (t->conn)
		t->conn->target = NULL;
	sd_event_source_disable_unref(t->timer);
	free(t);
}

/* ---- outgoing ---- */

static void on_dialled(struct wire *wire, const struct address *remote, const struct err *why,
		       void *user)
{
	struct target *t = user;
	struct mesh *m = t->mesh;
	struct err e = { 0 };
	if (why)
		e = *why;
	dial_free(t->dial);
	t->dial = NULL;
	if (!wire) {
		target_failed(t, &e);
		return;
	}
	if (tried_elsewhere(t)) {
		wire_free(wire);
		target_plan(t, SPARE_PAUSE);
		return;
	}
	if (conn_link_to(m, &t->device, NULL)) {
		struct link_info info = { 0 };
		wire->ops->info(wire, &info);
		if (!standby_fits(m, &t->device, &info)) {
			t->useless = true;
			wire_free(wire);
			return;
		}
	}
	if (conn_dialled(t, wire, remote, &e) < 0)
		target_failed(t, &e);
}

static int on_target(sd_event_source *s, uint64_t usec, void *user)
{
	struct target *t = user;
	struct mesh *m = t->mesh;
	struct err e = { 0 };
	(void)s, (void)usec;
	t->due = 0;
	if (m->resting) {
		target_plan(t, REST_PAUSE);
		return 0;
	}
	if (t->dial || t->conn || is_idle(t))
		return 0;
	if (tried_elsewhere(t)) {
		target_plan(t, SPARE_PAUSE);
		return 0;
	}
	if (is_forgotten(t)) {
		target_free(t);
		return 0;
	}
	const struct address *own = t->radio ? bluetooth_own(m->bluetooth) : NULL;
	if (t->radio && (!own || !radio_has_room(m, false))) {
		target_plan(t, REST_PAUSE);
		return 0;
	}
	if (t->radio)
		bluetooth_yield(m->bluetooth);
	int r = t->fixed ? dial_host(m->event, t->host.host, t->host.port, DIAL_TIMEOUT, on_dialled, t, &t->dial, &e) :
			   dial_address(m->event, &t->address, own, t->radio ? RADIO_TIMEOUT : DIAL_TIMEOUT, on_dialled,
					t, &t->dial, &e);
	if (r < 0)
		target_failed(t, &e);
	return 0;
}

struct target *target_new(struct mesh *m, bool fixed)
{
	struct target *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	if (sd_event_add_time(m->event, &t->timer, CLOCK_BOOTTIME, 0, 10000, on_target, t) < 0) {
		free(t);
		return NULL;
	}
	(void)sd_event_source_set_enabled(t->timer, SD_EVENT_OFF);
	t->mesh = m;
	t->fixed = fixed;
	t->next = m->targets;
	if (m->targets)
		m->targets->prev = t;
	m->targets = t;
	m->found += !fixed;
	return t;
}

/* ---- neighbours ---- */

/* A second address of one device is a spare: one dial at a time is enough. */
static void target_begin(struct target *t)
{
	struct mesh *m = t->mesh;
	unsigned n = 0;
	for (const struct target *o = m->targets; o && !id_is_zero(&t->device); o = o->next)
		n += o != t && (o->due || o->dial || o->conn) && id_equal(&o->device, &t->device);
	target_plan(t, t->backoff ? jitter(t->backoff) : yield(t) + n * (SECOND / 2));
}

void target_heard(struct target *t)
{
	t->heard = mesh_now(t->mesh);
	if (!t->dial && !t->conn && !t->due && !is_idle(t))
		target_begin(t);
}

void targets_choose(struct mesh *m)
{
	for (struct target *t = m->targets, *next; t; t = next) {
		next = t->next;
		if (t->conn || conn_link_to(m, &t->device, NULL))
			continue;
		if (choice_wants(t)) {
			if (!t->dial && !t->due)
				target_begin(t);
		} else if (is_forgotten(t)) {
			target_free(t);
		} else {
			dial_free(TAKE_PTR(t->dial));
			target_unplan(t);
		}
	}
}

/* ---- what discovery says ---- */

void targets_found(const struct id *device, const struct address *a, void *user)
{
	struct mesh *m = user;
	struct target *oldest = NULL;
	unsigned n = 0;
	uint64_t now = mesh_now(m);
	if (m->handler->admit && !m->handler->admit(device, m->user))
		return;
	choice_seen(m, device);
	for (struct target *t = m->targets; t; t = t->next) {
		if (t->fixed || t->radio || !id_equal(&t->device, device))
			continue;
		if (address_equal(&t->address, a)) {
			t->heard = now;
			if (!t->dial && !t->conn && !t->due && !is_idle(t))
				target_plan(t, 0);
			return;
		}
		n++;
		if (!t->dial && !t->conn && (!oldest || t->heard < oldest->heard))
			oldest = t;
	}
	/* Replays from many addresses must not make many targets. */
	if (n >= FOUND_PER_DEVICE || m->found >= FOUND_MAX) {
		if (!oldest)
			return;
		target_free(oldest);
	}
	struct target *t = target_new(m, false);
	if (!t)
		return;
	t->device = *device;
	t->address = *a;
	t->heard = now;
	if (conn_link_to(m, device, NULL)) {
		targets_spare(m, device);
		return;
	}
	if (choice_wants(t))
		target_begin(t);
}
