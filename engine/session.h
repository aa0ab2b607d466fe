/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Sync with one peer over one link, without I/O: bytes and time in, bytes out. The host carries
 * the bytes over an authenticated, ordered, reliable link, and feeds time and news of the replica.
 * Formats and rules: shoal-protocol(7).
 *
 *     HELLO        protocol version, limits, own actor, highest seq of the peer's actors held here,
 *                  fingerprint over all scopes. Equal on both sides: live at once.
 *     SCOPES       (scope, fingerprint of its vector) of each scope
 *     VECTOR       (scope, vector) for the scopes that differ, or that the peer lacks
 *     ROUND        scope, upto: the sender's vector in a published view; what follows until END are
 *                  deltas of every node that the peer lacks of it
 *     DELTA        one delta of the open round
 *     END          the round's scope is complete: the receiver claims `upto`
 *     ACK          scope, vector: what the sender of ACK holds *durably*
 *     MARK         how far the open round is
 *     RESUME       how far a round of a scope came that was cut, before SCOPES
 *     WHOLE        please send this node whole (a delta did not fit)
 *     RECORD       the answer
 *     WANT, CHUNK  chunks and manifests by hash
 *     SEEK, FOUND  look for that one among your other peers; here it is, or: that was in vain
 *     CREDIT       bytes taken from the peer's stream and done with
 *     HOLDS, HELD  do you hold these contents, and are you going to?
 *     PRESENCE     who is connected to whom
 *     EAGER        whose changes are wanted at once, and of whose an ACK is enough at first
 *     PING, PONG   round trip time, life, how fast the link is (engine/pace.h)
 *     PACE         how fast the sender of PACE finds the link
 *     PACK         frames, packed
 *
 * A session starts a round whenever a published view holds more than the peer is known to have.
 * What came from the peer is not sent back. Deltas whose chunks are missing wait (with everything
 * later for the same node, and END) until the chunks have come. Memory is bounded by the window. */

#include <stdbool.h>
#include <stdint.h>

#include "engine/fetch.h"
#include "engine/frame.h"
#include "engine/replica.h"

#define SESSION_PROTOCOL 1
#define SESSION_FRAME_MAX (CHUNK_WIRE_MAX + 1024)
#define SESSION_STRANGERS 4096 /* actors new to this replica that a peer may introduce */
#define SESSION_WINDOW (1024u * 1024) /* bytes in flight that the peer has not credited */

struct session;

/* peer: the device id that the link's certificate proved. The session sends HELLO first thing. */
int session_new(struct replica *replica, const struct id *peer, uint64_t now_us,
		struct session **ret);
void session_free(struct session *s);

/* Takes bytes from the peer. -EPROTO with a message: the link must be closed. Other errors come
 * from the store. */
int session_input(struct session *s, const void *data, size_t len, uint64_t now_us, struct err *e);

/* Appends up to about max bytes for the peer to out (a frame may exceed it). Returns 1 when there
 * is more to send now, 0 when not, or -errno. Call again after input, after news, after a timeout.
 */
int session_output(struct session *s, struct buf *out, size_t max, uint64_t now_us, struct err *e);

/* The replica published a new view (after replica_flush): there may be more to send and to
 * acknowledge. */
void session_news(struct session *s);

/* When to call session_output next at the latest (microseconds on the host's clock), UINT64_MAX:
 * never. */
uint64_t session_deadline(const struct session *s);

enum session_phase { SESSION_HELLO, SESSION_SYNCING, SESSION_LIVE };

struct session_status {
	enum session_phase phase;
	uint64_t bytes_in, bytes_out;
	uint64_t deltas_in, deltas_out;
	uint64_t behind_here;  /* nodes that the peer still has to send, as far as known */
	uint64_t behind_there; /* nodes that we still have to send or the peer to acknowledge */
	uint64_t rtt_us;       /* 0: not measured yet */
	uint64_t since_us;     /* the peer's last byte */
	uint64_t rate_out, rate_in; /* bits a second, as we measure and as the peer does; 0: not known */
	bool slow_out, slow_in;     /* counts as slow (engine/pace.h) */
	uint64_t measured_us;       /* when rate_out was measured last; 0: not in this session */
};
void session_status(const struct session *s, struct session_status *ret);
/* So much is half done that would begin anew if the session ended now that this should be put off: the first
 * comparison of what both hold, contents that somebody asked for, or more than SESSION_FEW nodes on their way, either way. Not so what changes now
 * and then, as that would be true all the time. */
enum session_work { SESSION_IDLE, SESSION_COMPARING, SESSION_CONTENTS, SESSION_CHANGES };
enum session_work session_work(const struct session *s);
bool session_is_busy(const struct session *s);
#define SESSION_FEW 100u
/* Which store of the device the peer is; false: it has not said yet. */
bool session_peer_actor(const struct session *s, struct actor_id *ret);

/* True when all that the newest view holds is durable at the peer as well. */
bool session_in_step(const struct session *s);

/* Contents that are not here are asked of this peer as well, from when it has said who it is. Once, right
 * after session_new; f is borrowed and outlives the session. */
void session_fetch_for(struct session *s, struct fetches *f);
bool session_is_source(const struct session *s); /* it is asked by now, or will be soon */
/* What the session is to fetches, when another connection takes over from its link: it ends, and the session of
 * that one is given it, right after session_fetch_for. So who waits for contents goes on waiting. NULL: nothing,
 * or it has had its chances. The caller owns it, until it gives it or fetch_leave. */
struct fetch_source *session_fetch_hand(struct session *s, uint64_t now_us);
void session_fetch_take(struct session *s, struct fetch_source *take);

/* Tells the peer, and hears from it, who is connected to whom; as session_fetch_for. */
struct presence;
void session_presence_for(struct session *s, struct presence *p);
/* What is known of the link from an earlier session over the same way, right after session_new: bits a
 * second (0: nothing), and whether it counts as slow. */
void session_pace(struct session *s, uint64_t rate, bool slow);
/* Whether it is slow, in any direction. False: that is not known. */
bool session_slow(const struct session *s, bool *ret);

/* Frames go as they are, not packed: for somebody who looks at them on their way. */
void session_unpacked(struct session *s);

/* The sessions of one replica go by what each of them knows: changes that come over several of them are asked of
 * the fastest one, and only word of them of the others. Once, right after session_new; s outlives the session.
 * When a session is freed the others of its spread may have something to send. */
struct spread;
void session_spread_for(struct session *s, struct spread *spread);

/* Asks whether the peer holds these contents (shoal-protocol(7), "Who holds contents"); n <=
 * FRAME_HOLDS_MAX. *ret_number counts from 1. -EBUSY: too many questions are open; -ENOTCONN: it has not
 * said who it is yet; -ENOMEM. */
int session_ask_holds(struct session *s, const struct holding *h, uint32_t n, uint64_t *ret_number);
/* Takes the next answer: bit i is about h[i]. False: there is none. */
bool session_take_held(struct session *s, uint64_t *ret_number, uint64_t *ret_bits);
/* The peer said that contents of some of its files are missing there. */
bool session_peer_partial(const struct session *s);

DEFINE_CLEANUP(struct session *, session_free)
