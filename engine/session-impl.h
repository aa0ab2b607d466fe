/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The inside of a session, for session*.c. */

#include "engine/fetch.h"
#include "engine/frame.h"
#include "engine/intake.h"
#include "engine/pace.h"
#include "engine/pack.h"
#include "engine/presence.h"
#include "engine/session.h"
#include "engine/spans.h"
#include "engine/spread.h"

#define OLDEST_PROTOCOL 1
#define PING_US (10ull * 1000 * 1000)       /* of silence, when there is to be an answer */
#define IDLE_PING_US (50ull * 1000 * 1000)  /* when not; of the two the smaller id asks */
#define SPARE_PING_US (75ull * 1000 * 1000) /* should it not */
#define PONG_US (20ull * 1000 * 1000)
#define HELLO_US (30ull * 1000 * 1000)
#define ROUNDS_MAX 16 /* that a peer may have unanswered */
#define ROUNDS_IN_ALL 256 /* and with those that it has taken for answered */
#define ROUNDS_OUT 8  /* that we do */
#define SCOPES_MAX 65536
#define WANTED_MAX 4096
#define NO_NUMBER UINT32_MAX
#define HOLDS_OPEN_MAX 8 /* HOLDS without their HELD, each way */
#define MARK_EVERY 1024 /* bytes of deltas, at least */
#define MARK_EVERY_TURNED 512 /* … newest first, where bytes are dear */
#define OPEN_MAX 4      /* rounds under way, on a slow link */
#define CHUNK_LONG 16384 /* bytes of a chunk that goes over no link of which nothing is known */
#define FILLERS 16      /* frames that are sent to measure a link, before contents */
#define TURN_MIN 4      /* nodes that are left of a round, for it to go on newest first */
#define MOVES 1024 /* so many bytes are something, though the frame that they are of is not complete */

struct scope {
	struct id id;
	uint32_t in_no, out_no; /* in the tables of the stream, NO_NUMBER: not yet */
	struct vv told, heard, sent;
	const struct vv *have; /* in the view; NULL: not there */
	bool vector_due;       /* fingerprints differ: VECTOR is to be sent */
	bool vector_awaited;
	struct vv resume;      /* of RESUME, until the first round */
	struct spans resume_spans;
	struct vv resumed;     /* what we said in RESUME, until the first round */
	struct spans resumed_spans;
	struct vv seen;        /* on a slow link: of the view before */
	bool fresh;            /* … and it was changed since */
	bool held_known;       /* the peer has said in this session what it holds */
	/* session-spread.c; times are 0 when there is nothing of the kind */
	struct vv owed;        /* what was here when the peer began to lack something of which it wants only word */
	uint64_t owed_at;      /* when that is sent all the same */
	bool anyhow;           /* that is now */
	uint64_t announce_at;
	uint64_t ask_at;       /* for what the peer has announced */
};

struct outgoing { /* a round that is not acknowledged */
	struct scope *scope;
	struct vv upto;
	struct view *view;
	uint64_t no, nodes;
	bool raised; /* its deltas are of several views, of which this is the newest */
	struct backlog *backlog; /* until it is ended */
	size_t since_mark;       /* bytes of deltas sent */
	uint64_t in_turn;        /* deltas sent since it was gone on with */
	struct dot mark;         /* the last one */
};

struct piecewise { /* an encoded delta on its way */
	struct buf data;
	size_t at;
	bool busy;
};

/* Questions that the peer asked, and answers that have come, in their order. */
struct holds {
	uint64_t asked, answered; /* numbers of the last ones of ours */
	uint32_t n_asked[HOLDS_OPEN_MAX]; /* how many each was about, by its number */
	uint64_t bits[HOLDS_OPEN_MAX];
	uint64_t taken;           /* by the host */
	struct buf ask;           /* frames to be sent */
	uint64_t heard;           /* number of the last one of the peer's */
	struct buf reply;
	uint32_t n_replies;       /* in reply */
	bool begun;               /* the first word about that is said, or it is that nothing is */
	bool told_partial;        /* we said that contents are missing here */
	uint64_t absents;         /* so many then */
	uint64_t whole_at;        /* commits from which on they are not; 0: they are, or nothing was seen yet */
	bool known, partial;      /* of the peer */
};

struct session {
	struct replica *replica;
	struct actors *actors;
	struct id peer;
	int error;
	char message[200];

	/* the peer's stream */
	struct buf inbuf;
	struct unpacker unpacker;
	struct buf unpacked_in; /* of the PACK that is taken in */
	struct actor_codec *in_actors;
	struct actor_quota strangers;
	struct scope **in_scope;
	uint32_t n_in, cap_in;
	struct intake *intake;
	uint64_t in_flight[STREAMS]; /* not credited by us */

	/* our stream */
	/* A delta in pieces is decoded after frames that came between, so deltas and records have
	 * tables of their own. */
	struct actor_codec *out_actors, *delta_actors, *record_actors;
	uint32_t n_out;
	uint64_t out_flight[STREAMS]; /* not credited by the peer */
	uint64_t window;              /* the peer's */
	struct buf payload;           /* scratch */
	struct packer packer;
	uint64_t round_nodes; /* in the newest round of ours, when it began */
	struct buf unpacked_out;      /* scratch */
	bool unpacked;                /* frames go as they are */
	struct arena arena;

	/* scopes, sorted by id */
	struct scope **scope;
	uint32_t n_scopes, cap_scopes;

	/* what both keep */
	unsigned interest_changes;  /* of our store, when the session began */
	struct interests *peer_keeps; /* as it says, or said last */
	uint32_t *common;           /* places in hello_view of the scopes that both keep */
	uint32_t n_common;
	bool interests_out, interests_in; /* ours are to be sent; the peer's are complete */
	bool interests_begun;
	uint32_t interests_at;
	struct interests_room room;

	struct view *view;       /* newest known */
	struct view *hello_view; /* of our HELLO, until the peer's SCOPES are complete */
	bool news;
	bool hello_out, hello_in;
	bool resumes_out;       /* RESUME is to be sent, before SCOPES */
	struct id resume_last;  /* the scope of the last one, when there was one */
	bool resume_any;
	bool scopes_out; /* to be sent */
	uint32_t scopes_at;
	bool scopes_in;       /* the peer's are complete, or not needed */
	uint32_t scopes_seen; /* of common, compared with the peer's */
	uint32_t scopes_heard;
	struct id scopes_last;
	bool vectors_due;
	bool live;

	/* who the two are */
	uint64_t meeting;
	unsigned renewals;   /* of our store, when the session began */
	struct actor_id own; /* as our HELLO said */
	uint64_t acknowledged, tagged; /* of our own batches: in HELLO; whose tags the peer has */
	struct actor_id peer_self;
	uint64_t peer_acknowledged;
	struct id peer_print; /* fingerprint in HELLO */
	bool witness_out, witness_in;

	/* the round under way and those not acknowledged */
	struct outgoing out[ROUNDS_OUT];
	uint32_t n_rounds;
	uint64_t open;       /* number of the one under way; 0: none. Others may have to be gone on with */
	uint32_t next_fresh; /* the scope where to look for the next one that comes first */
	uint64_t looked;     /* commits of the view in which fresh scopes were looked for; 0: not yet */
	uint64_t last_round;
	uint64_t ahead, behind; /* bytes of what is changed now, and of what waits (session-fresh.c) */
	bool in_debt;           /* what waits has its turn */
	uint32_t next_scope; /* where to look for work */
	bool idle;           /* nothing to start until news or an answer */
	struct piecewise bundle, delta, record; /* bundle: goes before the delta */
	struct view *whole_view; /* a record that the peer asked for */
	struct id whole_id;
	uint64_t whole_round;
	bool whole_due;
	struct part_sent *sent_parts; /* ring: deltas that were sent over a slow link, and may not fit; NULL: none yet */
	uint32_t n_sent_parts;         /* so many since it began */
	struct sha256 *wanted; /* ring */
	uint32_t wanted_at, n_wanted;
	uint32_t n_refused; /* of these, the first: asked for before the link was told to be slow */
	struct buf chunk;

	struct fetches *fetches; /* NULL: contents are not fetched over this session */
	struct fetch_source *source;
	struct fetch_seek given_seek; /* what is about to be sent of what the peer looks for */
	struct buf given;
	bool given_any;
	struct buf unfound; /* SEEKs that are answered by a session that is no source */
	struct presence *presence; /* NULL: nothing is told */
	struct presence_side *side;
	bool source_kick; /* it may have contents now that it had not when they were begun last */
	struct holds holds;
	struct parts *parts; /* session-part.c; NULL: what is kept is not known yet */
	struct spread *spread; /* NULL: all that the peer has is wanted at once */
	struct session *spread_next;
	struct wishes own_wishes, peer_wishes;
	uint64_t spread_at;  /* when scopes are to be looked at */
	uint64_t spread_now; /* the time, as it was said last */
	/* session-burst.c */
	uint64_t burst_given; /* up to when changes have been given time */
	uint64_t burst_round; /* when the last round began */
	uint64_t burst_until; /* what is changed waits until then for more; 0: nothing does */

	/* life */
	bool ping_due, pong_due;
	uint64_t pong_value, ping_value;
	bool ping_out;
	uint64_t last_in, last_ping;
	uint64_t moved_at;   /* when something of a round came */
	size_t since_moved;  /* bytes */
	uint64_t bytes_in, bytes_out, deltas_out, rtt;

	/* how fast the link is, in both directions */
	struct pace pace;
	bool pace_out; /* PACE is to be sent */
	uint64_t pace_at;   /* when it may be sent next */
	uint64_t probe_at;  /* a slow link is measured then, if contents are missing at the peer */
	uint64_t probe_us;  /* and next so long after that */
	uint64_t probe_began, probe_from; /* the last step of that: when, and bytes answered by then */
	unsigned probe_step;              /* 0: it is not being measured */
	unsigned fillers;   /* sent to learn how fast it is */
	uint64_t pace_told_at;
	bool pace_told, pace_told_slow;   /* of PACE */
	uint64_t paces, paces_at; /* of the peer: how many may come, and since when that is so */
	uint64_t peer_rate; /* of PACE, bits a second */
	bool peer_slow;
};

/* session-pack.c. Packs the frames of out from there on; paced: what pace had been sent before them; more: there is more
 * to send at once. -ENOMEM. */
int session_pack(struct session *s, struct buf *out, size_t from, uint64_t paced, bool more);
/* Frames that were packed, to s->unpacked_in. -EPROTO, -ENOMEM. */
int session_unpack(struct session *s, struct cursor *c, struct err *e);
/* session-pace.c: questions that stand between data, and PACE. */
int session_put_ping(struct session *s, struct buf *out, uint64_t now);
int session_put_pace(struct session *s, struct buf *out, uint64_t now);
/* Something to learn from how fast the link is, before contents go. 0: it is known, or enough was sent. */
int session_put_filler(struct session *s, struct buf *out);
/* Measures a slow link over which nothing goes, when it is time to. */
int session_put_probe(struct session *s, struct buf *out, uint64_t now);
uint64_t session_pace_deadline(const struct session *s);
int session_get_pong(struct session *s, struct cursor *c, uint64_t now, struct err *e);
int session_get_pace(struct session *s, struct cursor *c, uint64_t now, struct err *e);
/* session-fresh.c: a delta that is not whole goes over a slow link; -ENOMEM. */
int session_fresh_part(struct session *s, const struct record *sent);
/* May the record be sent that the peer asked for? -ESTALE. */
int session_fresh_whole(struct session *s, const struct record *whole, struct err *e);
/* Notes which scopes were changed since the view before, on a slow link; -ENOMEM. */
int session_fresh_look(struct session *s);
/* So many bytes of the round were sent. */
void session_fresh_sent(struct session *s, const struct outgoing *o, size_t bytes);
/* What waits has to have a turn: nothing comes first. */
bool session_in_debt(struct session *s);
/* A round that was left for another; NULL: none. */
struct outgoing *session_fresh_left(struct session *s);
/* A scope that can come first now, while `o` is under way; NULL: none. */
struct scope *session_fresh_next(struct session *s, const struct outgoing *o);
/* The round of the scope (NULL: the one under way) that is not ended; NULL: there is none. */
struct outgoing *session_round_of(struct session *s, const struct scope *scope);
/* session-holds.c: frames 23 and 24. */
int session_get_holds(struct session *s, struct cursor *c, struct err *e);
int session_get_held(struct session *s, struct cursor *c, struct err *e);
/* A frame came that says nothing of that: if contents were missing there, the peer would have told. */
int session_held_known(struct session *s, struct err *e);
int session_put_partial(struct session *s, struct buf *out); /* before acknowledgements */
int session_put_holds(struct session *s, struct buf *out);
/* session-fetch.c */
int session_put_fetch(struct session *s, struct buf *out, uint64_t now);
int session_get_fetched(struct session *s, const struct sha256 *hash, const void *data, size_t len,
			uint64_t cost, uint64_t now, struct err *e);
int session_check_fetch(struct session *s, uint64_t now, struct err *e);
int session_get_seek(struct session *s, struct cursor *c, struct err *e);
int session_get_found(struct session *s, struct cursor *c, uint64_t cost, uint64_t now, struct err *e);
/* One CHUNK that the peer wants, or looks for. 1: something was sent. */
int session_chunk_step(struct session *s, struct buf *out, struct err *e);
int session_given_step(struct session *s, struct buf *out, struct err *e);
/* session-presence.c */
int session_put_presence(struct session *s, struct buf *out, uint64_t now);
int session_get_presence(struct session *s, struct cursor *c, uint64_t now, struct err *e);

/* session-burst.c: does a new round wait for more that is changed? What is to be told when one begins. */
bool session_burst_waits(struct session *s);
void session_burst_round(struct session *s, const struct vv *upto, const struct vv *sent);
uint64_t session_burst_deadline(const struct session *s);

/* session-spread.c: frame 35, and what it leads to. */
void session_spread_leave(struct session *s);
int session_spread_claims(struct session *s, uint64_t now, struct err *e); /* who was first? */
/* RAISE has come: what of it is here already? base: what the peer had told before. -ENOMEM. */
int session_spread_raised(struct session *s, const struct scope *scope, const struct vv *base, uint64_t now,
			  struct err *e);
int session_spread_look(struct session *s, uint64_t now); /* what is due, and when? -ENOMEM */
/* Of a scope that the peer lacks something of: is a round due, and up to what; *ret is empty before. o: its round
 * under way, which is to be raised; NULL: a new one. */
bool session_spread_due(const struct session *s, const struct scope *scope);
int session_spread_upto(const struct session *s, const struct scope *scope, const struct outgoing *o,
			struct vv *ret); /* -ENOMEM */
/* The peer has said that the link is slow: what comes over it first is asked of others whose links are not. */
void session_spread_slow(const struct session *s);
uint64_t session_spread_deadline(const struct session *s);
/* Wishes and announcements; along: something is sent anyway. */
int session_spread_put(struct session *s, struct buf *out, bool along, uint64_t now);
int session_eager_get(struct session *s, struct cursor *c, struct scope *scope, struct err *e);
/* session-out.c: may a frame of that stream begin? Appends one. */
bool session_window_open(const struct session *s, enum stream stream);
int session_put_counted(struct session *s, struct buf *out, enum stream stream, enum frame_type t,
			const struct buf *first, const void *data, size_t len);
/* A scope at the end of the payload; ACK with what the newest view has of it. */
void session_put_scope(struct session *s, struct scope *scope);
int session_put_ack(struct session *s, struct scope *scope, struct buf *out);

/* When the peer is asked whether it lives, and when it is dead, if nothing comes from it. */
uint64_t session_ping_at(const struct session *s);
uint64_t session_dead_at(const struct session *s);
/* session-in.c. The peer knows of changes of our own actor that this store never made. */
int session_check_own(struct session *s, const struct vv *v, struct err *e);
/* session-out.c. Encodes a delta in s->arena, to be sent; the next frame of it. */
int session_delta_encode(struct session *s, const struct delta *d);
int session_delta_piece(struct session *s, struct buf *out);
/* Remembers the first error: nothing works after it. Returns code. */
int session_fail(struct session *s, int code, struct err *e);
/* -ESTALE: our store has become another incarnation since the session began. */
int session_same_store(const struct session *s, struct err *e);
struct scope *session_scope_find(const struct session *s, const struct id *id); /* NULL: none */
int session_scope(struct session *s, const struct id *id, struct scope **ret);  /* or a new one */
/* Takes the newest view, and its vectors into the scopes. */
int session_refresh(struct session *s, struct err *e);
/* session-interest.c. Both keep all of the scope. */
bool session_shares(const struct session *s, const struct id *scope);
/* Finds the scopes of HELLO's view that both keep; -ENOMEM. */
int session_common(struct session *s);
/* What HELLO says: of what both keep and of what they hold of it. */
void session_fingerprint(const struct session *s, struct id *ret);
/* Fingerprints were equal: the peer keeps what it kept last. */
int session_interests_known(struct session *s, struct err *e);
int session_interest_put(struct session *s, struct buf *out);
int session_interest_get(struct session *s, struct cursor *c, struct err *e);
/* The view's vectors, into the scopes that both keep. */
int session_scopes_of_view(struct session *s, struct err *e);
/* The peer holds all that our view does; our view holds all that the peer told. */
bool session_all_heard(const struct session *s);
bool session_all_here(const struct session *s);
/* Drops HELLO's view once both lists of scopes are through. */
void session_hello_done(struct session *s);
bool session_rounds_open(const struct session *s); /* any is not ended */
void session_round_drop(struct session *s, uint32_t i);
/* The peer told more: drops the rounds that it holds now. */
void session_rounds_answered(struct session *s);
