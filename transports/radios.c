/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /dev/rfkill tells of every radio when it is opened, and of every change from then on. It comes with the first radio's
 * driver, as does nl80211; that of generic netlink's families is heard from the kernel, and is a reason to look for both.
 */
#include "transports/radios.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/rfkill.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTLE_US ((uint64_t)200000) /* a radio comes with its interface, and names are changed */
#define RADIOS_MAX 32
#define EVENTS_A_TURN 64
#define ROOT_MAX 256

struct radio {
	bool used;
	uint32_t number;
	uint8_t type;
	bool blocked;
};

struct radios {
	sd_event *event;
	char path[ROOT_MAX + 16];
	radios_fn *fn;
	void *user;
	int rfkill; /* -1: there is none, or it may not be read */
	sd_event_source *rfkill_source;
	struct radio radio[RADIOS_MAX];
	struct nl_sock *nl; /* NULL: this kernel has no generic netlink */
	sd_event_source *nl_source;
	bool wifi; /* nl80211's events are heard */
	sd_event_source *settle;
};

static void changed(struct radios *r)
{
	(void)sd_event_source_set_time_relative(r->settle, SETTLE_US);
	(void)sd_event_source_set_enabled(r->settle, SD_EVENT_ONESHOT);
}

/* ---- rfkill ---- */

static struct radio *radio_of(struct radios *r, uint32_t number, bool make)
{
	struct radio *room = NULL;
	for (unsigned i = 0; i < RADIOS_MAX; i++) {
		if (r->radio[i].used && r->radio[i].number == number)
			return &r->radio[i];
		if (!r->radio[i].used)
			room = &r->radio[i];
	}
	return make ? room : NULL;
}

static void take(struct radios *r, const struct rfkill_event *e)
{
	const bool gone = e->op == RFKILL_OP_DEL;
	struct radio *x = e->op <= RFKILL_OP_CHANGE ? radio_of(r, e->idx, !gone) : NULL;
	if (!x)
		return;
	const struct radio now = { .used = !gone, .number = e->idx, .type = e->type, .blocked = e->soft || e->hard };
	if (gone || !x->used || x->blocked != now.blocked)
		changed(r);
	*x = now;
}

static void rfkill_close(struct radios *r)
{
	r->rfkill_source = sd_event_source_disable_unref(r->rfkill_source);
	if (r->rfkill >= 0)
		close(r->rfkill);
	r->rfkill = -1;
	memset(r->radio, 0, sizeof(r->radio));
}

/* False: it has gone. */
static bool rfkill_read(struct radios *r)
{
	for (unsigned i = 0; i < EVENTS_A_TURN; i++) {
		struct rfkill_event e = { 0 };
		ssize_t n = read(r->rfkill, &e, sizeof(e)); /* longer ones of newer kernels are cut */
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return true;
		if (n < (ssize_t)RFKILL_EVENT_SIZE_V1)
			return false;
		take(r, &e);
	}
	return true;
}

static int on_rfkill(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct radios *r = user;
	(void)s, (void)fd, (void)events;
	if (!rfkill_read(r)) {
		rfkill_close(r);
		changed(r);
	}
	return 0;
}

static void rfkill_open(struct radios *r)
{
	if (r->rfkill >= 0)
		return;
	r->rfkill = open(r->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
	if (r->rfkill >= 0 && sd_event_add_io(r->event, &r->rfkill_source, r->rfkill, EPOLLIN, on_rfkill, r) < 0)
		rfkill_close(r);
	/* What there is now is told at once. One that ends at once is not opened again before something else changed. */
	if (r->rfkill >= 0 && !rfkill_read(r))
		rfkill_close(r);
}

bool radios_blocked(const struct radios *r, enum radios_kind kind)
{
	const uint8_t type = kind == RADIOS_WIFI ? RFKILL_TYPE_WLAN : RFKILL_TYPE_BLUETOOTH;
	unsigned n = 0, blocked = 0;
	for (unsigned i = 0; i < RADIOS_MAX; i++)
		if (r->radio[i].used && r->radio[i].type == type) {
			n++;
			blocked += r->radio[i].blocked;
		}
	return n > 0 && n == blocked;
}

/* ---- nl80211 ---- */

/* Its numbers are asked on a socket of its own: between the answers there would be events. */
static void wifi_watch(struct radios *r)
{
	struct nl_sock *ask = r->nl && !r->wifi ? nl_socket_alloc() : NULL;
	if (!ask)
		return;
	const int group = genl_connect(ask) >= 0 ? genl_ctrl_resolve_grp(ask, "nl80211", "config") : -1;
	r->wifi = group > 0 && nl_socket_add_membership(r->nl, group) >= 0;
	nl_socket_free(ask);
}

static int on_message(struct nl_msg *msg, void *arg)
{
	struct radios *r = arg;
	const struct nlmsghdr *head = nlmsg_hdr(msg);
	const struct genlmsghdr *g = nlmsg_data(head);
	if (nlmsg_datalen(head) < (int)sizeof(*g))
		return NL_SKIP;
	/* nl80211 that goes, with the module, and comes again has other numbers. */
	if (head->nlmsg_type == GENL_ID_CTRL && g->cmd == CTRL_CMD_DELFAMILY)
		r->wifi = false;
	changed(r);
	return NL_OK;
}

static int on_netlink(sd_event_source *s, int fd, uint32_t events, void *user)
{
	struct radios *r = user;
	(void)s, (void)fd, (void)events;
	/* That some were lost is a change as well. */
	if (nl_recvmsgs_default(r->nl) < 0)
		changed(r);
	return 0;
}

static void netlink_open(struct radios *r)
{
	r->nl = nl_socket_alloc();
	const int group = r->nl && genl_connect(r->nl) >= 0 ? genl_ctrl_resolve_grp(r->nl, "nlctrl", "notify") : -1;
	if (group > 0) {
		nl_socket_disable_seq_check(r->nl);
		if (nl_socket_modify_cb(r->nl, NL_CB_VALID, NL_CB_CUSTOM, on_message, r) >= 0 &&
		    nl_socket_set_nonblocking(r->nl) >= 0 && nl_socket_add_membership(r->nl, group) >= 0 &&
		    sd_event_add_io(r->event, &r->nl_source, nl_socket_get_fd(r->nl), EPOLLIN, on_netlink, r) >= 0) {
			wifi_watch(r);
			return;
		}
	}
	nl_socket_free(r->nl);
	r->nl = NULL;
}

/* ---- the whole ---- */

static int on_settled(sd_event_source *s, uint64_t usec, void *user)
{
	struct radios *r = user;
	(void)s, (void)usec;
	rfkill_open(r);
	wifi_watch(r);
	r->fn(r->user);
	return 0;
}

int radios_new(sd_event *event, const char *root, radios_fn *fn, void *user, struct radios **ret, struct err *e)
{
	_cleanup_(radios_freep) struct radios *r = calloc(1, sizeof(*r));
	if (!r)
		return err_set(e, -ENOMEM, "out of memory");
	r->rfkill = -1;
	r->event = sd_event_ref(event);
	r->fn = fn;
	r->user = user;
	if (snprintf(r->path, sizeof(r->path), "%s/dev/rfkill", root) >= (int)sizeof(r->path))
		return err_set(e, -ENAMETOOLONG, "%.80s... is too long a name", root);
	int rc = sd_event_add_time(event, &r->settle, CLOCK_BOOTTIME, 0, SETTLE_US / 10, on_settled, r);
	if (rc < 0)
		return err_errno(e, rc, "cannot follow the radios");
	(void)sd_event_source_set_enabled(r->settle, SD_EVENT_OFF);
	rfkill_open(r);
	netlink_open(r);
	(void)sd_event_source_set_enabled(r->settle, SD_EVENT_OFF); /* what is there is no change */
	*ret = TAKE_PTR(r);
	return 0;
}

void radios_free(struct radios *r)
{
	if (!r)
		return;
	rfkill_close(r);
	sd_event_source_disable_unref(r->nl_source);
	nl_socket_free(r->nl);
	sd_event_source_disable_unref(r->settle);
	sd_event_unref(r->event);
	free(r);
}
