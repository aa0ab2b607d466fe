/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* All of a device's connections: listens, finds members on the local networks, dials them
 * and fixed addresses, keeps at most one link to each device and a second connection that takes over
 * when it fails (mesh-standby.c), serves joiners. This is the
 * header that a daemon needs, with link.h, identity.h, invite.h, token.h and join.h.
 *
 * Everything runs in the one thread that runs the sd-event loop; call nothing here from
 * another thread. Callbacks come from the loop, and may call any function here but mesh_free.
 *
 *     static void link_up(struct link *l, void *user)
 *     {
 *             link_handle(l, &handler, session_new(&l->peer, l->name, ...));  // at once
 *     }
 *     static void link_down(struct link *l, const struct err *why, bool successor, void *user)
 *     {
 *             session_free(l->user);                    // l is gone when this returns
 *     }
 *     static const struct mesh_handler mesh_handler = { .link_up = link_up, ... };
 *
 *     identity_open("/store/identity", &identity, &e);
 *     invites_open("/store/identity", &invites, &e);
 *     mesh_new(event, identity, &(struct mesh_options){ .invites = invites,
 *              .discover = true }, &mesh_handler, user, &mesh, &e);
 *     token_address_parse("hub.example.org", SHOAL_PORT, &a, &e);
 *     mesh_connect(mesh, &a, &e);                       // remembered by the caller
 *     sd_event_loop(event);
 *     mesh_free(mesh);                                  // link_down for each link
 */

#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "engine/id.h"
#include "transports/identity.h"
#include "transports/invite.h"
#include "transports/link.h"
#include "transports/neighbours.h"
#include "transports/token.h"

#define MESH_FIXED_MAX 64

struct mesh;

struct mesh_options {
	const char *listen;      /* address as a literal; NULL or "": all */
	uint16_t port;           /* TCP; 0: SHOAL_PORT, or any when that is taken */
	bool discover;           /* beacons on the local networks, and DNS-SD */
	bool no_beacons;         /* with discover: DNS-SD alone */
	bool no_dnssd;           /* with discover: beacons alone */
	const char *bluetooth;   /* the adapter, as bluez_new takes it; NULL: none */
	const char *wifidirect;  /* the interface, as wpa_new takes it; NULL: no Wi-Fi Direct */
	unsigned wifidirect_after; /* seconds that a link by Bluetooth has to be busy */
	unsigned wifidirect_idle;  /* seconds without traffic after which a group ends */
	const char *root;        /* NULL, or where tests keep a sys/ and dev/ of theirs for what is said of radios */
	struct invites *invites; /* borrowed; NULL: nobody can join here */
	unsigned neighbours;     /* how many, where more are in reach; 0: NEIGHBOURS_LIMIT; or NEIGHBOURS_ALL */
	bool take_all;           /* a hub: whoever asks for a link gets one */
};

/* What the session with a device is in the middle of. */
enum mesh_work {
	MESH_COMPARING, /* for the first time */
	MESH_CONTENTS,  /* somebody waits for some; n: bytes that are to come, 0 where that is not known */
	MESH_CHANGES,   /* n: so many, both ways together */
};
struct mesh_backlog {
	enum mesh_work work;
	uint64_t n;
};

struct mesh_handler {
	/* May this member connect? False (revoked): refused within the handshake. NULL: all. */
	bool (*admit)(const struct id *device, void *user);
	/* A link to a device, which had none. The callee calls link_handle at once. */
	void (*link_up)(struct link *l, void *user);
	/* The link is gone, and l with it when this returns. successor: another connection to the device is there that
	 * takes over; its link_up follows, or no_successor if nothing comes of it. */
	void (*link_down)(struct link *l, const struct err *why, bool successor, void *user);
	/* There is no link to the device, and no connection that could take over from the one that there was. May come
	 * though none was announced. NULL: not interested. */
	void (*no_successor)(const struct id *device, void *user);
	/* A device was admitted by an invitation. NULL: not interested. */
	void (*joined)(const struct id *device, const char *name, enum role role, void *user);
	/* Who is reachable over the links of devices, as neighbours_ways takes it: an array that the caller
	 * frees. -errno: not known. Asked about once a second at most. NULL: never known. */
	int (*ways)(struct neighbour_way **ret, uint32_t *ret_n, void *user);
	/* The session with the device is in the middle of something that would have to begin anew: its link is not let
	 * go for want of room. ret (may be NULL): with what. NULL: never. */
	bool (*busy)(const struct id *device, struct mesh_backlog *ret, void *user);
	/* All that happened here is known to be at the device, which has a link. NULL: it always is. */
	bool (*told)(const struct id *device, void *user);
	/* One line for a log; never holds a secret. priority as in syslog(3). NULL: none. */
	void (*note)(int priority, const char *text, void *user);
};

/* identity is borrowed and must outlive it. */
int mesh_new(sd_event *event, const struct identity *identity, const struct mesh_options *o,
	     const struct mesh_handler *handler, void *user, struct mesh **ret, struct err *e);
void mesh_free(struct mesh *m);
DEFINE_CLEANUP(struct mesh *, mesh_free)

/* The TCP port that is listened on. */
uint16_t mesh_port(const struct mesh *m);

/* Keeps a connection to a fixed address: dials, and again with growing pauses (1 s doubling
 * up to 60 s, a quarter up or down by chance), at once when the network changes. -EEXIST
 * when it is there already, -ENOSPC when there are MESH_FIXED_MAX. */
int mesh_connect(struct mesh *m, const struct token_address *a, struct err *e);

/* The same for an address where a device once was (it invited this one): while discovery finds that device
 * nearby it is a neighbour like others, or none. */
int mesh_remember(struct mesh *m, const struct token_address *a, struct err *e);

/* Forgets the address and cuts a link that was dialled through it; -ENOENT. */
int mesh_disconnect(struct mesh *m, const struct token_address *a);

/* The machine is about to sleep: all links end, and none is made. */
void mesh_rest(struct mesh *m);
/* It has slept, or did not after all: whatever looks like a link is none, and all that is known is dialled
 * at once. Without mesh_rest as well. */
void mesh_wake(struct mesh *m);

struct mesh_fixed {
	struct token_address address;
	bool connected;          /* the device there has a link, this way or another */
	struct id device;        /* who answered last; zero: nobody yet */
	char error[200];         /* of the last attempt that failed, "" when none did */
	int64_t next_us;         /* CLOCK_BOOTTIME of the next attempt; 0: none is planned */
};

/* The index-th fixed address; -ENOENT past the last. */
int mesh_fixed(const struct mesh *m, unsigned index, struct mesh_fixed *ret);

/* Walks through the links: NULL gives the first; NULL comes after the last. */
struct link *mesh_next_link(struct mesh *m, struct link *after);
struct link *mesh_link(struct mesh *m, const struct id *device); /* or NULL */
/* A link to the device is wanted for so many seconds, though it may not be among those that this one chooses:
 * it alone can answer something. False: it is not in reach, or others are wanted likewise already. */
bool mesh_need(struct mesh *m, const struct id *device, unsigned seconds);
void mesh_spare(struct mesh *m, const struct id *device); /* it is not wanted like that any more */
/* Discovery heard the device not long ago. */
bool mesh_hears(const struct mesh *m, const struct id *device);
/* The connection that would take over from that link; false: there is none. */
bool mesh_standby(struct mesh *m, const struct id *device, struct link_info *ret);

/* The link to the device was found to be slow, or not to be: the other connection may carry what it does from then
 * on. */
void mesh_paced(struct mesh *m, const struct id *device, bool slow);

/* Something changed here: with nobody to tell it to, that is a reason to look for members by Wi-Fi Direct. */
void mesh_news(struct mesh *m);
/* What the link goes over, for a person: "tcp", "bluetooth", "wifi-direct". */
const char *mesh_transport(const struct mesh *m, const struct link_info *info);

/* Why the link to the device goes that way, for a person: shoal(1), peers, has the list. "" where there is no link. */
#define MESH_REASON_SIZE 120
void mesh_reason(const struct mesh *m, const struct id *device, char ret[static MESH_REASON_SIZE]);

/* Cuts the link to a device (link_down comes before this returns) and stops dialling it
 * until it is found anew; with admit false it stays away. */
void mesh_cut(struct mesh *m, const struct id *device);

/* This device's addresses for a token, most promising first; returns how many. */
unsigned mesh_addresses(const struct mesh *m, struct token_address *ret, unsigned max);

/* Makes an invitation and its token: lifetime in seconds. The caller wipes *ret. */
int mesh_invite(struct mesh *m, enum role role, int64_t lifetime, unsigned uses, struct token *ret,
		struct err *e);
