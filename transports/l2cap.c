/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Above L2CAP
 * ===========
 *
 * An LE channel carries pieces (SDUs) whole and in order. Its own flow control is no use for a program that reads slowly:
 * kernels give credits as pieces arrive, read or not, and drop what does not fit in the socket's buffer. So each
 * piece begins with one byte, and no side has more than eight pieces on their way:
 *
 *      0   1   how many pieces its sender has read of the other's since it last said so
 *      1   n   bytes of the stream; none: a piece that only says that, and does not count itself
 *
 * That number goes along with whatever is sent, or alone when four have been read. A device that says it has read more
 * than it was sent, that sends a ninth piece, or one larger than was agreed on, is cut off. One read of a piece
 * gets all of it, so a buffer of the largest size is always there.
 *
 * The byte is all that is added: a change of one field costs a TLS record in one piece.
 */
#include "transports/l2cap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transports/sock.h"

/* What <bluetooth/bluetooth.h> of libbluetooth says of the kernel. */
#define BTPROTO_L2CAP 0
#define SOL_BLUETOOTH 274
#define BT_SNDMTU 12
#define BT_RCVMTU 13

#define BACKLOG 8
#define HEAD 1
#define SAY_AFTER (L2CAP_WINDOW / 2)
#define LINGER_US ((uint64_t)500000)

struct piece {
	size_t len; /* with its first byte */
	uint8_t *data;
};

struct l2cap_wire {
	struct sock sock;
	struct address remote;
	sd_event *event;
	sd_event_source *turn; /* pieces wait, and are wanted */
	size_t sdu_out, sdu_in;
	bool reading, writing; /* wanted above */
	bool ended;            /* the peer closed it */
	bool written;          /* something was, ever */
	int broken;            /* -errno */
	unsigned out;          /* pieces that the peer has not said to have read */
	unsigned owed;         /* read here, not yet said */
	unsigned at, n;        /* pieces that wait */
	struct piece piece[L2CAP_WINDOW];
	uint8_t *spare;  /* what is received into */
	uint8_t *sealed; /* what is sent from */
	uint8_t *memory; /* all of these */
};

/* ---- pieces ---- */

static bool says_due(const struct l2cap_wire *t)
{
	return t->owed >= SAY_AFTER;
}

static ssize_t send_piece(struct l2cap_wire *t, const void *p, size_t n)
{
	t->sealed[0] = (uint8_t)t->owed;
	if (n > 0)
		memcpy(t->sealed + HEAD, p, n);
	ssize_t r = sock_send(&t->sock, t->sealed, HEAD + n);
	if (r < 0)
		return r;
	/* The kernel takes a piece whole. */
	if ((size_t)r != HEAD + n)
		return -EIO;
	t->owed = 0;
	t->written = true;
	return 0;
}

/* Tells the peer to go on, when it is time; later if there is no room. */
static void say(struct l2cap_wire *t)
{
	if (!says_due(t) || t->broken || t->ended)
		return;
	ssize_t r = send_piece(t, NULL, 0);
	if (r < 0 && r != -EAGAIN)
		t->broken = (int)r;
}

/* One piece that was received into spare. */
static int take_piece(struct l2cap_wire *t, size_t len)
{
	if (len > t->sdu_in)
		return -EMSGSIZE;
	if (t->spare[0] > t->out)
		return -EPROTO;
	t->out -= t->spare[0];
	if (len == HEAD)
		return 0;
	if (t->n + t->owed >= L2CAP_WINDOW)
		return -EPROTO;
	struct piece *p = &t->piece[(t->at + t->n++) % L2CAP_WINDOW];
	uint8_t *free_one = p->data;
	p->len = len;
	p->data = t->spare;
	t->spare = free_one;
	return 0;
}

/* What is there, as far as the window goes: a peer that keeps to it cannot keep this going. */
static void receive(struct l2cap_wire *t)
{
	for (unsigned i = 0; i < 2 * L2CAP_WINDOW && !t->broken && !t->ended; i++) {
		ssize_t len = sock_recv(&t->sock, t->spare, t->sdu_in, MSG_TRUNC);
		if (len == -EAGAIN)
			return;
		if (len == 0)
			t->ended = true;
		else
			t->broken = len < 0 ? (int)len : take_piece(t, (size_t)len);
	}
}

static bool readable(const struct l2cap_wire *t)
{
	return t->n > 0 || t->ended || t->broken;
}

static bool writable(const struct l2cap_wire *t)
{
	return t->out < L2CAP_WINDOW || t->ended || t->broken;
}

/* ---- wire ---- */

static ssize_t op_read(struct wire *w, void *p, size_t n)
{
	struct l2cap_wire *t = (struct l2cap_wire *)w;
	if (t->n == 0)
		receive(t);
	/* What came before the end is still to be had. */
	if (t->n == 0)
		return t->broken ? t->broken : t->ended ? 0 : -EAGAIN;
	const struct piece *k = &t->piece[t->at];
	const size_t len = k->len - HEAD;
	if (len > n)
		return -EMSGSIZE;
	memcpy(p, k->data + HEAD, len);
	t->at = (t->at + 1) % L2CAP_WINDOW;
	t->n--;
	t->owed++;
	say(t);
	return (ssize_t)len;
}

static ssize_t op_write(struct wire *w, const void *p, size_t n)
{
	struct l2cap_wire *t = (struct l2cap_wire *)w;
	if (t->out >= L2CAP_WINDOW)
		receive(t);
	if (t->broken || t->ended)
		return t->broken ? t->broken : -EPIPE;
	if (n > w->mtu)
		return -EMSGSIZE;
	if (t->out >= L2CAP_WINDOW || n == 0)
		return n == 0 ? 0 : -EAGAIN;
	ssize_t r = send_piece(t, p, n);
	if (r < 0)
		return r;
	t->out++;
	return (ssize_t)n;
}

static void rewatch(struct l2cap_wire *t)
{
	/* What the peer has read is learned by reading. A socket at its end would be reported for ever. */
	const bool live = (t->reading || t->writing) && !t->ended && !t->broken;
	sock_watch(&t->sock, live, live && ((t->writing && t->out < L2CAP_WINDOW) || says_due(t)));
	const bool now = (t->reading && readable(t)) || (t->writing && (t->ended || t->broken));
	(void)sd_event_source_set_enabled(t->turn, now ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

static void op_watch(struct wire *w, bool reading, bool writing)
{
	struct l2cap_wire *t = (struct l2cap_wire *)w;
	t->reading = reading;
	t->writing = writing;
	rewatch(t);
}

static int on_io(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct l2cap_wire *t = user;
	(void)s, (void)fd;
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		receive(t);
	say(t);
	rewatch(t);
	if (t->sock.wire.ready && ((t->reading && readable(t)) || (t->writing && writable(t))))
		t->sock.wire.ready(&t->sock.wire, t->sock.wire.user); /* t may be gone */
	return 0;
}

static int on_turn(sd_event_source *s, void *user)
{
	struct l2cap_wire *t = user;
	(void)s;
	if (!((t->reading && readable(t)) || (t->writing && writable(t))))
		return 0;
	/* Level-triggered: again unless the user has taken or unwatched it. */
	rewatch(t);
	if (t->sock.wire.ready)
		t->sock.wire.ready(&t->sock.wire, t->sock.wire.user);
	return 0;
}

static void op_info(const struct wire *w, struct link_info *ret)
{
	const struct l2cap_wire *t = (const struct l2cap_wire *)w;
	char text[ADDRESS_TEXT];
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct address local;
	ret->transport = "bluetooth";
	ret->cost = LINK_RADIO;
	snprintf(ret->remote, sizeof(ret->remote), "%s", address_text(&t->remote, text));
	if (getsockname(t->sock.fd, (struct sockaddr *)&ss, &len) == 0 &&
	    address_from((struct sockaddr *)&ss, len, &local) == 0)
		snprintf(ret->local, sizeof(ret->local), "%s", address_host(&local, text));
}

/* Closing a channel overtakes what was written to it: a peer would not learn why. */
static int on_lingered(sd_event_source *s, uint64_t usec, void *user)
{
	(void)usec, (void)user;
	sd_event_source_disable_unref(s);
	return 0;
}

static void close_fd(void *user)
{
	close((int)(intptr_t)user);
}

static void linger(sd_event *event, int fd_take)
{
	sd_event_source *s = NULL;
	if (sd_event_add_time_relative(event, &s, CLOCK_BOOTTIME, LINGER_US, 0, on_lingered,
				       (void *)(intptr_t)fd_take) < 0) {
		close(fd_take);
		return;
	}
	/* Whoever frees the source, the timer or the end of the loop, closes it. */
	(void)sd_event_source_set_destroy_callback(s, close_fd);
	if (sd_event_source_set_floating(s, true) >= 0)
		sd_event_source_unref(s);
}

static void op_free(struct wire *w)
{
	struct l2cap_wire *t = (struct l2cap_wire *)w;
	sd_event_source_disable_unref(t->turn);
	t->sock.source = sd_event_source_disable_unref(t->sock.source);
	if (t->sock.fd >= 0 && t->written && !t->ended && !t->broken)
		linger(t->event, TAKE_FD(t->sock.fd));
	sock_done(&t->sock);
	sd_event_unref(t->event);
	free(t->memory);
	free(t);
}

static const struct wire_ops ops = {
	.read = op_read,
	.write = op_write,
	.watch = op_watch,
	.info = op_info,
	.free = op_free,
};

int l2cap_wire_over(sd_event *event, int fd_take, const struct address *remote, size_t sdu_out, size_t sdu_in,
		    struct wire **ret, struct err *e)
{
	_cleanup_close_ int fd = fd_take;
	if (sdu_out < L2CAP_SDU_MIN || sdu_in < L2CAP_SDU_MIN || sdu_in > L2CAP_SDU_MAX)
		return err_set(e, -EPROTO, "the channel takes pieces of %zu and gives some of %zu bytes", sdu_out,
			       sdu_in);
	if (sdu_out > L2CAP_SDU_MAX)
		sdu_out = L2CAP_SDU_MAX;
	struct l2cap_wire *t = calloc(1, sizeof(*t));
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	t->sock = (struct sock){ .wire = { .ops = &ops, .mtu = sdu_out - HEAD }, .fd = -1 };
	t->remote = *remote;
	t->sdu_out = sdu_out;
	t->sdu_in = sdu_in;
	t->event = sd_event_ref(event);
	t->memory = malloc((L2CAP_WINDOW + 1) * sdu_in + sdu_out);
	int r = t->memory ? sock_init(&t->sock, event, fd, on_io) : -ENOMEM;
	if (r >= 0)
		r = sd_event_add_defer(event, &t->turn, on_turn, t);
	if (r < 0) {
		op_free(&t->sock.wire);
		return err_errno(e, r, "cannot watch a channel");
	}
	(void)sd_event_source_set_enabled(t->turn, SD_EVENT_OFF);
	for (unsigned i = 0; i < L2CAP_WINDOW; i++)
		t->piece[i].data = t->memory + i * sdu_in;
	t->spare = t->memory + L2CAP_WINDOW * sdu_in;
	t->sealed = t->spare + sdu_in;
	t->sock.fd = TAKE_FD(fd);
	*ret = &t->sock.wire;
	return 0;
}

static size_t mtu_of(int fd, int name)
{
	uint16_t v = 0;
	socklen_t len = sizeof(v);
	return getsockopt(fd, SOL_BLUETOOTH, name, &v, &len) == 0 ? v : 0;
}

int l2cap_wire_new(sd_event *event, int fd_take, const struct address *remote, struct wire **ret, struct err *e)
{
	return l2cap_wire_over(event, fd_take, remote, mtu_of(fd_take, BT_SNDMTU), mtu_of(fd_take, BT_RCVMTU), ret,
			       e);
}

int l2cap_socket(const struct address *own)
{
	const uint16_t mtu = L2CAP_SDU_MAX;
	_cleanup_close_ int fd = socket(AF_BLUETOOTH, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, BTPROTO_L2CAP);
	if (fd < 0)
		return -errno;
	/* The address makes it an LE channel; only then has it sizes of its own. */
	if (bind(fd, &own->sa, address_len(own)) < 0 ||
	    setsockopt(fd, SOL_BLUETOOTH, BT_RCVMTU, &mtu, sizeof(mtu)) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int l2cap_listen(sd_event *event, const struct address *own, listener_accept_fn *fn, void *user,
		 struct listener **ret, struct err *e)
{
	char text[ADDRESS_TEXT];
	struct address any_psm = *own;
	address_set_port(&any_psm, 0);
	_cleanup_close_ int fd = l2cap_socket(own);
	if (fd == -EADDRINUSE)
		fd = l2cap_socket(&any_psm);
	if (fd < 0)
		return err_errno(e, fd, "cannot listen at Bluetooth adapter %s", address_host(own, text));
	if (listen(fd, BACKLOG) < 0)
		return err_errno(e, -errno, "cannot listen at Bluetooth adapter %s", address_host(own, text));
	return listener_new(event, TAKE_FD(fd), l2cap_wire_new, fn, user, ret, e);
}
