/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Off while there is nothing to do it with; else idle, looking, forming or in a group. What there is a reason for is asked
 * every few seconds, and each look that led to nothing doubles the pause until the next.
 *
 * Who found the other calls it; the other, which knows the caller by its name, answers with the same PIN. Roles do not
 * depend on who calls, so both may at once: the smaller tag enters the PIN and owns the group. Whoever finds an owner
 * joins its group, and shows the PIN that the two have. The others of a group may be found as well, and answer nobody, so
 * whoever is no owner is called only when a moment has passed without one, and last if he has just been called in vain.
 *
 * A PIN of eight digits is guessed within 11,000 attempts: after one that failed, nobody is answered until a pause is
 * over that doubles likewise.
 */
#include "transports/wifidirect.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

#include "transports/advert.h"
#include "transports/battery.h"

#define SECOND ((uint64_t)1000000)
#define TICK (3 * SECOND)
#define SETTLE (2 * SECOND) /* an interface comes up after its radio was let go */
#define FIND_SECONDS 20u
#define OWNER_WITHIN (4 * SECOND) /* of finding another member */
#define FORM_WITHIN (45 * SECOND)
#define PAUSE_MIN (10 * SECOND)
#define PAUSE_MAX (480 * SECOND)
#define FIRST_LINK (60 * SECOND) /* a group without one ends after so long */
#define TRIES 4u /* to agree, before the pauses grow: both may call at once */
#define QUIET 2048u              /* bytes in the time of idle that keep nobody: the questions of links */
#define LISTEN_MS 500u
#define LISTEN_EVERY_MS 2500u
#define LISTEN_EVERY_BATTERY_MS 10000u
#define OWNS 14u
#define JOINS 1u
#define NAMES_A_ROUND 32 /* that are looked into; more are somebody's noise */

enum state { OFF, IDLE, LOOKING, FORMING, GROUP };

struct wifidirect {
	sd_event *event;
	const struct wifidirect_handler *handler;
	void *user;
	char root[256];
	unsigned idle;
	struct directkey *key;
	uint32_t tag;
	struct wpa *wpa;
	sd_event_source *tick;
	enum state state;
	bool resting, blocked;
	uint64_t until;     /* the end of looking or forming */
	uint64_t next;      /* not to be looked before */
	uint64_t pause;
	uint64_t answers;   /* nobody is answered before */
	uint64_t distrust;  /* the pause of that */
	int64_t named;      /* the name's period; -1: it has none */
	unsigned listening; /* the interval; 0: it does not */
	unsigned names;     /* that were looked into in this round */
	struct {
		char id[WPA_PEER_ID]; /* "": nobody */
		uint32_t tag;
		uint64_t when;
	} found;            /* who is called if no owner is found by then */
	char vain[WPA_PEER_ID]; /* who did not answer the last call; "": nobody */
	char ifname[WPA_IFNAME_SIZE];
	uint64_t carried, since;
	bool used;          /* something passed over the group */
	bool doubted;       /* somebody with another PIN asked to be let in */
	unsigned tries;     /* in vain, one after the other */
};

static uint64_t now_us(const struct wifidirect *d)
{
	uint64_t now = 0;
	(void)sd_event_now(d->event, CLOCK_BOOTTIME, &now);
	return now;
}

static void tick_in(struct wifidirect *d, uint64_t pause)
{
	(void)sd_event_source_set_time_relative(d->tick, pause);
	(void)sd_event_source_set_enabled(d->tick, SD_EVENT_ONESHOT);
}

static void tell(struct wifidirect *d, int priority, const char *text)
{
	d->handler->note(priority, text, d->user);
}

/* The next pause, a quarter up or down by chance: two that failed together do not go on together. */
static uint64_t longer(uint64_t *pause)
{
	uint32_t chance = 0;
	(void)gnutls_rnd(GNUTLS_RND_NONCE, &chance, sizeof(chance));
	const uint64_t now = *pause < PAUSE_MIN ? PAUSE_MIN : *pause;
	*pause = 2 * now < PAUSE_MAX ? 2 * now : PAUSE_MAX;
	return now * 3 / 4 + now / 2 * (chance % 1024) / 1024;
}

static void look_later(struct wifidirect *d)
{
	d->state = IDLE;
	d->next = now_us(d) + longer(&d->pause);
}

/* ---- being found ---- */

static void be_found(struct wifidirect *d, enum battery power)
{
	char name[WPA_NAME_SIZE];
	const int64_t now = (int64_t)time(NULL);
	const unsigned every = power == BATTERY_NONE ? LISTEN_EVERY_MS : LISTEN_EVERY_BATTERY_MS;
	if (d->named != now / ADVERT_PERIOD && directkey_name(d->key, now, d->tag, name) == 0) {
		d->named = now / ADVERT_PERIOD;
		wpa_name(d->wpa, name);
	}
	if (d->listening == every)
		return;
	d->listening = every;
	wpa_listen(d->wpa, LISTEN_MS, every);
}

static void be_silent(struct wifidirect *d)
{
	if (d->listening)
		wpa_listen(d->wpa, 0, 0);
	d->listening = 0;
	if (d->state == LOOKING) {
		wpa_stop(d->wpa);
		d->state = IDLE;
	}
}

/* ---- finding ---- */

static void form(struct wifidirect *d, const char *id, const char *pin, bool first, bool join)
{
	tell(d, LOG_DEBUG, join ? "Wi-Fi Direct: a member's group is found, joining it" :
				  "Wi-Fi Direct: a member is found, forming a group");
	d->state = FORMING;
	d->until = now_us(d) + FORM_WITHIN;
	d->found.id[0] = '\0';
	snprintf(d->vain, sizeof(d->vain), "%s", id);
	if (join)
		wpa_join(d->wpa, id, pin);
	else
		wpa_connect(d->wpa, id, pin, first, first ? OWNS : JOINS);
}

static void admit(struct wifidirect *d, const char *pin)
{
	tell(d, LOG_DEBUG, "Wi-Fi Direct: another member joins the group");
	wpa_admit(d->wpa, pin);
}

static void answer(struct wifidirect *d, const char *id, uint32_t tag, enum wpa_peer what)
{
	char pin[WPA_PIN_SIZE];
	if (directkey_pin(d->key, d->tag, tag, pin) < 0)
		return;
	if (what == WPA_ASKS_IN)
		admit(d, pin);
	else
		form(d, id, pin, d->tag < tag, what == WPA_OWNS);
	gnutls_memset(pin, 0, sizeof(pin));
}

/* Calls who was found when no owner was since. */
static void call_found(struct wifidirect *d)
{
	char id[WPA_PEER_ID];
	if (d->state != LOOKING || !d->found.id[0] || now_us(d) < d->found.when)
		return;
	memcpy(id, d->found.id, sizeof(id));
	answer(d, id, d->found.tag, WPA_FOUND);
}

static void keep_found(struct wifidirect *d, const char *id, uint32_t tag)
{
	if (d->found.id[0] && strcmp(d->found.id, d->vain) != 0)
		return;
	if (!d->found.id[0]) {
		d->found.when = now_us(d) + OWNER_WITHIN;
		tick_in(d, OWNER_WITHIN);
	}
	snprintf(d->found.id, sizeof(d->found.id), "%s", id);
	d->found.tag = tag;
}

/* Whether what a device is told to be, or asks for, is of use in this state. */
static bool is_timely(const struct wifidirect *d, enum wpa_peer what)
{
	switch (d->state) {
	case LOOKING:
		return what != WPA_ASKS_IN;
	case IDLE:
		return what == WPA_ASKS;
	case GROUP:
		return what == WPA_ASKS_IN;
	case OFF:
	case FORMING:
		break;
	}
	return false;
}

static void on_peer(const char *id, const char *name, enum wpa_peer what, void *user)
{
	struct wifidirect *d = user;
	uint32_t tag;
	if (d->resting || d->blocked || !is_timely(d, what) || d->names >= NAMES_A_ROUND ||
	    strncmp(name, WIFIDIRECT_PREFIX, strlen(WIFIDIRECT_PREFIX)) != 0 || now_us(d) < d->answers)
		return;
	d->names++;
	if (directkey_whose(d->key, (int64_t)time(NULL), name, &tag) < 0 || tag == d->tag ||
	    !d->handler->welcome(tag, what == WPA_ASKS || what == WPA_ASKS_IN, d->user))
		return;
	if (what == WPA_FOUND)
		keep_found(d, id, tag);
	else
		answer(d, id, tag, what);
}

static void on_failed(const char *why, bool pin, void *user)
{
	struct wifidirect *d = user;
	char text[200];
	snprintf(text, sizeof(text), "Wi-Fi Direct: no group: %.150s", why);
	tell(d, LOG_INFO, text);
	if (d->state == GROUP && pin) {
		d->doubted = true;
		d->answers = now_us(d) + longer(&d->distrust) / 4;
	}
	if (d->state != FORMING)
		return;
	if (!pin && d->tries++ < TRIES) {
		uint64_t soon = 0;
		d->state = IDLE;
		d->next = now_us(d) + longer(&soon) / 4;
		return;
	}
	look_later(d);
	if (pin)
		d->answers = now_us(d) + longer(&d->distrust) / 4;
}

/* ---- the group ---- */

static void on_group(const char *ifname, void *user)
{
	struct wifidirect *d = user;
	if (ifname) {
		d->state = GROUP;
		d->vain[0] = '\0';
		/* Others are to find the owner, who beacons. */
		if (!wpa_owns(d->wpa))
			be_silent(d);
		d->tries = 0;
		snprintf(d->ifname, sizeof(d->ifname), "%.15s", ifname);
		d->since = now_us(d);
		d->carried = 0;
		d->used = d->doubted = false;
	} else {
		/* The pause grows all the same: a reason that one group did not end may be none for the next. */
		if (d->used && !d->doubted)
			d->distrust = 0;
		look_later(d);
	}
	d->handler->group(ifname, d->user);
}

static void watch_group(struct wifidirect *d, uint64_t now)
{
	const uint64_t carried = d->handler->carried(d->ifname, d->user);
	const uint64_t more = carried > d->carried ? carried - d->carried : d->carried - carried;
	const uint64_t idle = d->idle * SECOND;
	if (more > QUIET) {
		d->used = true;
		d->carried = carried;
		d->since = now;
	}
	if (now < d->since + (d->used || idle > FIRST_LINK ? idle : FIRST_LINK))
		return;
	tell(d, LOG_INFO, d->used ? "Wi-Fi Direct: nothing passes any more, the group ends" :
				    "Wi-Fi Direct: no link came up in the group, it ends");
	wpa_leave(d->wpa);
}

/* ---- time passes ---- */

static void step(struct wifidirect *d)
{
	const uint64_t now = now_us(d);
	const enum battery power = battery_read(d->root);
	if (d->state == GROUP) {
		watch_group(d, now);
		return;
	}
	if (d->state == FORMING) {
		if (now < d->until)
			return;
		wpa_leave(d->wpa);
		on_failed("the other device does not answer", true, d);
		return;
	}
	if (d->state == OFF)
		return;
	if (power == BATTERY_LOW || d->resting || d->blocked) {
		be_silent(d);
		return;
	}
	be_found(d, power);
	call_found(d);
	if (d->state == LOOKING && now >= d->until)
		look_later(d);
	/* Asked first: what is new may bring the next look forward. */
	if (d->state != IDLE || !d->handler->wants(d->user) || now < d->next)
		return;
	d->names = 0;
	d->found.id[0] = '\0';
	d->state = LOOKING;
	d->until = now + FIND_SECONDS * SECOND;
	wpa_find(d->wpa, FIND_SECONDS);
}

static int on_tick(sd_event_source *s, uint64_t usec, void *user)
{
	struct wifidirect *d = user;
	(void)usec;
	if (d->state == IDLE || d->state == GROUP)
		d->names = 0;
	step(d);
	tick_in(d, TICK);
	if (d->state == OFF)
		(void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
	return 0;
}

static void on_ready(bool ready, bool associated, void *user)
{
	struct wifidirect *d = user;
	if (associated)
		tell(d, LOG_INFO, "Wi-Fi Direct is not used while the Wi-Fi is connected to a network");
	if (!ready) {
		if (associated)
			be_silent(d);
		d->state = OFF;
		return;
	}
	d->state = IDLE;
	d->named = -1;
	d->listening = 0;
	d->next = d->pause = 0;
	tick_in(d, 0);
}

static void on_note(int priority, const char *text, void *user)
{
	tell(user, priority, text);
}

static const struct wpa_handler wpa_handler = { on_ready, on_peer, on_group, on_failed, on_note };

uint32_t wifidirect_tag(const struct wifidirect *d, const struct id *device)
{
	return directkey_tag(d->key, device);
}

/* Nothing goes on, and it is not to be found. */
static void give_up(struct wifidirect *d)
{
	if (d->state == GROUP || d->state == FORMING) {
		wpa_leave(d->wpa);
		if (d->state != OFF)
			d->state = IDLE;
	}
	be_silent(d);
}

void wifidirect_hurry(struct wifidirect *d)
{
	if (d->state == IDLE && d->next > now_us(d) + PAUSE_MIN)
		d->next = now_us(d) + PAUSE_MIN;
	d->pause = 0;
}

void wifidirect_again(struct wifidirect *d, bool blocked)
{
	const bool was = d->blocked;
	d->blocked = blocked;
	if (blocked && !was)
		give_up(d);
	/* What wpa_supplicant was told may be lost with the interface that it was about. */
	d->named = -1;
	d->listening = 0;
	if (was && !blocked) {
		d->next = d->pause = 0;
		if (d->state != OFF)
			tick_in(d, SETTLE);
	}
	wpa_again(d->wpa);
}

void wifidirect_rest(struct wifidirect *d, bool on)
{
	d->resting = on;
	if (on)
		give_up(d);
	else
		step(d);
}

int wifidirect_new(sd_event *event, const struct identity *identity, const struct wifidirect_options *o,
		   const struct wifidirect_handler *handler, void *user, struct wifidirect **ret, struct err *e)
{
	_cleanup_(wifidirect_freep) struct wifidirect *d = calloc(1, sizeof(*d));
	if (!d)
		return err_set(e, -ENOMEM, "out of memory");
	d->event = sd_event_ref(event);
	d->handler = handler;
	d->user = user;
	d->idle = o->idle;
	snprintf(d->root, sizeof(d->root), "%s", o->root);
	int r = directkey_new(identity, &d->key);
	if (r < 0)
		return err_errno(e, r, "cannot derive the keys of Wi-Fi Direct");
	d->tag = directkey_tag(d->key, identity_device(identity));
	r = sd_event_add_time(event, &d->tick, CLOCK_BOOTTIME, 0, SECOND / 2, on_tick, d);
	if (r >= 0)
		r = sd_event_source_set_enabled(d->tick, SD_EVENT_OFF);
	if (r < 0)
		return err_errno(e, r, "cannot use Wi-Fi Direct");
	r = wpa_new(event, o->ifname, &wpa_handler, d, &d->wpa, e);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(d);
	return 0;
}

void wifidirect_free(struct wifidirect *d)
{
	if (!d)
		return;
	wpa_free(d->wpa);
	sd_event_source_disable_unref(d->tick);
	directkey_free(d->key);
	sd_event_unref(d->event);
	free(d);
}
