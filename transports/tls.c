/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Buffers
 * =======
 *
 * GnuTLS reads and writes memory only; this file moves the memory to and from the wire.
 * So a short read of a packet wire never loses the rest of a packet, writes can be cut at a
 * packet wire's MTU, and GnuTLS never sees a full socket (a record is made only while less
 * than CIPHER_HIGH bytes wait). Plain bytes are collected for one turn of the loop before
 * they become records. Bounds per session: 64 KiB read ahead, 256 KiB plain, 64 KiB and one
 * record encrypted.
 *
 *     link_write -> plain -> gnutls_record_send -> cipher -> wire
 *     received   <- gnutls_record_recv <- ahead <- wire
 */
#include "transports/tls-impl.h"

#include <assert.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdio.h>
#include <string.h>


#define AHEAD_MAX ((size_t)64 * 1024)
#define PLAIN_MAX ((size_t)256 * 1024)
#define CIPHER_HIGH ((size_t)64 * 1024)
#define READS_A_TURN 8 /* records delivered before others get their turn */
#define WAITS_MAX ((size_t)32 * 1024) /* plain bytes that wait for the end of a turn: the peer could do something */

/* ---- moving bytes ---- */

static ssize_t pull(gnutls_transport_ptr_t ptr, void *data, size_t n)
{
	struct tls *t = ptr;
	if (t->ahead_at == t->ahead.len) {
		t->ahead.len = t->ahead_at = 0;
		if (!t->wire_end && t->wire_error == 0) {
			ssize_t got = t->wire->ops->read(t->wire, t->ahead.data, AHEAD_MAX);
			if (got > 0) {
				t->ahead.len = (size_t)got;
				t->bytes_in += (uint64_t)got;
			} else if (got == 0) {
				t->wire_end = true;
			} else if (got != -EAGAIN) {
				t->wire_error = (int)got;
			}
		}
	}
	size_t left = t->ahead.len - t->ahead_at;
	if (left == 0) {
		if (t->wire_end)
			return 0;
		gnutls_transport_set_errno(t->session, t->wire_error ? ECONNRESET : EAGAIN);
		return -1;
	}
	n = n < left ? n : left;
	memcpy(data, t->ahead.data + t->ahead_at, n);
	t->ahead_at += n;
	return (ssize_t)n;
}

static ssize_t push(gnutls_transport_ptr_t ptr, const void *data, size_t n)
{
	struct tls *t = ptr;
	if (t->cipher_at == t->cipher.len) {
		buf_reset(&t->cipher);
		t->cipher_at = 0;
	}
	buf_put(&t->cipher, data, n);
	if (buf_failed(&t->cipher)) {
		gnutls_transport_set_errno(t->session, ENOMEM);
		return -1;
	}
	return (ssize_t)n;
}

/* GnuTLS asks for it only in blocking sessions, but wants it set beside pull. */
static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
	const struct tls *t = ptr;
	(void)ms;
	return t->ahead.len > t->ahead_at || t->wire_end;
}

static void write_cipher(struct tls *t)
{
	while (t->wire_error == 0 && t->cipher_at < t->cipher.len) {
		size_t n = t->cipher.len - t->cipher_at;
		if (t->wire->mtu && n > t->wire->mtu)
			n = t->wire->mtu;
		ssize_t sent = t->wire->ops->write(t->wire, t->cipher.data + t->cipher_at, n);
		if (sent == -EAGAIN)
			return;
		if (sent < 0) {
			t->wire_error = (int)sent;
			return;
		}
		t->cipher_at += (size_t)sent;
		t->bytes_out += (uint64_t)sent;
	}
}

/* Plain bytes become records and leave, as far as the wire takes them. */
static int flush(struct tls *t)
{
	write_cipher(t);
	while (t->state == UP && t->plain_at < t->plain.len &&
	       t->cipher.len - t->cipher_at < CIPHER_HIGH) {
		size_t n = t->plain.len - t->plain_at;
		n = n < RECORD_MAX ? n : RECORD_MAX;
		ssize_t rc = gnutls_record_send(t->session, t->plain.data + t->plain_at, n);
		if (rc < 0)
			return (int)rc;
		t->plain_at += (size_t)rc;
		write_cipher(t);
	}
	if (t->plain_at == t->plain.len) {
		buf_reset(&t->plain);
		t->plain_at = 0;
	} else if (t->plain_at > PLAIN_MAX / 2) {
		buf_consume(&t->plain, t->plain_at);
		t->plain_at = 0;
	}
	return 0;
}

static size_t room(const struct tls *t)
{
	size_t used = t->plain.len - t->plain_at;
	return t->state == UP && used < PLAIN_MAX ? PLAIN_MAX - used : 0;
}

static void again(struct tls *t)
{
	if (t->turn)
		(void)sd_event_source_set_enabled(t->turn, SD_EVENT_ONESHOT);
}

static void rewatch(struct tls *t)
{
	if (t->state == CLOSED)
		t->wire->ops->watch(t->wire, false, false);
	else
		t->wire->ops->watch(t->wire, t->state == HANDSHAKE || t->reading,
				    t->cipher_at < t->cipher.len);
}

/* ---- life and death ---- */

static struct tls *tls_ref(struct tls *t)
{
	t->refs++;
	return t;
}

static void tls_unref(struct tls *t)
{
	if (--t->refs > 0)
		return;
	/* GnuTLS's own state is cleared by it; these may hold what was said. */
	sd_event_source_disable_unref(t->timer);
	sd_event_source_disable_unref(t->turn);
	if (t->session)
		gnutls_deinit(t->session);
	wire_free(t->wire);
	if (t->peer)
		gnutls_x509_crt_deinit(t->peer);
	buf_done(&t->ahead);
	buf_done(&t->plain);
	buf_done(&t->cipher);
	tls_context_unref(t->context);
	sd_event_unref(t->event);
	gnutls_memset(t->record, 0, sizeof(t->record));
	free(t);
}

DEFINE_CLEANUP(struct tls *, tls_unref)

/* Once: tells the handler. */
static void end(struct tls *t)
{
	if (t->state == CLOSED)
		return;
	t->state = CLOSED;
	t->timer = sd_event_source_disable_unref(t->timer);
	write_cipher(t); /* an alert, if there is one */
	rewatch(t);
	if (!t->freed)
		t->handler->closed(t, &t->why, t->user);
}

/* Alerts in both directions: what we found wrong with the peer, as far as it may know. */
static gnutls_alert_description_t alert_for(int code)
{
	switch (code) {
	case -EKEYEXPIRED:
		return GNUTLS_A_CERTIFICATE_EXPIRED;
	case -EKEYREVOKED:
		return GNUTLS_A_CERTIFICATE_REVOKED;
	case -EKEYREJECTED:
		return GNUTLS_A_UNKNOWN_CA;
	case -EALREADY:
		return GNUTLS_A_USER_CANCELED;
	default:
		return GNUTLS_A_BAD_CERTIFICATE;
	}
}

static void explain_alert(struct tls *t, gnutls_alert_description_t a)
{
	const char *name = gnutls_alert_get_name(a);
	switch ((int)a) {
	case GNUTLS_A_NO_APPLICATION_PROTOCOL:
		err_set(&t->why, -ENOPROTOOPT, "the peer does not offer %s now",
			t->kinds & TLS_LINK ? TLS_ALPN_LINK : TLS_ALPN_JOIN);
		break;
	case GNUTLS_A_CERTIFICATE_EXPIRED:
		err_set(&t->why, -EACCES, "the peer refused this device: by its clock our "
					  "certificate is not valid now; check both clocks");
		break;
	case GNUTLS_A_CERTIFICATE_REVOKED:
		err_set(&t->why, -EACCES, "the peer refused this device: it is revoked");
		break;
	case GNUTLS_A_UNKNOWN_CA:
		err_set(&t->why, -EACCES, "the peer refused this device: it is of another mesh");
		break;
	case GNUTLS_A_USER_CANCELED:
		if (t->state == UP) {
			err_set(&t->why, -EUSERS, "the peer has enough neighbours");
			break;
		}
		__attribute__((__fallthrough__));
	default:
		err_set(&t->why, -EACCES, "the peer refused this device: %s",
			name ? name : "no reason given");
		break;
	}
}

/* What a failed handshake or read means to a person. */
static void explain(struct tls *t, int rc)
{
	if (t->why.code)
		return;
	if (t->wire_error) {
		err_errno(&t->why, t->wire_error, "the connection broke");
	} else if (rc == GNUTLS_E_FATAL_ALERT_RECEIVED || rc == GNUTLS_E_WARNING_ALERT_RECEIVED) {
		explain_alert(t, gnutls_alert_get(t->session));
	} else if (rc == GNUTLS_E_PREMATURE_TERMINATION || rc == GNUTLS_E_PULL_ERROR || t->wire_end) {
		err_set(&t->why, -ECONNRESET, "the peer closed the connection%s",
			t->state == HANDSHAKE ? " during the handshake" : "");
	} else {
		err_set(&t->why, -EPROTO, "the peer does not speak our TLS: %s",
			gnutls_strerror(rc));
	}
}

static void fail(struct tls *t, int rc)
{
	explain(t, rc);
	/* An alert tells a person at the other end what to look for; none answers an alert. */
	if (t->wire_error == 0 && !t->wire_end && rc != GNUTLS_E_FATAL_ALERT_RECEIVED) {
		if (rc == GNUTLS_E_CERTIFICATE_ERROR)
			(void)gnutls_alert_send(t->session, GNUTLS_AL_FATAL, alert_for(t->why.code));
		else
			(void)gnutls_alert_send_appropriate(t->session, rc);
	}
	end(t);
}

static void handshake(struct tls *t)
{
	int rc = gnutls_handshake(t->session);
	if (rc < 0) {
		if (t->wire_error || gnutls_error_is_fatal(rc))
			fail(t, rc);
		else if (t->ahead_at < t->ahead.len)
			again(t);
		return;
	}
	enum tls_kind kind;
	/* The verify function ran, or we would not be here; do not take that on trust. */
	bool verified = t->peer || !id_is_zero(&t->link.peer);
	if (gnutls_protocol_get_version(t->session) != GNUTLS_TLS1_3 ||
	    tls_agreed_kind(t->session, &kind) < 0 || kind != t->kind || !verified) {
		err_set(&t->why, -EPROTO, "the handshake did not end as it must");
		fail(t, GNUTLS_E_INSUFFICIENT_SECURITY);
		return;
	}
	t->state = UP;
	t->timer = sd_event_source_disable_unref(t->timer);
	uint64_t now = 0;
	(void)sd_event_now(t->event, CLOCK_BOOTTIME, &now);
	t->since = (int64_t)now;
	again(t);
	t->handler->up(t, t->user);
}

static void receive(struct tls *t)
{
	for (unsigned i = 0; t->state == UP && t->reading && !t->freed && !t->closing; i++) {
		if (i == READS_A_TURN) {
			again(t);
			return;
		}
		ssize_t rc = gnutls_record_recv(t->session, t->record, sizeof(t->record));
		if (rc > 0) {
			t->link.handler->received(&t->link, t->record, (size_t)rc, t->link.user);
			/* The peer may wait for an answer while this side goes on taking in. */
			if (!t->freed && t->state == UP && flush(t) < 0)
				return;
			continue;
		}
		if (rc == 0) {
			err_set(&t->why, -ESHUTDOWN, "the peer closed the link");
			end(t);
			return;
		}
		if (rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED) {
			if (t->wire_error)
				fail(t, (int)rc);
			return;
		}
		if (t->wire_error || gnutls_error_is_fatal((int)rc)) {
			fail(t, (int)rc);
			return;
		}
	}
}

static void step(struct tls *t)
{
	_cleanup_(tls_unrefp) struct tls *hold = tls_ref(t);
	(void)hold;
	if (t->state == UP && t->closing) {
		err_set(&t->why, -ESHUTDOWN, "this device closed the link");
		(void)gnutls_bye(t->session, GNUTLS_SHUT_WR);
		end(t);
	}
	if (t->state == HANDSHAKE)
		handshake(t);
	if (t->state == UP && !t->freed)
		receive(t);
	if (t->state == CLOSED || t->freed)
		return;
	int rc = flush(t);
	if (rc < 0 || t->wire_error) {
		fail(t, rc < 0 ? rc : GNUTLS_E_PUSH_ERROR);
		return;
	}
	if (t->state == UP && t->blocked && room(t) >= PLAIN_MAX / 2) {
		t->blocked = false;
		if (t->link.handler && t->link.handler->writable)
			t->link.handler->writable(&t->link, t->link.user);
	}
	if (!t->freed)
		rewatch(t);
}

static void on_ready(struct wire *w, void *user)
{
	(void)w;
	step(user);
}

static int on_turn(sd_event_source *s, void *user)
{
	(void)s;
	step(user);
	return 0;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *user)
{
	struct tls *t = user;
	(void)s, (void)usec;
	_cleanup_(tls_unrefp) struct tls *hold = tls_ref(t);
	(void)hold;
	err_set(&t->why, -ETIMEDOUT, "the peer did not finish the TLS handshake in time");
	end(t);
	return 0;
}

static void on_stalled(struct wire *w, void *user)
{
	struct tls *t = user;
	(void)w;
	_cleanup_(tls_unrefp) struct tls *hold = tls_ref(t);
	(void)hold;
	if (t->state == UP && !t->freed && t->handler->stalled)
		t->handler->stalled(t, t->user);
}

void tls_haste(struct tls *t, bool on)
{
	if (t->wire->ops->haste)
		t->wire->ops->haste(t->wire, on);
}

void tls_set_handler(struct tls *t, const struct tls_handler *handler, void *user)
{
	t->handler = handler;
	t->user = user;
}

void tls_dismiss(struct tls *t)
{
	t->dismissed = true;
}

void tls_free(struct tls *t)
{
	if (!t || t->freed)
		return;
	t->freed = true;
	if (t->state == UP) {
		(void)flush(t);
		if (t->dismissed)
			(void)gnutls_alert_send(t->session, GNUTLS_AL_FATAL, GNUTLS_A_USER_CANCELED);
		else
			(void)gnutls_bye(t->session, GNUTLS_SHUT_WR);
		write_cipher(t);
	}
	t->state = CLOSED;
	t->timer = sd_event_source_disable_unref(t->timer);
	t->turn = sd_event_source_disable_unref(t->turn);
	t->wire->ops->watch(t->wire, false, false);
	tls_unref(t);
}

/* ---- the link ---- */

#define TLS_OF(l) ((struct tls *)(l)) /* link is the first member */
#define CONST_TLS_OF(l) ((const struct tls *)(l))

static ssize_t op_write(struct link *l, const void *data, size_t len)
{
	struct tls *t = TLS_OF(l);
	if (t->state != UP || t->closing || t->freed)
		return -EPIPE;
	size_t n = room(t);
	n = len < n ? len : n;
	if (n < len)
		t->blocked = true;
	buf_put(&t->plain, data, n);
	if (buf_failed(&t->plain)) {
		err_set(&t->why, -ENOMEM, "out of memory");
		t->closing = true;
		again(t);
		return -ENOMEM;
	}
	/* What fails here fails again when it gets its turn. */
	if (t->plain.len - t->plain_at >= WAITS_MAX)
		(void)flush(t);
	again(t);
	return (ssize_t)n;
}

static size_t op_room(const struct link *l)
{
	return room(CONST_TLS_OF(l));
}

static void op_read(struct link *l, bool on)
{
	struct tls *t = TLS_OF(l);
	t->reading = on && l->handler;
	/* What was read ahead shows on no descriptor. */
	if (t->state == UP && !t->freed)
		again(t);
}

void tls_info(const struct tls *t, struct link_info *ret)
{
	*ret = (struct link_info){
		.transport = "",
		.dialled = !t->server,
		.bytes_in = t->bytes_in,
		.bytes_out = t->bytes_out,
		.since = t->since,
	};
	t->wire->ops->info(t->wire, ret);
}

static void op_info(const struct link *l, struct link_info *ret)
{
	tls_info(CONST_TLS_OF(l), ret);
}

static void op_close(struct link *l)
{
	struct tls *t = TLS_OF(l);
	t->closing = true;
	again(t);
}

static const struct link_ops link_ops = {
	.write = op_write,
	.room = op_room,
	.read = op_read,
	.info = op_info,
	.close = op_close,
};

struct link *tls_link(struct tls *t)
{
	return &t->link;
}

struct tls *tls_of_link(struct link *l)
{
	assert(l->ops == &link_ops);
	return TLS_OF(l);
}

enum tls_kind tls_kind(const struct tls *t)
{
	return t->kind;
}

gnutls_x509_crt_t tls_peer_certificate(const struct tls *t)
{
	return t->server ? t->peer : NULL;
}

gnutls_x509_crt_t tls_peer_root(const struct tls *t)
{
	return t->server ? NULL : t->peer;
}

int tls_binding(const struct tls *t, uint8_t ret[static TLS_BINDING_SIZE])
{
	static const char label[] = "EXPORTER-shoal-join";
	char out[TLS_BINDING_SIZE];
	if (t->state != UP)
		return -ENOTCONN;
	int rc = gnutls_prf_rfc5705(t->session, sizeof(label) - 1, label, 0, "", sizeof(out), out);
	if (rc < 0)
		return -EIO;
	memcpy(ret, out, sizeof(out));
	return 0;
}

/* ---- construction ---- */

static int set_up_session(struct tls *t)
{
	/* No tickets by either side; without a PSK there is no early data either. */
	unsigned flags = (t->server ? GNUTLS_SERVER : GNUTLS_CLIENT) | GNUTLS_NONBLOCK |
			 GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS | GNUTLS_NO_AUTO_SEND_TICKET;
	int rc = gnutls_init(&t->session, flags);
	if (rc < 0)
		return rc;
	gnutls_session_set_ptr(t->session, t);
	gnutls_transport_set_ptr(t->session, t);
	gnutls_transport_set_pull_function(t->session, pull);
	gnutls_transport_set_push_function(t->session, push);
	gnutls_transport_set_pull_timeout_function(t->session, pull_timeout);
	gnutls_handshake_set_max_packet_length(t->session, 32 * 1024);
	rc = gnutls_priority_set(t->session, t->context->priority);
	if (rc == 0)
		rc = gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE,
					    t->kinds & TLS_LINK ? t->context->link
								: t->context->join);
	if (rc < 0)
		return rc;

	gnutls_datum_t alpn[2];
	unsigned n = 0;
	if (t->kinds & TLS_LINK)
		alpn[n++] = (gnutls_datum_t){ (unsigned char *)(uintptr_t)TLS_ALPN_LINK,
					      sizeof(TLS_ALPN_LINK) - 1 };
	if (t->kinds & TLS_JOIN)
		alpn[n++] = (gnutls_datum_t){ (unsigned char *)(uintptr_t)TLS_ALPN_JOIN,
					      sizeof(TLS_ALPN_JOIN) - 1 };
	rc = gnutls_alpn_set_protocols(t->session, alpn, n, GNUTLS_ALPN_MANDATORY);
	if (rc == 0 && t->server) {
		gnutls_certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
		/* A list of names of acceptable roots would name the mesh to strangers. */
		gnutls_certificate_send_x509_rdn_sequence(t->session, 1);
		gnutls_handshake_set_post_client_hello_function(t->session, tls_server_hello);
	}
	return rc;
}

int tls_new(struct tls_context *c, sd_event *event, struct wire *wire_take,
	    const struct tls_options *o, const struct tls_handler *handler, void *user,
	    struct tls **ret, struct err *e)
{
	_cleanup_(wire_freep) struct wire *wire = wire_take;
	assert(o->kinds && (o->server || o->kinds == TLS_LINK || o->kinds == TLS_JOIN));
	if ((o->kinds & TLS_LINK || o->server) && !c->identity)
		return err_set(e, -EINVAL, "a joiner has no links yet");

	_cleanup_(tls_unrefp) struct tls *t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->refs = 1;
	t->link.ops = &link_ops;
	t->context = c;
	c->refs++;
	t->event = sd_event_ref(event);
	t->wire = TAKE_PTR(wire);
	t->handler = handler;
	t->user = user;
	t->server = o->server;
	t->kinds = o->kinds;
	t->kind = o->server ? 0 : (enum tls_kind)o->kinds;
	if (!buf_reserve(&t->ahead, AHEAD_MAX))
		return err_set(e, -ENOMEM, "out of memory");

	int rc = set_up_session(t);
	if (rc < 0)
		return cert_gnutls_error(e, rc, "cannot start TLS");
	uint64_t usec = o->timeout_us ? o->timeout_us : (uint64_t)TLS_HANDSHAKE_SECONDS * 1000000;
	int r = sd_event_add_time_relative(event, &t->timer, CLOCK_BOOTTIME, usec, 100000,
					   on_timeout, t);
	if (r >= 0)
		r = sd_event_add_defer(event, &t->turn, on_turn, t);
	if (r < 0)
		return err_errno(e, r, "cannot start TLS");
	t->wire->user = t;
	t->wire->ready = on_ready;
	t->wire->stalled = on_stalled;
	rewatch(t);
	*ret = TAKE_PTR(t);
	return 0;
}
