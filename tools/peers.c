/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/peers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/spread.h"
#include "tools/devices.h"
#include "tools/world.h"

#define CHUNK (64u * 1024) /* asked of a session at a time */

#define ASKS_MAX 8 /* of one session, without an answer */

struct ask {
	uint64_t number;
	peers_held_fn fn;
	void *userdata;
};

struct peer {
	struct peers *all;
	struct peer *next;
	struct link *link;
	struct session *session;
	sd_event_source *timer;
	struct buf out;
	size_t done;   /* bytes of out that the link took */
	bool closing;  /* link_close was called; nothing more is done with it */
	bool was_live; /* logged */
	bool met;      /* it has said which store it is */
	bool paced, slow; /* how fast its link is was told */
	bool timed;    /* its round trip is known, and told to others */
	struct ask ask[ASKS_MAX];
	unsigned n_asks;
};

/* Which stores a device had here since the daemon began. */
struct known {
	struct known *next;
	struct id device;
	uint32_t now, before; /* incarnations */
	bool two;             /* one came back after the other: both run */
	uint64_t slow_us;     /* when its link was slow last, how fast, and where it led; 0: it was not */
	uint64_t rate;
	char where[LINK_TEXT];
};

/* A device whose link is being replaced, and what its session was to fetches. */
struct handed {
	struct handed *next;
	struct id device;
	struct fetch_source *source;
};

/* Links and sessions go by CLOCK_BOOTTIME, which also counts while the machine sleeps: what waited
 * too long is noticed on waking up. */
struct peers {
	sd_event *event;
	struct replica *replica;
	struct fetches *fetches;
	struct flusher *flusher;
	struct log *log;
	struct presence *presence;
	struct spread *spread;
	sd_event_source *tell;    /* others are to be told soon who is connected to whom */
	uint64_t presence_changes; /* that they were told of, or are to be */
	void (*changed)(void *userdata);
	void *userdata;
	void (*paced)(const struct id *device, bool slow, void *userdata);
	void *paced_userdata;
	struct peer *first;
	struct handed *handed;
	struct known *known; /* one for each device of the mesh at most */
	unsigned n;
	unsigned renewals; /* logged */
};

static void drop(struct peer *p, const struct err *e)
{
	if (p->closing)
		return;
	log_warning(p->all->log, "%s: %s", p->link->name, e->message);
	p->closing = true;
	link_close(p->link);
}

/* Hands over what is left in out. False when the link is full or gone. */
static bool write_out(struct peer *p)
{
	while (p->done < p->out.len) {
		ssize_t n = link_write(p->link, p->out.data + p->done, p->out.len - p->done);
		if (n <= 0)
			return false;
		p->done += (size_t)n;
	}
	buf_reset(&p->out);
	p->done = 0;
	return true;
}

static void arm(struct peer *p)
{
	uint64_t deadline = session_deadline(p->session);
	/* A full link says when there is room; before, nothing that is due can be done. */
	if (deadline == UINT64_MAX || p->done < p->out.len) {
		sd_event_source_set_enabled(p->timer, SD_EVENT_OFF);
		return;
	}
	sd_event_source_set_time(p->timer, deadline);
	sd_event_source_set_enabled(p->timer, SD_EVENT_ONESHOT);
}

static void tell_pace(struct peer *p)
{
	bool slow;
	if (!session_slow(p->session, &slow) || (p->paced && p->slow == slow))
		return;
	p->paced = true;
	p->slow = slow;
	/* What came over a link that is slow now is asked of others. */
	for (struct peer *x = p->all->first; x; x = x->next)
		if (x != p)
			arm(x);
	if (p->all->paced)
		p->all->paced(&p->link->peer, slow, p->all->paced_userdata);
}

/* Lets the session speak until it has nothing to say or the link is full. A full link stops the
 * session as well: what it would send stays in the store until there is room. */
static void pump(struct peer *p)
{
	if (p->closing)
		return;
	while (write_out(p)) {
		struct err e = { 0 };
		int r = session_output(p->session, &p->out, CHUNK, world_boot_us(), &e);
		if (r < 0) {
			if (!e.code)
				err_errno(&e, r, "the sync session failed");
			drop(p, &e);
			return;
		}
		if (!p->out.len)
			break;
	}
	arm(p);
	tell_pace(p);
}

static void log_live(struct peer *p)
{
	struct session_status s;
	session_status(p->session, &s);
	bool live = s.phase == SESSION_LIVE;
	if (live != p->was_live)
		log_debug(p->all->log, "%s: %s", p->link->name,
			  live ? "in step, live" : "catching up");
	p->was_live = live;
}

static void log_renewal(struct peer *p)
{
	unsigned n = replica_renewals(p->all->replica);
	if (n != p->all->renewals)
		log_warning(p->all->log,
			    "%s knows changes of this device that this store does not: it was brought "
			    "back, and its changes are told from those from now on",
			    p->link->name);
	p->all->renewals = n;
}

static struct known *known_find(const struct peers *all, const struct id *device)
{
	struct known *k = all->known;
	while (k && !id_equal(&k->device, device))
		k = k->next;
	return k;
}

/* A store that was brought back has a new incarnation, and keeps it. Two copies that run at once come in
 * turn, each with its own. */
static void note_store(struct peer *p)
{
	struct actor_id actor;
	if (p->met || !session_peer_actor(p->session, &actor))
		return;
	p->met = true;
	struct known *k = known_find(p->all, &actor.device);
	if (!k) {
		k = calloc(1, sizeof(*k));
		if (!k)
			return;
		*k = (struct known){ .next = p->all->known, .device = actor.device,
				     .now = actor.incarnation, .before = actor.incarnation };
		p->all->known = k;
	}
	if (k->now == actor.incarnation)
		return;
	if (k->before == actor.incarnation && !k->two) {
		k->two = true;
		log_warning(p->all->log,
			    "%s runs twice, from copies of one store, which share a link here: let one of "
			    "the two join the mesh as a device of its own",
			    p->link->name);
	}
	k->before = k->now;
	k->now = actor.incarnation;
}

/* ---- who is connected to whom ---- */

static int link_cmp(const void *a, const void *b)
{
	return id_cmp(&((const struct statement_link *)a)->peer, &((const struct statement_link *)b)->peer);
}

static void describe(const struct peer *p, struct statement_link *ret)
{
	struct link_info info;
	struct session_status s;
	const uint64_t now = world_boot_us(), wall = world_wall_us();
	link_info(p->link, &info);
	session_status(p->session, &s);
	const uint64_t rtt = s.rtt_us ? s.rtt_us : info.rtt_us;
	const uint64_t since = info.since > 0 ? (uint64_t)info.since : 0, age = now > since ? now - since : 0;
	*ret = (struct statement_link){ .peer = p->link->peer };
	snprintf(ret->name, sizeof(ret->name), "%s", p->link->name);
	snprintf(ret->transport, sizeof(ret->transport), "%s", info.transport);
	ret->rtt_us = rtt < UINT32_MAX ? (uint32_t)rtt : UINT32_MAX;
	ret->since_s = wall > age ? (wall - age) / 1000000 : 0;
}

/* This device's links as they are now. */
static int note_links(struct peers *all)
{
	_cleanup_free_ struct statement_link *l = calloc((size_t)all->n + 1, sizeof(*l));
	unsigned n = 0, unique = 0;
	if (!l)
		return -ENOMEM;
	for (struct peer *p = all->first; p && n < all->n; p = p->next)
		if (!p->closing)
			describe(p, &l[n++]);
	qsort(l, n, sizeof(*l), link_cmp);
	/* While one link takes over from another both may be there. */
	for (unsigned i = 1; i < n; i++)
		if (!id_equal(&l[i].peer, &l[unique].peer))
			l[++unique] = l[i];
	return presence_own(all->presence, l, n ? unique + 1 : 0, world_boot_us(), world_wall_us());
}

static void tell_soon(struct peers *all)
{
	int on = SD_EVENT_OFF;
	sd_event_source_get_enabled(all->tell, &on);
	if (on != SD_EVENT_OFF)
		return;
	sd_event_source_set_time_relative(all->tell, PRESENCE_SETTLE_US);
	sd_event_source_set_enabled(all->tell, SD_EVENT_ONESHOT);
}

/* A peer said something: perhaps of others, or its round trip has become known. */
static void heard(struct peer *p)
{
	const uint64_t changes = presence_changes(p->all->presence);
	if (!p->timed) {
		struct session_status s;
		session_status(p->session, &s);
		p->timed = s.rtt_us > 0;
		if (p->timed)
			tell_soon(p->all);
	}
	if (changes != p->all->presence_changes)
		tell_soon(p->all);
	p->all->presence_changes = changes;
}

static int on_tell(sd_event_source *s, uint64_t usec, void *userdata)
{
	struct peers *all = userdata;
	(void)s;
	(void)usec;
	/* For want of memory it is told later, or not: nothing stands on it. */
	note_links(all);
	all->presence_changes = presence_changes(all->presence);
	for (struct peer *p = all->first; p; p = p->next)
		pump(p);
	return 0;
}

int peers_graph(struct peers *all, struct graph **ret)
{
	int r = note_links(all);
	if (r > 0)
		tell_soon(all);
	return r < 0 ? r : presence_graph(all->presence, world_boot_us(), ret);
}

/* ---- how fast the ways are ---- */

#define SLOW_US (3600ull * 1000 * 1000) /* so long a way counts as slow without being measured */

/* The address without its port, which changes. */
static void where_of(const struct link_info *info, char ret[static LINK_TEXT])
{
	const char *colon = strrchr(info->remote, ':');
	snprintf(ret, LINK_TEXT, "%.*s", colon ? (int)(colon - info->remote) : LINK_TEXT - 1, info->remote);
}

static void recall_pace(struct peer *p, const struct link_info *info)
{
	char where[LINK_TEXT];
	const struct known *k = known_find(p->all, &p->link->peer);
	where_of(info, where);
	if (k && k->slow_us && world_boot_us() - k->slow_us < SLOW_US && strcmp(where, k->where) == 0)
		session_pace(p->session, k->rate, true);
}

static void note_pace(struct peer *p)
{
	struct session_status s;
	struct link_info info;
	struct known *k = known_find(p->all, &p->link->peer);
	session_status(p->session, &s);
	/* What was known before and was not looked at is no older for that. */
	if (!k || s.measured_us == 0)
		return;
	link_info(p->link, &info);
	where_of(&info, k->where);
	k->rate = s.rate_out;
	k->slow_us = s.slow_out ? s.measured_us : 0;
}

/* ---- who holds contents ---- */

static void ask_done(struct peer *p, unsigned i, uint64_t bits, bool gone)
{
	const struct ask a = p->ask[i];
	const struct id device = p->link->peer;
	p->n_asks--;
	memmove(&p->ask[i], &p->ask[i + 1], (p->n_asks - i) * sizeof(a));
	if (a.fn)
		a.fn(&device, bits, gone, a.userdata);
}

static void answered(struct peer *p)
{
	uint64_t number, bits;
	while (session_take_held(p->session, &number, &bits))
		for (unsigned i = 0; i < p->n_asks; i++)
			if (p->ask[i].number == number) {
				ask_done(p, i, bits, false);
				break;
			}
}

void peers_on_paced(struct peers *p, void (*fn)(const struct id *device, bool slow, void *userdata), void *userdata)
{
	p->paced = fn;
	p->paced_userdata = userdata;
}

unsigned peers_ask(struct peers *all, const struct id *device, const struct holding *h, uint32_t n,
		   peers_held_fn fn, void *userdata)
{
	unsigned asked = 0;
	for (struct peer *p = all->first; p; p = p->next) {
		uint64_t number;
		if (p->closing || p->n_asks == ASKS_MAX || (device && !id_equal(device, &p->link->peer)) ||
		    session_ask_holds(p->session, h, n, &number) < 0)
			continue;
		p->ask[p->n_asks++] = (struct ask){ number, fn, userdata };
		asked++;
	}
	for (struct peer *p = all->first; p; p = p->next)
		if (p->n_asks > 0)
			pump(p);
	return asked;
}

void peers_ask_no_more(struct peers *all, const void *userdata)
{
	for (struct peer *p = all->first; p; p = p->next)
		for (unsigned i = 0; i < p->n_asks; i++)
			if (p->ask[i].userdata == userdata)
				p->ask[i].fn = NULL;
}

bool peers_source(const struct peers *all, const struct id *device)
{
	for (const struct peer *p = all->first; p; p = p->next)
		if (!p->closing && id_equal(&p->link->peer, device))
			return session_is_source(p->session);
	return false;
}

void peers_fetch(struct peers *all)
{
	for (struct peer *p = all->first; p; p = p->next)
		pump(p);
}

static void received(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct peer *p = user;
	struct err e = { 0 };
	(void)l;
	if (p->closing)
		return;
	int r = session_input(p->session, data, len, world_boot_us(), &e);
	log_renewal(p);
	note_store(p);
	if (r < 0) {
		if (!e.code)
			err_errno(&e, r, "the sync session failed");
		drop(p, &e);
		return;
	}
	answered(p);
	heard(p);
	pump(p);
	log_live(p);
	/* Merged changes and claims want a new view, also those that no observer hears of. */
	if (replica_dirty(p->all->replica))
		flusher_kick(p->all->flusher);
	p->all->changed(p->all->userdata);
}

static void writable(struct link *l, void *user)
{
	(void)l;
	pump(user);
}

static const struct link_handler handler = { received, writable };

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
	(void)s;
	(void)usec;
	pump(userdata);
	return 0;
}

static void peer_free(struct peer *p)
{
	sd_event_source_disable_unref(p->timer);
	session_free(p->session);
	buf_done(&p->out);
	free(p);
}

/* ---- from one link to the next ---- */

/* The caller owns what it returns; NULL: nothing. */
static struct fetch_source *handed_take(struct peers *all, const struct id *device)
{
	for (struct handed **at = &all->handed; *at; at = &(*at)->next) {
		struct handed *h = *at;
		struct fetch_source *source = h->source;
		if (!id_equal(&h->device, device))
			continue;
		*at = h->next;
		free(h);
		return source;
	}
	return NULL;
}

static void hand_on(struct peer *p)
{
	struct peers *all = p->all;
	struct handed *h = calloc(1, sizeof(*h));
	if (!h)
		return;
	*h = (struct handed){ all->handed, p->link->peer, session_fetch_hand(p->session, world_boot_us()) };
	if (h->source)
		all->handed = TAKE_PTR(h);
	free(h);
}

void peers_no_successor(struct peers *all, const struct id *device)
{
	fetch_leave(handed_take(all, device));
}

static void note_device(struct peers *all, const struct link *l)
{
	struct device d = { .id = l->peer, .role = l->role, .seen_us = world_wall_us() };
	memcpy(d.name, l->name, sizeof(d.name));
	int r = devices_note(all->replica, &d);
	if (r < 0)
		log_warning(all->log, "cannot remember device %s: error %d", l->name, -r);
}

int peers_new(sd_event *event, struct replica *r, const char *name, struct fetches *fetches,
	      struct flusher *f, struct log *log,
	      void (*changed)(void *userdata), void *userdata, struct peers **ret, struct err *e)
{
	_cleanup_(peers_freep) struct peers *p = calloc(1, sizeof(*p));
	struct actor_id self;
	if (!p)
		return err_errno(e, -ENOMEM, "cannot keep sessions");
	*p = (struct peers){ .event = event, .replica = r, .fetches = fetches, .flusher = f, .log = log,
			     .changed = changed, .userdata = userdata,
			     .renewals = replica_renewals(r) };
	replica_self(r, &self, NULL);
	int code = presence_new(&self.device, name, &p->presence);
	if (code == 0)
		code = spread_new(&p->spread);
	if (code == 0)
		code = sd_event_add_time(event, &p->tell, CLOCK_BOOTTIME, UINT64_MAX, 1000, on_tell, p);
	if (code >= 0)
		code = sd_event_source_set_enabled(p->tell, SD_EVENT_OFF);
	if (code < 0)
		return err_errno(e, code, "cannot keep sessions");
	*ret = TAKE_PTR(p);
	return 0;
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	while (p->first) {
		struct peer *dead = p->first;
		p->first = dead->next;
		while (dead->n_asks > 0)
			ask_done(dead, 0, 0, true);
		peer_free(dead);
	}
	while (p->handed)
		peers_no_successor(p, &p->handed->device);
	while (p->known) {
		struct known *k = p->known;
		p->known = k->next;
		free(k);
	}
	sd_event_source_disable_unref(p->tell);
	presence_free(p->presence);
	spread_free(p->spread);
	free(p);
}

void peers_link_up(struct peers *all, struct link *l)
{
	struct peer *p = calloc(1, sizeof(*p));
	struct link_info info;
	int r = p ? 0 : -ENOMEM;
	if (r == 0) {
		p->all = all;
		p->link = l;
		r = session_new(all->replica, &l->peer, world_boot_us(), &p->session);
	}
	if (r == 0) {
		session_fetch_for(p->session, all->fetches);
		session_fetch_take(p->session, handed_take(all, &l->peer));
		session_presence_for(p->session, all->presence);
		session_spread_for(p->session, all->spread);
	}
	if (r == 0)
		r = sd_event_add_time(all->event, &p->timer, CLOCK_BOOTTIME, UINT64_MAX, 100,
				      on_timer, p);
	if (r < 0) {
		log_error(all->log, "cannot begin a session with %s: error %d", l->name, -r);
		if (p)
			peer_free(p);
		link_close(l);
		return;
	}
	p->next = all->first;
	all->first = p;
	all->n++;
	flusher_hurry(all->flusher, true);
	/* Something may be committed and lie there until its lazy second is over. */
	flusher_kick(all->flusher);
	link_info(l, &info);
	log_info(all->log, "connected to %s over %s (%s)", l->name, info.transport, info.remote);
	recall_pace(p, &info);
	note_device(all, l);
	link_handle(l, &handler, p);
	pump(p);
	tell_soon(all);
	all->changed(all->userdata);
}

void peers_link_down(struct peers *all, struct link *l, const struct err *why, bool successor)
{
	if (!successor)
		peers_no_successor(all, &l->peer);
	for (struct peer **at = &all->first; *at; at = &(*at)->next) {
		struct peer *p = *at;
		if (p->link != l)
			continue;
		*at = p->next;
		all->n--;
		while (p->n_asks > 0)
			ask_done(p, 0, 0, true);
		log_info(all->log, "disconnected from %s%s%s", l->name, why && why->code ? ": " : "",
			 why && why->code ? why->message : "");
		note_device(all, l);
		note_pace(p);
		if (successor)
			hand_on(p);
		peer_free(p);
		/* What came from there is asked of others now. */
		for (struct peer *x = all->first; x; x = x->next)
			arm(x);
		if (!all->n)
			flusher_hurry(all->flusher, false);
		tell_soon(all);
		all->changed(all->userdata);
		return;
	}
}

void peers_news(struct peers *all)
{
	for (struct peer *p = all->first; p; p = p->next) {
		if (p->closing)
			continue;
		session_news(p->session);
		pump(p);
		log_live(p);
	}
}

enum session_work peers_work(const struct peers *all, const struct id *device, uint64_t *ret_changes)
{
	for (const struct peer *p = all->first; p; p = p->next) {
		struct session_status s;
		if (p->closing || !id_equal(&p->link->peer, device))
			continue;
		session_status(p->session, &s);
		if (ret_changes)
			*ret_changes = s.behind_here + s.behind_there;
		return session_work(p->session);
	}
	return SESSION_IDLE;
}

bool peers_in_step(const struct peers *all, const struct id *device)
{
	for (const struct peer *p = all->first; p; p = p->next)
		if (!p->closing && id_equal(&p->link->peer, device))
			return session_in_step(p->session);
	return false;
}

int peers_each(struct peers *all, peer_fn f, void *userdata)
{
	for (struct peer *p = all->first; p; p = p->next) {
		struct peer_status s = { .id = p->link->peer, .name = p->link->name,
					 .role = p->link->role,
					 .copies = known_find(all, &p->link->peer) &&
						   known_find(all, &p->link->peer)->two,
					 .in_step = session_in_step(p->session) };
		link_info(p->link, &s.link);
		session_status(p->session, &s.session);
		int r = f(&s, userdata);
		if (r)
			return r;
	}
	return 0;
}

unsigned peers_count(const struct peers *p)
{
	return p->n;
}

bool peers_connected(const struct peers *all, const struct id *device)
{
	for (const struct peer *p = all->first; p; p = p->next)
		if (id_equal(&p->link->peer, device))
			return true;
	return false;
}
