/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/joinserver.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "transports/cert.h"
#include "transports/joinmsg.h"
#include "transports/keyfile.h"

#define REQUEST_TIMEOUT_US ((uint64_t)10000000)
#define LINGER_US ((uint64_t)2000000)
#define SUSPECTS 32 /* addresses with wrong proofs that are remembered */

struct serving {
	struct joinserver *server;
	struct tls *tls; /* NULL: free slot */
	struct address remote;
	struct buf in;
	sd_event_source *timer;
	bool answered;
};

struct suspect {
	struct address remote;
	unsigned wrong;
	uint64_t until; /* CLOCK_BOOTTIME, microseconds */
};

struct joinserver {
	sd_event *event;
	const struct identity *identity;
	struct invites *invites;
	joinserver_fn *fn;
	void *user;
	struct serving serving[JOIN_SERVE_MAX];
	struct suspect suspect[SUSPECTS];
	unsigned next_suspect;
};

static void serving_done(struct serving *v)
{
	v->timer = sd_event_source_disable_unref(v->timer);
	tls_free(v->tls);
	v->tls = NULL;
	buf_done(&v->in);
}

int joinserver_new(sd_event *event, const struct identity *identity, struct invites *invites,
		   joinserver_fn *fn, void *user, struct joinserver **ret, struct err *e)
{
	struct joinserver *s = calloc(1, sizeof(*s));
	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->event = sd_event_ref(event);
	s->identity = identity;
	s->invites = invites;
	s->fn = fn;
	s->user = user;
	*ret = s;
	return 0;
}

void joinserver_free(struct joinserver *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < JOIN_SERVE_MAX; i++)
		serving_done(&s->serving[i]);
	sd_event_unref(s->event);
	free(s);
}

/* ---- who guesses ---- */

static uint64_t now_us(const struct joinserver *s)
{
	uint64_t now = 0;
	(void)sd_event_now(s->event, CLOCK_BOOTTIME, &now);
	return now;
}

static struct suspect *find_suspect(struct joinserver *s, const struct address *remote)
{
	for (unsigned i = 0; i < SUSPECTS; i++)
		if (s->suspect[i].wrong > 0 && address_same_host(&s->suspect[i].remote, remote))
			return &s->suspect[i];
	return NULL;
}

static bool put_off(struct joinserver *s, const struct address *remote)
{
	struct suspect *x = find_suspect(s, remote);
	if (x && now_us(s) >= x->until)
		x->wrong = 0;
	return x && x->wrong >= JOIN_WRONG_MAX;
}

static void note_wrong(struct joinserver *s, const struct address *remote)
{
	struct suspect *x = find_suspect(s, remote);
	if (!x) {
		x = &s->suspect[s->next_suspect++ % SUSPECTS];
		*x = (struct suspect){ .remote = *remote };
	}
	x->wrong++;
	x->until = now_us(s) + (uint64_t)JOIN_WRONG_SECONDS * 1000000;
}

bool joinserver_open(struct joinserver *s, const struct address *remote)
{
	return identity_can_invite(s->identity) && !put_off(s, remote) &&
	       invites_outstanding(s->invites, (int64_t)time(NULL));
}

/* ---- the answer ---- */

static enum join_status check_proof(struct serving *v, const struct join_request *q)
{
	struct joinserver *s = v->server;
	struct sha256 key = { { 0 } }, want;
	uint8_t binding[TLS_BINDING_SIZE];
	int known = invites_key(s->invites, &q->invite, (int64_t)time(NULL), &key);
	if (tls_binding(v->tls, binding) < 0 || joinmsg_proof(&key, binding, q->name, &want) < 0)
		return JOIN_FAILED;
	/* In constant time, and computed for an unknown invitation as well. */
	bool equal = gnutls_memcmp(want.b, q->proof.b, sizeof(want.b)) == 0;
	gnutls_memset(&key, 0, sizeof(key));
	gnutls_memset(&want, 0, sizeof(want));
	if (known == -EALREADY)
		return JOIN_USED;
	if (known < 0 || !equal)
		return JOIN_REFUSED;
	return JOIN_OK;
}

/* Redeems first and issues then: a crash between the two costs an invitation, and never
 * admits a second device. */
static enum join_status admit(struct serving *v, const struct join_request *q, struct buf *ret)
{
	struct joinserver *s = v->server;
	int64_t now = (int64_t)time(NULL);
	gnutls_x509_crt_t crt = tls_peer_certificate(v->tls);
	struct id device;
	if (!crt || cert_device_id(crt, &device) < 0)
		return JOIN_FAILED;
	enum role role;
	int r = invites_redeem(s->invites, &q->invite, now, &role);
	if (r < 0)
		return r == -EALREADY ? JOIN_USED : r == -ENOENT ? JOIN_REFUSED : JOIN_FAILED;

	struct buf chain[CERT_CHAIN_MAX] = { { 0 }, { 0 } };
	gnutls_datum_t root = { 0 };
	unsigned n = 0;
	r = identity_issue(s->identity, crt, q->name, role, now, chain, &n, NULL);
	if (r == 0 && gnutls_x509_crt_export2(identity_root(s->identity), GNUTLS_X509_FMT_DER,
					      &root) < 0)
		r = -ENOMEM;
	if (r == 0) {
		struct join_answer a = {
			.status = JOIN_OK,
			.chain_len = n,
			.root = { root.data, root.size },
			.secret = identity_secret(s->identity),
		};
		for (unsigned i = 0; i < n; i++) {
			a.chain[i].der = chain[i].data;
			a.chain[i].len = chain[i].len;
		}
		memcpy(a.inviter, identity_device_name(s->identity), NAME_SIZE);
		a.inviter[NAME_LIMIT] = 0;
		joinmsg_put_answer(ret, &a);
		r = buf_failed(ret) ? -ENOMEM : 0;
	}
	gnutls_free(root.data);
	for (unsigned i = 0; i < CERT_CHAIN_MAX; i++)
		buf_done(&chain[i]);
	if (r < 0)
		return JOIN_FAILED;
	if (s->fn)
		s->fn(&device, q->name, role, s->user);
	return JOIN_OK;
}

static int on_timer(sd_event_source *src, uint64_t usec, void *user)
{
	(void)src, (void)usec;
	serving_done(user);
	return 0;
}

static void answer(struct serving *v, const uint8_t *data, size_t len)
{
	struct joinserver *s = v->server;
	struct join_request q;
	_cleanup_(keyfile_wipe) struct buf out = { 0 };
	enum join_status status;
	buf_reserve(&out, JOIN_MESSAGE_MAX);
	if (put_off(s, &v->remote))
		status = JOIN_BUSY;
	else if (joinmsg_get_request(data, len, &q) < 0)
		status = JOIN_REFUSED;
	else
		status = check_proof(v, &q);
	if (status == JOIN_REFUSED)
		note_wrong(s, &v->remote);
	if (status == JOIN_OK)
		status = admit(v, &q, &out);
	if (status != JOIN_OK) {
		buf_reset(&out);
		joinmsg_put_answer(&out, &(struct join_answer){ .status = status });
	}
	v->answered = true;
	link_read(tls_link(v->tls), true); /* to see it close */
	(void)link_write(tls_link(v->tls), out.data, out.len);
	(void)sd_event_source_set_time_relative(v->timer, LINGER_US);
	(void)sd_event_source_set_enabled(v->timer, SD_EVENT_ONESHOT);
}

static void received(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct serving *v = user;
	if (v->answered)
		return;
	if (v->in.len + len > JOIN_REQUEST_MAX) {
		link_close(l);
		return;
	}
	buf_put(&v->in, data, len);
	ssize_t n = joinmsg_length(v->in.data, v->in.len, JOIN_REQUEST_MAX);
	if (n < 0 || buf_failed(&v->in) || (n > 0 && v->in.len > (size_t)n))
		link_close(l);
	else if (n > 0 && v->in.len == (size_t)n)
		answer(v, v->in.data, v->in.len);
}

static const struct link_handler link_handler = { .received = received };

static void closed(struct tls *t, const struct err *why, void *user)
{
	(void)t, (void)why;
	serving_done(user);
}

static const struct tls_handler tls_handler = { .closed = closed };

void joinserver_serve(struct joinserver *s, struct tls *tls_take, const struct address *remote)
{
	struct serving *v = NULL;
	for (unsigned i = 0; i < JOIN_SERVE_MAX; i++)
		if (!s->serving[i].tls)
			v = &s->serving[i];
	if (!v) {
		tls_free(tls_take);
		return;
	}
	tls_set_handler(tls_take, &tls_handler, v);
	*v = (struct serving){ .server = s, .tls = tls_take, .remote = *remote };
	if (sd_event_add_time_relative(s->event, &v->timer, CLOCK_BOOTTIME, REQUEST_TIMEOUT_US,
				       100000, on_timer, v) < 0) {
		serving_done(v);
		return;
	}
	link_handle(tls_link(v->tls), &link_handler, v);
}
