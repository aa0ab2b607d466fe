/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Contents that no peer has: those in reach who are no peers are asked in turn, by links that are let go afterwards.
 * The author of the newest contents comes first. A device counts as asked for a file when it has been a source, or
 * could not be reached, since it was found that the file's peers lack it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/fetch.h"
#include "engine/presence.h"
#include "tools/daemon.h"
#include "tools/world.h"
#include "transports/neighbours.h"

#define SECOND 1000000ull
#define AT_A_TIME NEIGHBOURS_EXTRA
#define PATIENCE (30 * SECOND)   /* for a file */
#define ANSWER_WITHIN (10 * SECOND)
#define NEED_SECONDS 10
#define WAYS_GAP SECOND
#define TICK (SECOND / 4)
#define LEFT_MAX 16u            /* with those that were asked and are not let go yet */
#define WAYS_MAX PRESENCE_DEVICES_MAX
#define KEEP_MAX (600 * SECOND)  /* a link over which contents come */

struct way {
	struct id id;
	uint64_t asked; /* when that ended; 0: not lately */
};

struct asking {
	struct id id;
	uint64_t since; /* 0: nobody */
	bool done;      /* it has answered; the link stays while something comes */
};

struct seek {
	struct daemon *d;
	sd_event_source *timer;
	struct asking asking[AT_A_TIME];
	struct way way[WAYS_MAX], before[WAYS_MAX]; /* devices in reach that are no peers, and those that were asked */
	uint32_t n_ways;
	uint64_t ways_at; /* not to be looked for before */
	uint32_t n_left;  /* links to those who were asked */
};

/* ---- who is in reach ---- */

static struct way *way_find(struct way *way, uint32_t n, const struct id *id)
{
	for (uint32_t i = 0; i < n; i++)
		if (id_equal(&way[i].id, id))
			return &way[i];
	return NULL;
}

static void ways_look(struct seek *s, uint64_t now)
{
	_cleanup_(graph_freep) struct graph *g = NULL;
	const uint32_t n_before = s->n_ways;
	s->ways_at = now + WAYS_GAP;
	if (peers_graph(s->d->peers, &g) < 0)
		return;
	memcpy(s->before, s->way, n_before * sizeof(s->way[0]));
	s->n_ways = 0;
	for (uint32_t i = 1; i < g->n_devices && s->n_ways < WAYS_MAX; i++) {
		const struct id *id = &g->device[i].id;
		const struct way *old = way_find(s->before, n_before, id);
		/* One that is asked is a peer by now. */
		if (g->device[i].hops > 1 ? mesh_hears(s->d->mesh, id) : old != NULL)
			s->way[s->n_ways++] = (struct way){ *id, old ? old->asked : 0 };
	}
}

/* ---- asking ---- */

static void asked(struct seek *s, struct asking *a, uint64_t now)
{
	struct way *w = way_find(s->way, s->n_ways, &a->id);
	if (w && !a->done)
		w->asked = now;
	a->done = true;
}

/* n_asked, n_coming: as fetch_sought says. */
static void asking_check(struct seek *s, uint32_t n_asked, uint32_t n_coming, uint64_t now)
{
	s->n_left = 0;
	for (uint32_t i = 0; i < s->n_ways; i++)
		s->n_left += s->way[i].asked && peers_source(s->d->peers, &s->way[i].id);
	for (unsigned i = 0; i < AT_A_TIME; i++) {
		struct asking *a = &s->asking[i];
		if (!a->since)
			continue;
		const bool source = peers_source(s->d->peers, &a->id);
		if ((source && n_asked == 0) || now >= a->since + ANSWER_WITHIN)
			asked(s, a, now);
		if (!a->done)
			continue;
		if (source && n_asked + n_coming > 0 && now < a->since + KEEP_MAX) {
			(void)mesh_need(s->d->mesh, &a->id, NEED_SECONDS);
			continue;
		}
		mesh_spare(s->d->mesh, &a->id);
		*a = (struct asking){ .since = 0 };
	}
}

static bool is_asking(const struct seek *s, const struct id *id)
{
	for (unsigned i = 0; i < AT_A_TIME; i++)
		if (s->asking[i].since && !s->asking[i].done && id_equal(&s->asking[i].id, id))
			return true;
	return false;
}

/* One that asks nobody; else one that only waits for something to come. NULL: not now. */
static struct asking *room(struct seek *s)
{
	struct asking *found = NULL;
	if (s->n_left >= LEFT_MAX)
		return NULL;
	for (unsigned i = 0; i < AT_A_TIME; i++) {
		if (!s->asking[i].since)
			return &s->asking[i];
		if (s->asking[i].done)
			found = &s->asking[i];
	}
	return found;
}

static void ask(struct seek *s, const struct way *w, uint64_t now)
{
	struct asking *a = room(s);
	/* If it is not wanted now, because it was a short while ago, it is a little later. */
	if (a && mesh_need(s->d->mesh, &w->id, NEED_SECONDS))
		*a = (struct asking){ .id = w->id, .since = now };
}

/* Has somebody asked for it. False: there is nobody left. */
static bool ask_for(struct seek *s, const struct fetch_sought *x, uint64_t now)
{
	struct attr at;
	bool left = false;
	if (now >= x->since_us + PATIENCE)
		return false;
	const struct way *author =
		replica_attr(s->d->replica, &x->node, &at) == 0 && at.author != ACTOR_NONE ?
			way_find(s->way, s->n_ways, &actors_get(replica_actors(s->d->replica), at.author)->device) : NULL;
	for (uint32_t i = 0; i <= s->n_ways; i++) {
		const struct way *w = i == 0 ? author : &s->way[i - 1];
		/* A peer that is a source has said that it lacks it. */
		if (!w || w->asked > x->since_us || peers_source(s->d->peers, &w->id))
			continue;
		left = true;
		if (!is_asking(s, &w->id))
			ask(s, w, now);
		if (!room(s))
			break;
	}
	return left;
}

static int on_tick(sd_event_source *timer, uint64_t usec, void *userdata)
{
	struct seek *s = userdata;
	(void)timer;
	(void)usec;
	seek_run(s->d);
	return 0;
}

static int seek_new(struct daemon *d)
{
	struct seek *s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->d = d;
	int r = sd_event_add_time(d->event, &s->timer, CLOCK_BOOTTIME, 0, 10000, on_tick, s);
	if (r >= 0)
		r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
	if (r < 0) {
		seek_free(s);
		return r;
	}
	d->seek = s;
	fetches_seek(d->fetches);
	return 0;
}

void seek_free(struct seek *s)
{
	if (!s)
		return;
	sd_event_source_disable_unref(s->timer);
	free(s);
}

void seek_run(struct daemon *d)
{
	struct fetch_sought sought[FETCH_FILES_MAX];
	const uint64_t now = world_boot_us();
	uint32_t n_asked, n_coming;
	bool busy = false;
	if (!d->mesh || (!d->seek && seek_new(d) < 0))
		return;
	struct seek *s = d->seek;
	const uint32_t n = fetch_sought(d->fetches, now, sought, FETCH_FILES_MAX, &n_asked, &n_coming);
	asking_check(s, n_asked, n_coming, now);
	if (n > 0 && now >= s->ways_at)
		ways_look(s, now);
	for (uint32_t i = 0; i < n; i++)
		if (!ask_for(s, &sought[i], now))
			fetch_forsake(d->fetches, &sought[i].node);
	for (unsigned i = 0; i < AT_A_TIME; i++)
		busy |= s->asking[i].since > 0;
	(void)sd_event_source_set_time(s->timer, now + TICK);
	(void)sd_event_source_set_enabled(s->timer, n > 0 || busy ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}
