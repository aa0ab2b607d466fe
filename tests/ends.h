/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Both ends of a TLS session in one process, each sending bytes that the other checks, with pauses in reading. For
 * tests of TLS over one wire or another. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "engine/err.h"
#include "tests/prng.h"
#include "transports/tls.h"

/* One end of a connection. */
struct end {
	struct tls *tls;
	bool up, closed;
	struct err why;
	struct prng out, in; /* what is sent, what is to come */
	size_t to_send, sent, to_get, got;
	bool wrong;
	int refuse; /* what admit says */
	unsigned pauses;
	sd_event_source *resume;
	uint8_t held[5000]; /* drawn from out, not yet taken */
	size_t held_at, held_len;
};

extern sd_event *event; /* the loop; the test makes and frees it */

uint64_t clock_us(void); /* monotonic */

/* Runs the loop until cond, or for at most ms. */
#define RUN_UNTIL(cond, ms)                                                    \
	do {                                                                   \
		uint64_t _end = clock_us() + (uint64_t)(ms) * 1000;            \
		while (!(cond) && clock_us() < _end)                           \
			sd_event_run(event, 2000);                             \
	} while (0)

extern const struct tls_handler end_handler; /* of a struct end */

/* Starts both; offered and wanted are of enum tls_kind. */
void connect_ends(struct tls_context *server, struct tls_context *client, struct wire *w[2], unsigned offered,
		  unsigned wanted, struct end *s, struct end *c);
void end_done(struct end *x);
