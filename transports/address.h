/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Socket addresses: as text, compared, classified. Any thread. */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define ADDRESS_TEXT 96 /* bytes of the longest text, NUL included */

/* The kernel's sockaddr_l2, of an LE channel: its own headers are not installed. */
struct address_l2 {
	sa_family_t family; /* AF_BLUETOOTH */
	uint16_t psm;       /* little-endian */
	uint8_t addr[6];    /* last byte first */
	uint16_t cid;
	uint8_t type; /* ADDRESS_LE_PUBLIC, ADDRESS_LE_RANDOM */
};
enum { ADDRESS_LE_PUBLIC = 1, ADDRESS_LE_RANDOM = 2 };

struct address {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct address_l2 l2;
	};
};

socklen_t address_len(const struct address *a);

/* An IPv4 address mapped into IPv6 becomes plain IPv4. */
void address_normalise(struct address *a);

/* From the kernel's form; -EAFNOSUPPORT when it is neither IPv4, IPv6 nor a Bluetooth channel. */
int address_from(const struct sockaddr *sa, socklen_t len, struct address *ret);

/* A device's address, "00:AA:01:00:00:42", with a PSM. -EINVAL. */
int address_bluetooth(const char *text, bool random, uint16_t psm, struct address *ret);
bool address_is_bluetooth(const struct address *a);
/* The same as a host's name, "00-aa-01-00-00-42.bluetooth" ("-r" behind a random one), as tokens carry it; ret_text has
 * ADDRESS_TEXT bytes. The other way round, -EINVAL for any other name. */
void address_bluetooth_name(const struct address *a, char ret_text[static ADDRESS_TEXT]);
int address_bluetooth_named(const char *host, uint16_t psm, struct address *ret);

/* "192.0.2.7:7580", "[fe80::1%eth0]:7580", "[00:AA:01:00:00:42]:128"; returns text. */
char *address_text(const struct address *a, char text[static ADDRESS_TEXT]);
/* The same without the port and brackets. */
char *address_host(const struct address *a, char text[static ADDRESS_TEXT]);

/* Of Bluetooth, the PSM. */
uint16_t address_port(const struct address *a);
void address_set_port(struct address *a, uint16_t port);

bool address_equal(const struct address *a, const struct address *b);

/* True when both are likely one host: equal but for the port; of IPv6, in one /64. */
bool address_same_host(const struct address *a, const struct address *b);

/* Private, link-local, loopback or unique local: no provider carries it. */
bool address_is_near(const struct address *a);
bool address_is_loopback(const struct address *a);
bool address_is_link_local(const struct address *a);
