/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/pins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct hold_list {
	struct hold_list *next, **link;
	struct pin_list pins;
};

void pins_init(struct pins *p)
{
	*p = (struct pins){ 0 };
	pthread_mutex_init(&p->lock, NULL);
}

static void lists_free(struct hold_list **first)
{
	for (struct hold_list *l = *first, *next; l; l = next) {
		next = l->next;
		free(l->pins.pin);
		free(l);
	}
	*first = NULL;
}

void pins_done(struct pins *p)
{
	lists_free(&p->held);
	lists_free(&p->ended);
	free(p->loose[0].pin);
	free(p->loose[1].pin);
	pthread_mutex_destroy(&p->lock);
}

static void list_link(struct hold_list **first, struct hold_list *l)
{
	l->next = *first;
	l->link = first;
	if (l->next)
		l->next->link = &l->next;
	*first = l;
}

static void list_unlink(struct hold_list *l)
{
	*l->link = l->next;
	if (l->next)
		l->next->link = l->link;
}

static int list_add(struct pin_list *l, const struct chunk_pin *pin, uint32_t max)
{
	if (l->n == l->cap && l->n < max) {
		uint32_t cap = l->cap ? 2 * l->cap : 64;
		struct chunk_pin *bigger = reallocarray(l->pin, cap, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		l->pin = bigger;
		l->cap = cap;
	}
	l->pin[l->n < max ? l->n++ : (uint32_t)(l->total % max)] = *pin;
	l->total++;
	return 0;
}

static struct chunk_pin pin_of(const struct sha256 *hash)
{
	struct chunk_pin pin;
	memcpy(pin.b, hash->b, sizeof(pin.b));
	return pin;
}

int pins_add(struct pins *p, struct hold *h, const struct sha256 *hash)
{
	const struct chunk_pin pin = pin_of(hash);
	int rc = 0;
	pthread_mutex_lock(&p->lock);
	if (h && !h->list) {
		h->list = calloc(1, sizeof(*h->list));
		if (h->list)
			list_link(&p->held, h->list);
		else
			rc = -ENOMEM;
		h->pins = p;
	}
	if (rc == 0)
		rc = h ? list_add(&h->list->pins, &pin, UINT32_MAX / 2) :
			 list_add(&p->loose[0], &pin, PINS_LOOSE_MAX);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

uint32_t hold_count(const struct hold *h)
{
	return h->list ? h->list->pins.n : 0;
}

void hold_drop(struct hold *h, const struct sha256 *hash)
{
	const struct chunk_pin pin = pin_of(hash);
	if (!h->list)
		return;
	pthread_mutex_lock(&h->pins->lock);
	struct pin_list *l = &h->list->pins;
	/* What was added last is what is dropped, mostly. */
	for (uint32_t i = l->n; i > 0; i--)
		if (memcmp(l->pin[i - 1].b, pin.b, sizeof(pin.b)) == 0) {
			l->pin[i - 1] = l->pin[--l->n];
			break;
		}
	pthread_mutex_unlock(&h->pins->lock);
}

static int hold_end(struct hold *h, bool leave)
{
	struct pins *p = h->pins;
	struct hold_list *l = h->list;
	int rc = 0;
	*h = (struct hold){ 0 };
	if (!l)
		return 0;
	pthread_mutex_lock(&p->lock);
	for (uint32_t i = 0; leave && rc == 0 && i < l->pins.n; i++)
		rc = list_add(&p->loose[0], &l->pins.pin[i], PINS_LOOSE_MAX);
	list_unlink(l);
	if (p->sweeping) {
		list_link(&p->ended, l);
		l = NULL;
	}
	pthread_mutex_unlock(&p->lock);
	if (l)
		free(l->pins.pin);
	free(l);
	return rc;
}

void hold_done(struct hold *h)
{
	hold_end(h, false);
}

int hold_leave(struct hold *h)
{
	return hold_end(h, true);
}

/* ---- the sweep's side ---- */

int pins_sweep_begin(struct pins *p)
{
	int rc = -EBUSY;
	pthread_mutex_lock(&p->lock);
	if (!p->sweeping) {
		p->sweeping = true;
		free(p->loose[1].pin);
		p->loose[1] = p->loose[0];
		p->loose[0] = (struct pin_list){ 0 };
		rc = 0;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

void pins_sweep_end(struct pins *p)
{
	pthread_mutex_lock(&p->lock);
	p->sweeping = false;
	lists_free(&p->ended);
	pthread_mutex_unlock(&p->lock);
}

void pins_lock(struct pins *p)
{
	pthread_mutex_lock(&p->lock);
}

void pins_unlock(struct pins *p)
{
	pthread_mutex_unlock(&p->lock);
}

/* Many more pins than hashes may be asked about, and each time anew: so each pin is looked up among
 * the hashes, and the lists need no order. */
static void check(const struct pin_list *l, const struct sha256 *hash, uint32_t n, bool *keep)
{
	for (uint32_t i = 0; i < l->n; i++) {
		uint32_t low = 0, high = n;
		while (low < high) {
			uint32_t middle = low + (high - low) / 2;
			if (memcmp(hash[middle].b, l->pin[i].b, sizeof(l->pin[i].b)) < 0)
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < n && !memcmp(hash[low].b, l->pin[i].b, sizeof(l->pin[i].b)); low++)
			keep[low] = true;
	}
}

void pins_check(struct pins *p, const struct sha256 *hash, uint32_t n, bool *keep)
{
	for (const struct hold_list *l = p->held; l; l = l->next)
		check(&l->pins, hash, n, keep);
	for (const struct hold_list *l = p->ended; l; l = l->next)
		check(&l->pins, hash, n, keep);
	check(&p->loose[0], hash, n, keep);
	check(&p->loose[1], hash, n, keep);
}
