/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The inside of a mesh, for mesh*.c: connections (mesh-conn.c), those that wait to take over
 * (mesh-standby.c), the addresses that are dialled (mesh-target.c), how fast ways were (mesh-way.c) and why one was
 * taken (mesh-reason.c). */

#include "transports/address.h"
#include "transports/bluetooth.h"
#include "transports/dial.h"
#include "transports/ifaces.h"
#include "transports/mesh.h"
#include "transports/radios.h"
#include "transports/tcp.h"
#include "transports/tls.h"
#include "transports/wifidirect.h"

#define SECOND ((uint64_t)1000000)

enum conn_state {
	CONN_HANDSHAKE,
	CONN_ASKED,    /* accepted, the handshake is over, the peer has not said yet what it is for */
	CONN_GREETING, /* dialled, the handshake is over, not greeted yet */
	CONN_REST,     /* would take over from the link to the same device */
	CONN_UP,
	CONN_DEAD, /* to be freed when the loop comes round */
};

/* What the dialler asks for, and, the first two, what it is answered. */
enum { CONN_CARRY = 1, CONN_STANDBY = 2, CONN_NEIGHBOUR = 3, CONN_NEEDED = 4, CONN_REMEMBERED = 5,
       CONN_ALONE = 6, CONN_HUB = 7 };

/* Why a connection became the link in place of another one. */
enum chosen {
	CHOSEN_FIRST, /* there was no other */
	CHOSEN_ENDED,
	CHOSEN_SILENT,
	CHOSEN_SLOW,
	CHOSEN_CHEAPER,
	CHOSEN_CLOSER, /* shorter round trip */
	CHOSEN_PEER,   /* the other device knows why */
};

struct target;

struct conn {
	struct mesh *mesh;
	struct conn *prev, *next; /* newest first */
	enum conn_state state;
	bool dialled;
	struct tls *tls;
	struct target *target; /* that dialled it, unless that is gone */
	struct address remote;
	struct id peer; /* zero until its certificate was seen */
	uint64_t done;  /* when the handshake was over */
	uint64_t up;    /* when it became the link, which one that rested is long after that */
	sd_event_source *timer; /* of the greeting, or the answer of one that rests */
	bool asks_rest; /* CONN_GREETING: for that */
	uint8_t ask;    /* what the dialler asked for; 0: not yet */
	bool let_go;    /* by this device, which has enough */
	uint64_t bytes, counted; /* that it had carried, and when that was */
	bool busy;      /* as it was then */
	bool hub;       /* the peer said that it has as many links as ask */
	bool called;    /* CONN_REST: this device has called it */
	uint64_t stall_since, stall_said; /* what was sent was not acknowledged in time: first and last word of it */
	uint64_t busy_since; /* of one by Bluetooth; 0: it is not */
	enum chosen chosen;
	const char *before; /* what way_kind said of the link that it took over from; NULL: none */
};

/* An address to be dialled. */
struct target {
	struct mesh *mesh;
	struct target *prev, *next;
	bool fixed;
	bool hint;                 /* fixed, but a device that is nearby is chosen or not like others */
	bool radio;                /* found by Bluetooth: the device is zero until its certificate was seen */
	uint32_t tag;              /* radio: of the device */
	bool met;                  /* somebody answered there: a hub has said so */
	struct token_address host; /* fixed */
	struct address address;    /* found */
	struct id device;          /* found: who said so; fixed: who answered, zero at first */
	struct dial *dial;
	struct conn *conn;
	sd_event_source *timer;
	uint64_t backoff;
	uint64_t due;    /* when the timer ends; 0: it does not run */
	uint64_t heard;  /* found: last beacon */
	bool useless;    /* as a second way, as long as the link is the one that it is */
	struct err why;
};

#define WAYS_MAX 16

struct way { /* to a device */
	struct id device;
	char local[LINK_TEXT], remote[LINK_TEXT];
	uint64_t slow_at; /* when it was slow last */
};

struct mesh {
	sd_event *event;
	const struct identity *identity;
	struct invites *invites;
	const struct mesh_handler *handler;
	void *user;
	char listen[ADDRESS_TEXT]; /* "": on all addresses */
	char root[128];            /* "", or of a test */
	struct tls_context *context;
	struct listener *listener;
	struct ifaces *ifaces;
	struct discovery *discovery;
	struct avahi *avahi;
	struct bluetooth *bluetooth; /* NULL: not wanted */
	struct wifidirect *direct; /* likewise */
	struct radios *radios;     /* NULL: neither is wanted */
	bool radio_blocked[2];     /* as was told, of each radios_kind */
	uint64_t direct_after; /* so long a link has to be busy, in microseconds */
	bool direct_news;      /* something happened here that was not told in the last group */
	bool direct_untold;    /* to one that left the group while others stayed */
	bool direct_busy;      /* a link by Bluetooth has been so for long enough */
	char direct_want[MESH_REASON_SIZE]; /* why this device wants a group; "": it does not */
	char direct_why[MESH_REASON_SIZE];  /* why there is one */
	char direct_ifname[WPA_IFNAME_SIZE]; /* of the group; "": there is none */
	unsigned direct_index; /* likewise; 0 */
	struct joinserver *joinserver;
	sd_event_source *reap;
	struct conn *conns;
	struct target *targets;
	unsigned found; /* targets that are not fixed */
	struct neighbours *neighbours;
	sd_event_source *choice;
	uint64_t choice_at; /* UINT64_MAX: not planned */
	uint64_t ways_at;   /* not to be asked for before */
	bool take_all;
	struct way way[WAYS_MAX]; /* the slow ones, the last one noted last */
	unsigned n_ways;
	bool closing;
	bool resting; /* from mesh_rest to mesh_wake */
};

void mesh_note(const struct mesh *m, int priority, const char *fmt, ...) _printf_(3, 4);
uint64_t mesh_now(const struct mesh *m); /* CLOCK_BOOTTIME of this turn of the loop */

/* ---- connections ---- */

/* listener_accept_fn, of a mesh. */
void mesh_accept(struct wire *wire_take, const struct address *remote, void *mesh);
/* A connection over what a target dialled; on failure the wire is gone and the target as before. */
int conn_dialled(struct target *t, struct wire *wire_take, const struct address *remote,
		 struct err *e);
/* Ends a connection; why is what its target and its user are told. It is freed by mesh_reap. */
void conn_end(struct conn *c, const struct err *why);
void conn_free(struct conn *c);
/* The same, and the peer is told that this device has enough neighbours. */
void conn_dismiss(struct conn *c);
/* It carries a session from now on; all others to the device end. */
void conn_up(struct conn *c);
int mesh_reap(sd_event_source *s, void *mesh);
/* The connection to a device that is up, or NULL. */
struct conn *conn_link_to(const struct mesh *m, const struct id *device, const struct conn *not);

/* ---- standby ---- */

/* How much another connection is worth beside the link: 0 nothing, 1 other family of addresses, 2
 * other interface. */
unsigned standby_worth(const struct mesh *m, const struct conn *link, const struct link_info *other);
struct conn *standby_of(const struct mesh *m, const struct id *device); /* or NULL */
/* The device has a link; a second connection, or a better second one, would be welcome. */
bool standby_wanted(const struct mesh *m, const struct id *device);
/* The same of what is about to become one. */
bool standby_fits(const struct mesh *m, const struct id *device, const struct link_info *info);
/* The peer asks for c to be one; the device has a link. */
bool standby_refused(const struct conn *c);
/* c is one from now on; data is what came behind the greeting. */
void standby_begin(struct conn *c, const uint8_t *data, size_t len);
/* Asks the peer to go on with c, which rests, instead of link (NULL: it has gone). */
void standby_call(struct conn *c, const struct conn *link, enum chosen chosen);
/* What was sent over the link is not acknowledged. */
void standby_stalled(struct conn *link);
/* How fast the link is, was found. */
void standby_paced(struct conn *link);

/* ---- ways ---- */

/* The connection's was slow within the last hour. */
bool way_is_slow(const struct conn *c);
/* Its link was found to be slow, or not to be. */
void way_note(const struct conn *c, bool slow);

/* The way it goes, for a person: "the network", "Bluetooth", "Wi-Fi Direct"; each always the same text. */
const char *way_kind(const struct conn *c);

/* ---- neighbours ---- */

int choice_new(struct mesh *m, unsigned limit, struct err *e);
void choice_free(struct mesh *m);
/* Chooses in so many microseconds, or before. */
void choice_soon(struct mesh *m, uint64_t pause);
void choice_seen(struct mesh *m, const struct id *device);
/* The device behind the address is wanted; what to ask it for. */
bool choice_wants(const struct target *t);
uint8_t choice_ask(const struct target *t);
/* The device asks for a link by c: false, there are enough. */
bool choice_takes(const struct conn *c);
void choice_linked(const struct conn *c);
/* c was the last connection to its device. */
void choice_ended(const struct conn *c, const struct err *why);
/* A dialled device refused, or could not be reached. */
void choice_failed(const struct target *t, const struct err *why);

/* ---- addresses to be dialled ---- */

struct target *target_new(struct mesh *m, bool fixed);
void target_free(struct target *t);
void target_plan(struct target *t, uint64_t pause); /* dials after that many microseconds */
/* Dials again after a pause that grows. */
void target_failed(struct target *t, const struct err *why);
/* The device got a link: its addresses rest, but for the one that may be a second way. It lost it:
 * they are dialled, soon. */
void targets_rest(struct mesh *m, const struct id *device);
void targets_wake(struct mesh *m, const struct id *device);
/* It lost its standby: another one is looked for. */
void targets_spare(struct mesh *m, const struct id *device);
/* There may be a way to all of them now: those that wait are dialled at once. */
void targets_hurry(struct mesh *m);
/* What is being dialled is not any more: the machine is about to sleep. */
void targets_stop(struct mesh *m);
/* Dials those that are wanted since, and not those that are not. */
void targets_choose(struct mesh *m);
/* It was heard: dials it, unless that is under way or of no use. */
void target_heard(struct target *t);
/* What discovery calls, of a mesh. */
void targets_found(const struct id *device, const struct address *a, void *mesh);

/* ---- Bluetooth ---- */

int radio_new(struct mesh *m, const char *adapter, struct err *e);
/* Follows what radios there are, for Bluetooth and Wi-Fi Direct. */
int radio_watch(struct mesh *m, struct err *e);
/* One more connection by Bluetooth may be made; spare: for a second way. */
bool radio_has_room(const struct mesh *m, bool spare);
/* Of two that hear each other by Bluetooth this one calls first. */
bool radio_first(const struct target *t);
/* A link or a second way ended: others may be in reach by Bluetooth. */
void radio_link_ended(struct mesh *m);

/* ---- Wi-Fi Direct ---- */

int direct_new(struct mesh *m, const struct mesh_options *o, struct err *e);
/* c goes over the group, whose interface may be gone by now. */
bool direct_carries(const struct conn *c);
/* c, which carries a session, is about to end. */
void direct_link_ends(struct conn *c);
