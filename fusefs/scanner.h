/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Which programs read whatever there is, and must not bring all of it here (shoal-fs(7), "Contents that are
 * elsewhere"): those that list directories, and then read files whose contents are not here, get the first few
 * of them. Thread-safe. */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/id.h"
#include "fusefs/proc.h"

#define SCANNERS 64           /* programs remembered, the last ones that did something */
#define SCANNER_FILES_MAX 256 /* the largest limit that is counted */
#define SCANNER_REST_NS (INT64_C(10) * 1000 * 1000 * 1000)

struct scan {
	struct proc proc;     /* tgid 0: free */
	int64_t listed_ns;    /* the last directory; 0: none */
	int64_t read_ns;      /* the last read of something that is not here */
	struct id *file;      /* that it has got since; SCANNER_FILES_MAX of them */
	uint32_t n;
};

struct scanners {
	pthread_mutex_t lock;
	uint32_t max; /* files; 0: any number */
	struct scan scan[SCANNERS];
};

void scanners_init(struct scanners *s, uint32_t max);
void scanners_done(struct scanners *s);
void scanners_limit(struct scanners *s, uint32_t max);
/* The program lists a directory. */
void scanner_lists(struct scanners *s, const struct proc *p, int64_t now_ns);
/* It wants a file that is not here: may it come? */
bool scanner_may(struct scanners *s, const struct proc *p, const struct id *file, int64_t now_ns);
