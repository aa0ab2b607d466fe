/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/scanner.h"

#include <stdlib.h>
#include <string.h>

void scanners_init(struct scanners *s, uint32_t max)
{
	*s = (struct scanners){ .max = max };
	pthread_mutex_init(&s->lock, NULL);
}

void scanners_done(struct scanners *s)
{
	for (unsigned i = 0; i < SCANNERS; i++)
		free(s->scan[i].file);
	pthread_mutex_destroy(&s->lock);
}

void scanners_limit(struct scanners *s, uint32_t max)
{
	pthread_mutex_lock(&s->lock);
	s->max = max;
	pthread_mutex_unlock(&s->lock);
}

static int64_t last(const struct scan *x)
{
	return x->listed_ns > x->read_ns ? x->listed_ns : x->read_ns;
}

/* Its entry; the one that was quiet for longest gives way. */
static struct scan *get(struct scanners *s, const struct proc *p)
{
	struct scan *oldest = &s->scan[0];
	for (unsigned i = 0; i < SCANNERS; i++) {
		struct scan *x = &s->scan[i];
		if (proc_same(&x->proc, p))
			return x;
		if (last(x) < last(oldest))
			oldest = x;
	}
	*oldest = (struct scan){ .proc = *p, .file = oldest->file };
	return oldest;
}

void scanner_lists(struct scanners *s, const struct proc *p, int64_t now_ns)
{
	if (p->tgid <= 0)
		return;
	pthread_mutex_lock(&s->lock);
	get(s, p)->listed_ns = now_ns;
	pthread_mutex_unlock(&s->lock);
}

static bool may(struct scanners *s, struct scan *x, const struct id *file, int64_t now_ns)
{
	const uint32_t max = s->max < SCANNER_FILES_MAX ? s->max : SCANNER_FILES_MAX;
	if (now_ns - x->read_ns > SCANNER_REST_NS)
		x->n = 0;
	x->read_ns = now_ns;
	for (uint32_t i = 0; i < x->n; i++)
		if (id_equal(&x->file[i], file))
			return true;
	if (x->n >= max)
		return false;
	if (!x->file)
		x->file = calloc(SCANNER_FILES_MAX, sizeof(*x->file));
	if (x->file)
		x->file[x->n++] = *file;
	return true;
}

bool scanner_may(struct scanners *s, const struct proc *p, const struct id *file, int64_t now_ns)
{
	bool yes = true;
	if (p->tgid <= 0)
		return true;
	pthread_mutex_lock(&s->lock);
	struct scan *x = s->max > 0 ? get(s, p) : NULL;
	if (x && x->listed_ns > 0)
		yes = may(s, x, file, now_ns);
	pthread_mutex_unlock(&s->lock);
	return yes;
}
