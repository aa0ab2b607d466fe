/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/join.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "transports/cert.h"
#include "transports/dial.h"
#include "transports/identity.h"
#include "transports/invite.h"
#include "transports/joinmsg.h"
#include "transports/keyfile.h"
#include "transports/tls.h"

#define DEFAULT_TIMEOUT_US ((uint64_t)30000000)
#define ATTEMPTS 24 /* link-local addresses count once for each interface */

struct attempt {
	struct join *join;
	struct token_address address;
	struct dial *dial;
	struct tls *tls;
	bool over;
	bool ready;   /* verified, and could be asked */
	bool refused; /* was asked, and does not know the token */
	struct err why;
};

struct join {
	sd_event *event;
	char *dir;
	char device[NAME_SIZE];
	struct token token;
	gnutls_x509_privkey_t key;
	struct tls_context *context;
	sd_event_source *deadline;
	sd_event_source *next; /* somebody refused: who else is there? */
	join_fn *fn;
	void *user;
	struct attempt *asked; /* who got our request */
	struct buf in;
	bool done;
	unsigned n;
	struct attempt attempt[ATTEMPTS];
};

static void attempt_done(struct attempt *a)
{
	dial_free(a->dial);
	tls_free(a->tls);
	a->dial = NULL;
	a->tls = NULL;
	a->ready = false;
	a->over = true;
}

void join_free(struct join *j)
{
	if (!j)
		return;
	for (unsigned i = 0; i < j->n; i++)
		attempt_done(&j->attempt[i]);
	sd_event_source_disable_unref(j->deadline);
	sd_event_source_disable_unref(j->next);
	tls_context_unref(j->context);
	if (j->key)
		gnutls_x509_privkey_deinit(j->key);
	token_wipe(&j->token);
	keyfile_wipe(&j->in);
	sd_event_unref(j->event);
	free(j->dir);
	free(j);
}

/* ---- the end ---- */

static void conclude(struct join *j, const struct join_result *result, const struct err *why)
{
	if (j->done)
		return;
	j->done = true;
	(void)sd_event_source_set_enabled(j->deadline, SD_EVENT_OFF);
	for (unsigned i = 0; i < j->n; i++)
		attempt_done(&j->attempt[i]);
	j->fn(result, why, j->user);
}

static void give_up(struct join *j, int code, const char *text)
{
	struct err e = { 0 };
	err_set(&e, code, "%s", text);
	conclude(j, NULL, &e);
}

/* Nobody was left to ask: the most telling failure, then advice. */
static void nobody(struct join *j, bool timeout)
{
	const struct attempt *best = NULL;
	for (unsigned i = 0; i < j->n; i++) {
		const struct attempt *a = &j->attempt[i];
		if (a->refused) {
			give_up(j, -EACCES,
				"the inviter does not know this token: it expired, or was made by "
				"another device; ask for a new one");
			return;
		}
		if (a->why.code == -ENOPROTOOPT) {
			give_up(j, -EKEYREVOKED,
				"the inviter has no open invitation: the token was used already or "
				"has expired; ask for a new one");
			return;
		}
		/* That something answered says more than that nothing did. */
		if (a->why.code && (!best || a->why.code == -EKEYREJECTED ||
				    a->why.code == -EKEYEXPIRED))
			best = a;
	}
	struct err e = { 0 };
	const char *advice = "be on the same network or nearby with Bluetooth, check the inviter runs (shoal status), or give "
			     "--address HOST:PORT";
	if (best)
		err_set(&e, timeout ? -ETIMEDOUT : -EHOSTUNREACH,
			"the inviter is not reachable at %u address%s (%.70s): %s", j->n,
			j->n == 1 ? "" : "es", best->why.message, advice);
	else
		err_set(&e, timeout ? -ETIMEDOUT : -EHOSTUNREACH,
			"the inviter is not reachable at %u address%s: %s", j->n,
			j->n == 1 ? "" : "es", advice);
	conclude(j, NULL, &e);
}

static void attempt_failed(struct attempt *a, const struct err *why)
{
	struct join *j = a->join;
	a->why = *why;
	attempt_done(a);
	if (j->done)
		return;
	if (j->asked == a) {
		/* It may have admitted us: then the invitation is gone. */
		struct err e = *why;
		err_prefix(&e, "the inviter went away before it answered; try again, or ask for a "
			       "new token");
		conclude(j, NULL, &e);
		return;
	}
	for (unsigned i = 0; i < j->n; i++)
		if (!j->attempt[i].over)
			return;
	nobody(j, false);
}

/* ---- the answer ---- */

static void accept_answer(struct join *j, const struct join_answer *m)
{
	struct attempt *a = j->asked;
	struct err e = { 0 };
	struct identity_joined made = {
		.key = j->key,
		.root = { m->root.der, m->root.len },
		.chain_len = m->chain_len,
		.secret = m->secret,
	};
	for (unsigned i = 0; i < m->chain_len; i++) {
		made.chain[i].der = m->chain[i].der;
		made.chain[i].len = m->chain[i].len;
	}
	/* The root must be the one of the token, not just any that its sender likes. */
	_cleanup_(gnutls_x509_crt_deinitp) gnutls_x509_crt_t root = NULL;
	struct sha256 h;
	int r = cert_decode(m->root.der, m->root.len, &root, &e);
	if (r == 0 && (cert_fingerprint(root, &h) < 0 || sha256_cmp(&h, &j->token.root) != 0))
		r = err_set(&e, -EKEYREJECTED, "the inviter sent another mesh's root certificate");
	if (r == 0)
		r = identity_create_joined(j->dir, &made, (int64_t)time(NULL), &e);
	if (r < 0) {
		conclude(j, NULL, &e);
		return;
	}
	struct join_result result = { .inviter = tls_link(a->tls)->peer, .address = a->address };
	memcpy(result.inviter_name, m->inviter, NAME_SIZE);
	conclude(j, &result, NULL);
}

/* An address may have come to another member of the mesh since the token was made: it
 * answers as it must, and the inviter may still be at one of the others. */
static void refused(struct join *j)
{
	struct attempt *a = j->asked;
	a->refused = true;
	attempt_done(a);
	j->asked = NULL;
	buf_reset(&j->in);
	(void)sd_event_source_set_enabled(j->next, SD_EVENT_ONESHOT);
}

static void answered(struct join *j)
{
	struct join_answer m;
	if (joinmsg_get_answer(j->in.data, j->in.len, &m) < 0) {
		give_up(j, -EBADMSG, "the inviter's answer is malformed: update Shoal on both devices");
		return;
	}
	switch (m.status) {
	case JOIN_OK:
		accept_answer(j, &m);
		break;
	case JOIN_REFUSED:
		refused(j);
		break;
	case JOIN_USED:
		give_up(j, -EKEYREVOKED, "this token was used already: ask for a new one");
		break;
	case JOIN_FAILED:
		give_up(j, -EREMOTEIO, "the inviter could not admit this device: look at its log, "
				       "then ask for a new token");
		break;
	case JOIN_BUSY:
		give_up(j, -EBUSY, "too many wrong tokens came from this address: try again in a "
				   "minute");
		break;
	}
}

static void received(struct link *l, const uint8_t *data, size_t len, void *user)
{
	struct attempt *a = user;
	struct join *j = a->join;
	(void)l;
	if (j->done || j->asked != a)
		return;
	if (len > JOIN_MESSAGE_MAX - j->in.len) {
		give_up(j, -EBADMSG, "the inviter's answer is malformed");
		return;
	}
	buf_put(&j->in, data, len);
	ssize_t n = joinmsg_length(j->in.data, j->in.len, JOIN_MESSAGE_MAX);
	if (n < 0 || (n > 0 && j->in.len > (size_t)n))
		give_up(j, -EBADMSG, "the inviter's answer is malformed");
	else if (n > 0 && j->in.len == (size_t)n)
		answered(j);
}

static const struct link_handler link_handler = { .received = received };

/* ---- the request ---- */

static void ask(struct attempt *a)
{
	struct join *j = a->join;
	struct join_request q = { 0 };
	struct sha256 key;
	uint8_t binding[TLS_BINDING_SIZE];
	_cleanup_(buf_done) struct buf out = { 0 };
	j->asked = a;
	invite_id(j->token.secret, &q.invite);
	invite_key(j->token.secret, &key);
	memcpy(q.name, j->device, sizeof(q.name));
	int r = tls_binding(a->tls, binding);
	if (r == 0)
		r = joinmsg_proof(&key, binding, q.name, &q.proof);
	gnutls_memset(&key, 0, sizeof(key));
	joinmsg_put_request(&out, &q);
	link_handle(tls_link(a->tls), &link_handler, a);
	if (r < 0 || buf_failed(&out) ||
	    link_write(tls_link(a->tls), out.data, out.len) != (ssize_t)out.len)
		give_up(j, -EIO, "cannot send the request to join");
}

/* The next who is ready is asked when the loop comes round. */
static int on_next(sd_event_source *s, void *user)
{
	struct join *j = user;
	bool waiting = false;
	(void)s;
	if (j->done || j->asked)
		return 0;
	for (unsigned i = 0; i < j->n; i++) {
		struct attempt *a = &j->attempt[i];
		if (a->ready) {
			ask(a);
			return 0;
		}
		waiting |= !a->over;
	}
	if (!waiting)
		nobody(j, false);
	return 0;
}

static void on_up(struct tls *t, void *user)
{
	struct attempt *a = user;
	struct join *j = a->join;
	a->ready = true;
	if (!j->asked)
		ask(a);
	else if (id_equal(&tls_link(t)->peer, &tls_link(j->asked->tls)->peer))
		attempt_done(a); /* another address of the same device was quicker */
}

static void on_closed(struct tls *t, const struct err *why, void *user)
{
	struct err copy = *why; /* it belongs to the session, which goes */
	(void)t;
	attempt_failed(user, &copy);
}

static const struct tls_handler tls_handler = { .up = on_up, .closed = on_closed };

static void on_dialled(struct wire *wire, const struct address *remote, const struct err *why,
		       void *user)
{
	struct attempt *a = user;
	struct join *j = a->join;
	(void)remote;
	if (!wire) {
		struct err copy = *why;
		attempt_failed(a, &copy);
		return;
	}
	struct err e = { 0 };
	const struct tls_options o = { .kinds = TLS_JOIN };
	if (tls_new(j->context, j->event, wire, &o, &tls_handler, a, &a->tls, &e) < 0)
		attempt_failed(a, &e);
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *user)
{
	struct join *j = user;
	(void)s, (void)usec;
	if (j->asked)
		give_up(j, -ETIMEDOUT, "the inviter did not answer in time: try again, or ask for a "
				       "new token");
	else
		nobody(j, true);
	return 0;
}

static void add_attempt(struct join *j, const struct token_address *a)
{
	for (unsigned i = 0; i < j->n; i++)
		if (j->attempt[i].address.port == a->port &&
		    strcmp(j->attempt[i].address.host, a->host) == 0)
			return;
	if (j->n < ATTEMPTS)
		j->attempt[j->n++] = (struct attempt){ .join = j, .address = *a };
}

/* A link-local address means another host on every interface: try all. */
static void add_address(struct join *j, const struct token_address *a)
{
	if (strncasecmp(a->host, "fe80:", 5) != 0 || strchr(a->host, '%')) {
		add_attempt(j, a);
		return;
	}
	struct if_nameindex *list = if_nameindex();
	for (struct if_nameindex *i = list; i && i->if_index; i++) {
		struct token_address scoped = { .port = a->port };
		if (strcmp(i->if_name, "lo") == 0)
			continue;
		snprintf(scoped.host, sizeof(scoped.host), "%.50s%%%s", a->host, i->if_name);
		add_attempt(j, &scoped);
	}
	if_freenameindex(list);
}

int join_new(sd_event *event, const struct join_options *o, join_fn *fn, void *user,
	     struct join **ret, struct err *e)
{
	size_t len = strlen(o->device);
	struct stat st;
	if (!name_ok(o->device, len))
		return err_set(e, -EINVAL,
			       "a device's name has 1 to %d bytes of UTF-8 without control characters",
			       NAME_LIMIT);
	if (lstat(o->dir, &st) == 0)
		return err_set(e, -EEXIST, "this store belongs to a mesh already: give --store for "
					   "another one");
	int r = token_check_expiry(o->token, (int64_t)time(NULL), e);
	if (r < 0)
		return r;

	_cleanup_(join_freep) struct join *j = calloc(1, sizeof(*j));
	if (!j || !(j->dir = strdup(o->dir)))
		return err_set(e, -ENOMEM, "out of memory");
	j->event = sd_event_ref(event);
	j->fn = fn;
	j->user = user;
	j->token = *o->token;
	memcpy(j->device, o->device, len + 1);
	buf_reserve(&j->in, JOIN_MESSAGE_MAX); /* at once: it will hold the mesh's secret */
	r = cert_key_new(&j->key, e);
	if (r == 0)
		r = tls_context_new_joiner(j->key, &j->token.root, &j->context, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < o->n_extra && i < JOIN_EXTRA_ADDRESSES; i++)
		add_address(j, &o->extra[i]);
	for (unsigned i = 0; i < o->token->n; i++)
		add_address(j, &o->token->address[i]);
	if (j->n == 0)
		return err_set(e, -EDESTADDRREQ, "the token names no address: give --address "
						 "HOST[:PORT] of the inviter");
	uint64_t timeout = o->timeout_us ? o->timeout_us : DEFAULT_TIMEOUT_US;
	r = sd_event_add_time_relative(event, &j->deadline, CLOCK_BOOTTIME, timeout, 100000,
				       on_deadline, j);
	if (r >= 0)
		r = sd_event_add_defer(event, &j->next, on_next, j);
	if (r >= 0)
		r = sd_event_source_set_enabled(j->next, SD_EVENT_OFF);
	if (r < 0)
		return err_errno(e, r, "cannot join");
	for (unsigned i = 0; i < j->n; i++) {
		struct attempt *a = &j->attempt[i];
		r = dial_host(event, a->address.host, a->address.port, timeout, on_dialled, a, &a->dial, e);
		if (r < 0)
			return r;
	}
	*ret = TAKE_PTR(j);
	return 0;
}
