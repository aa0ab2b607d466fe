/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Wi-Fi Direct as a way between devices
 * =====================================
 *
 * A group is a network of its own, of two or more, with an interface: beacons, dialling and the choice between ways do the rest. So
 * all that is decided here is when there is a reason for one:
 *
 *   - a link by Bluetooth has been busy for some time (mesh_handler.busy: the first comparison, contents that somebody
 *     waits for, many changes), so a group with that device is worth the power that it takes;
 *   - there is no link at all, and something happened here since the last group ended, or not all of what had happened was
 *     told when it did.
 *
 * Who has no such reason answers a member who has, unless a network joins the two already.
 */
#include "transports/mesh-impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

static bool is_up(const struct conn *c)
{
	return c->state == CONN_UP;
}

static void say_backlog(const struct mesh_backlog *b, char ret[static MESH_REASON_SIZE])
{
	static const char much[] = "too much for Bluetooth";
	const unsigned long long n = b->n;
	switch (b->work) {
	case MESH_COMPARING:
		snprintf(ret, MESH_REASON_SIZE, "the first comparison was %s", much);
		break;
	case MESH_CONTENTS:
		if (n >= 1 << 20)
			snprintf(ret, MESH_REASON_SIZE, "%llu MiB of contents were %s", n >> 20, much);
		else if (n)
			snprintf(ret, MESH_REASON_SIZE, "%llu KiB of contents were %s", (n + 1023) >> 10, much);
		else
			snprintf(ret, MESH_REASON_SIZE, "contents were waited for, %s", much);
		break;
	case MESH_CHANGES:
		snprintf(ret, MESH_REASON_SIZE, "%llu changes were %s", n, much);
		break;
	}
}

/* Asked every few seconds, of a link by Bluetooth. */
static bool long_busy(struct mesh *m, struct conn *c)
{
	struct mesh_backlog b = { 0 };
	if (!is_up(c) || !address_is_bluetooth(&c->remote) || !m->handler->busy || !m->handler->busy(&c->peer, &b, m->user)) {
		c->busy_since = 0;
		return false;
	}
	if (!c->busy_since)
		c->busy_since = mesh_now(m);
	if (mesh_now(m) - c->busy_since < m->direct_after)
		return false;
	say_backlog(&b, m->direct_want);
	return true;
}

static bool alone(const struct mesh *m)
{
	for (const struct conn *c = m->conns; c; c = c->next)
		if (is_up(c))
			return false;
	return true;
}

/* Why this device wants a group goes to direct_want; whether a busy link is the reason. */
static bool look_for_reason(struct mesh *m)
{
	bool any = false;
	m->direct_want[0] = '\0';
	if (m->resting || m->closing)
		return false;
	for (struct conn *c = m->conns; c; c = c->next)
		any |= long_busy(m, c);
	if (!any && m->direct_news && alone(m))
		snprintf(m->direct_want, sizeof(m->direct_want), "nothing else reached it, and something had changed here");
	return any;
}

static bool on_wants(void *user)
{
	struct mesh *m = user;
	const bool any = look_for_reason(m);
	if (any && !m->direct_busy)
		wifidirect_hurry(m->direct);
	m->direct_busy = any;
	return m->direct_want[0];
}

static bool is_welcome(struct mesh *m, uint32_t tag, bool asked)
{
	if (m->resting || m->closing)
		return false;
	for (struct conn *c = m->conns; c; c = c->next)
		if (is_up(c) && wifidirect_tag(m->direct, &c->peer) == tag)
			return address_is_bluetooth(&c->remote) && (asked || long_busy(m, c));
	return asked || alone(m);
}

static bool on_welcome(uint32_t tag, bool asked, void *user)
{
	struct mesh *m = user;
	if (!is_welcome(m, tag, asked))
		return false;
	(void)look_for_reason(m);
	snprintf(m->direct_why, sizeof(m->direct_why), "%s",
		 m->direct_want[0] ? m->direct_want : "the other device asked for it");
	return true;
}

static bool is_in_group(const struct mesh *m, const struct link_info *info)
{
	const char *scope = strchr(info->local, '%');
	return m->direct_ifname[0] && scope && strcmp(scope + 1, m->direct_ifname) == 0;
}

bool direct_carries(const struct conn *c)
{
	return c->mesh->direct_index && c->remote.sa.sa_family == AF_INET6 &&
	       c->remote.in6.sin6_scope_id == c->mesh->direct_index;
}

void direct_link_ends(struct conn *c)
{
	struct mesh *m = c->mesh;
	if (!m->direct || !direct_carries(c))
		return;
	bool others = false;
	for (const struct conn *x = m->conns; x; x = x->next)
		others |= x != c && is_up(x) && direct_carries(x);
	m->direct_untold |= m->handler->told && !m->handler->told(&c->peer, m->user);
	if (others)
		return;
	/* The last one. */
	m->direct_news = m->direct_untold;
	m->direct_untold = false;
}

static uint64_t on_carried(const char *ifname, void *user)
{
	struct mesh *m = user;
	uint64_t sum = 0;
	(void)ifname;
	for (struct conn *c = m->conns; c; c = c->next) {
		struct link_info info;
		if (!direct_carries(c) || !c->tls)
			continue;
		tls_info(c->tls, &info);
		sum += info.bytes_in + info.bytes_out;
	}
	return sum;
}

static void on_group(const char *ifname, void *user)
{
	struct mesh *m = user;
	if (ifname) {
		mesh_note(m, LOG_INFO, "Wi-Fi Direct: group with a member, interface %s; %s", ifname, m->direct_why);
		snprintf(m->direct_ifname, sizeof(m->direct_ifname), "%s", ifname);
		m->direct_index = if_nametoindex(ifname);
		return;
	}
	mesh_note(m, LOG_INFO, "Wi-Fi Direct: the group has ended");
	struct err why = { 0 };
	err_set(&why, -ENETDOWN, "the Wi-Fi Direct group has ended");
	for (struct conn *c = m->conns; c; c = c->next)
		if (direct_carries(c))
			conn_end(c, &why);
	m->direct_ifname[0] = 0;
	m->direct_index = 0;
}

static void on_note(int priority, const char *text, void *user)
{
	mesh_note(user, priority, "%s", text);
}

static const struct wifidirect_handler handler = {
	.wants = on_wants, .welcome = on_welcome, .carried = on_carried, .group = on_group, .note = on_note,
};

void mesh_news(struct mesh *m)
{
	if (!m->direct || m->direct_news)
		return;
	m->direct_news = true;
	wifidirect_hurry(m->direct);
}

const char *mesh_transport(const struct mesh *m, const struct link_info *info)
{
	return is_in_group(m, info) ? "wifi-direct" : info->transport;
}

int direct_new(struct mesh *m, const struct mesh_options *o, struct err *e)
{
	const struct wifidirect_options w = { .ifname = o->wifidirect, .root = m->root, .idle = o->wifidirect_idle };
	m->direct_after = o->wifidirect_after * SECOND;
	m->direct_news = true;
	return wifidirect_new(m->event, m->identity, &w, &handler, m, &m->direct, e);
}
