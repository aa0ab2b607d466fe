/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* LE channels between adapters that are not there: what listens at one, and what is dialled from another, meet in this
 * process. A test that wants them is linked with airmock_link of tests/local.mk. Everything else is dialled and listened for as usual. */

#include <stdbool.h>

extern struct airmock {
	bool refuse; /* nobody is let in */
	bool silent; /* no answer comes */
	unsigned dials, listens;
} airmock;
