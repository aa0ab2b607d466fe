/* SPDX-License-Identifier: GPL-2.0-or-later */

#include "engine/kept.h"

#include "engine/cleanup.h"

static struct kept_one *one_of(struct kept *k, const struct id *scope)
{
	return &k->one[id_hash(scope) % KEPT_SCOPES];
}

void kept_init(struct kept *k, void *(*ref)(void *), void (*unref)(void *))
{
	*k = (struct kept){ .ref = ref, .unref = unref };
	pthread_mutex_init(&k->lock, NULL);
}

void kept_done(struct kept *k)
{
	if (!k->unref)
		return;
	for (unsigned i = 0; i < KEPT_SCOPES; i++)
		k->unref(k->one[i].value);
	pthread_mutex_destroy(&k->lock);
}

bool kept_get(struct kept *k, const struct id *scope, uint64_t *ret_changes, void **ret)
{
	pthread_mutex_lock(&k->lock);
	struct kept_one *one = one_of(k, scope);
	bool known = one->known && id_equal(&one->scope, scope);
	*ret = known ? k->ref(one->value) : NULL;
	*ret_changes = k->changes;
	pthread_mutex_unlock(&k->lock);
	return known;
}

void kept_put(struct kept *k, const struct id *scope, uint64_t changes, void *value)
{
	pthread_mutex_lock(&k->lock);
	if (changes == k->changes) {
		struct kept_one *one = one_of(k, scope);
		k->unref(one->value);
		*one = (struct kept_one){ *scope, true, k->ref(value) };
	}
	pthread_mutex_unlock(&k->lock);
}

void kept_forget(struct kept *k, const struct id *scope)
{
	pthread_mutex_lock(&k->lock);
	k->changes++;
	struct kept_one *one = one_of(k, scope);
	k->unref(TAKE_PTR(one->value));
	one->known = false;
	pthread_mutex_unlock(&k->lock);
}
