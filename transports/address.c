/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transports/address.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

socklen_t address_len(const struct address *a)
{
	if (address_is_bluetooth(a))
		return sizeof(a->l2);
	return a->sa.sa_family == AF_INET ? sizeof(a->in) : sizeof(a->in6);
}

bool address_is_bluetooth(const struct address *a)
{
	return a->sa.sa_family == AF_BLUETOOTH;
}

int address_bluetooth(const char *text, bool random, uint16_t psm, struct address *ret)
{
	struct address a = { .l2 = { .family = AF_BLUETOOTH, .psm = htole16(psm),
				     .type = random ? ADDRESS_LE_RANDOM : ADDRESS_LE_PUBLIC } };
	unsigned b[6];
	int end = 0;
	for (unsigned i = 2; i < 17 && strlen(text) == 17; i += 3)
		if (text[i] != ':')
			return -EINVAL;
	if (strspn(text, "0123456789ABCDEFabcdef:") != 17 ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &end) != 6 ||
	    end != 17 || text[17])
		return -EINVAL;
	for (unsigned i = 0; i < 6; i++)
		a.l2.addr[5 - i] = (uint8_t)b[i];
	*ret = a;
	return 0;
}

void address_normalise(struct address *a)
{
	if (a->sa.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return;
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = a->in6.sin6_port };
	memcpy(&in.sin_addr, a->in6.sin6_addr.s6_addr + 12, 4);
	a->in = in;
}

int address_from(const struct sockaddr *sa, socklen_t len, struct address *ret)
{
	struct address a = { 0 };
	if (sa->sa_family == AF_INET && len >= sizeof(a.in))
		memcpy(&a.in, sa, sizeof(a.in));
	else if (sa->sa_family == AF_INET6 && len >= sizeof(a.in6))
		memcpy(&a.in6, sa, sizeof(a.in6));
	else if (sa->sa_family == AF_BLUETOOTH && len > offsetof(struct address_l2, type))
		memcpy(&a.l2, sa, len < sizeof(a.l2) ? len : sizeof(a.l2));
	else
		return -EAFNOSUPPORT;
	address_normalise(&a);
	*ret = a;
	return 0;
}

#define BLUETOOTH_NAME ".bluetooth"

void address_bluetooth_name(const struct address *a, char ret_text[static ADDRESS_TEXT])
{
	const uint8_t *b = a->l2.addr;
	snprintf(ret_text, ADDRESS_TEXT, "%02x-%02x-%02x-%02x-%02x-%02x%s" BLUETOOTH_NAME, b[5], b[4], b[3], b[2], b[1], b[0],
		 a->l2.type == ADDRESS_LE_RANDOM ? "-r" : "");
}

int address_bluetooth_named(const char *host, uint16_t psm, struct address *ret)
{
	char text[18];
	if (strlen(host) < 17)
		return -EINVAL;
	const char *rest = host + 17;
	const bool random = strncmp(rest, "-r", 2) == 0;
	if (strcmp(rest + (random ? 2 : 0), BLUETOOTH_NAME) != 0)
		return -EINVAL;
	for (unsigned i = 0; i < 17; i++) {
		if ((host[i] == '-') != (i % 3 == 2))
			return -EINVAL;
		text[i] = host[i] == '-' ? ':' : host[i];
	}
	text[17] = 0;
	return address_bluetooth(text, random, psm, ret);
}

char *address_host(const struct address *a, char text[static ADDRESS_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "?", scope[IF_NAMESIZE + 1] = "";
	if (address_is_bluetooth(a)) {
		const uint8_t *b = a->l2.addr;
		snprintf(host, sizeof(host), "%02X:%02X:%02X:%02X:%02X:%02X", b[5], b[4], b[3], b[2], b[1], b[0]);
	} else if (a->sa.sa_family == AF_INET) {
		inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
	} else {
		inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
		char name[IF_NAMESIZE];
		if (a->in6.sin6_scope_id && if_indextoname(a->in6.sin6_scope_id, name))
			snprintf(scope, sizeof(scope), "%%%s", name);
		else if (a->in6.sin6_scope_id)
			snprintf(scope, sizeof(scope), "%%%u", a->in6.sin6_scope_id);
	}
	snprintf(text, ADDRESS_TEXT, "%s%s", host, scope);
	return text;
}

char *address_text(const struct address *a, char text[static ADDRESS_TEXT])
{
	char host[ADDRESS_TEXT];
	address_host(a, host);
	snprintf(text, ADDRESS_TEXT, a->sa.sa_family == AF_INET ? "%.80s:%u" : "[%.80s]:%u", host,
		 address_port(a));
	return text;
}

uint16_t address_port(const struct address *a)
{
	if (address_is_bluetooth(a))
		return le16toh(a->l2.psm);
	return ntohs(a->sa.sa_family == AF_INET ? a->in.sin_port : a->in6.sin6_port);
}

void address_set_port(struct address *a, uint16_t port)
{
	if (address_is_bluetooth(a))
		a->l2.psm = htole16(port);
	else if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons(port);
	else
		a->in6.sin6_port = htons(port);
}

static bool same_l2(const struct address *a, const struct address *b)
{
	return a->l2.type == b->l2.type && memcmp(a->l2.addr, b->l2.addr, sizeof(a->l2.addr)) == 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
	if (a->sa.sa_family != b->sa.sa_family || address_port(a) != address_port(b))
		return false;
	if (address_is_bluetooth(a))
		return same_l2(a, b);
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0 &&
	       a->in6.sin6_scope_id == b->in6.sin6_scope_id;
}

bool address_same_host(const struct address *a, const struct address *b)
{
	if (a->sa.sa_family != b->sa.sa_family)
		return false;
	if (address_is_bluetooth(a))
		return same_l2(a, b);
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	/* All link-local addresses share one /64: there the whole address counts. */
	size_t n = IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr) ? 16 : 8;
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, n) == 0;
}

bool address_is_loopback(const struct address *a)
{
	if (address_is_bluetooth(a))
		return false;
	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

bool address_is_link_local(const struct address *a)
{
	if (address_is_bluetooth(a))
		return false;
	if (a->sa.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 16 == 0xa9fe;
	return IN6_IS_ADDR_LINKLOCAL(&a->in6.sin6_addr);
}

bool address_is_near(const struct address *a)
{
	if (address_is_bluetooth(a))
		return true;
	if (address_is_loopback(a) || address_is_link_local(a))
		return true;
	if (a->sa.sa_family == AF_INET) {
		uint32_t v = ntohl(a->in.sin_addr.s_addr);
		return v >> 24 == 10 || v >> 20 == 0xac1 || v >> 16 == 0xc0a8;
	}
	return (a->in6.sin6_addr.s6_addr[0] & 0xfe) == 0xfc;
}
