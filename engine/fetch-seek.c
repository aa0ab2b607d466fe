/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files that every source lacks some of, while others are looked for that have it. */
#include <errno.h>

#include "engine/fetch-impl.h"

void fetches_seek(struct fetches *f)
{
	pthread_mutex_lock(&f->lock);
	f->seeks = true;
	pthread_mutex_unlock(&f->lock);
}

uint32_t fetch_sought(struct fetches *f, uint64_t now_us, struct fetch_sought *ret, uint32_t max,
		      uint32_t *ret_asked, uint32_t *ret_coming)
{
	struct calls c = { 0 };
	uint32_t n = 0;
	*ret_asked = *ret_coming = 0;
	pthread_mutex_lock(&f->lock);
	for (uint32_t i = f->n; i > 0; i--) {
		struct file *x = f->file[i - 1];
		if (!fetches_over(f, x)) {
			*ret_asked += x->sought > 0;
			*ret_coming += x->sought == 0;
		} else if (!x->waiter) {
			/* Who waited has gone. */
			fetches_end(f, x, -EHOSTDOWN, &c);
		} else if (!x->relayed && n < max) {
			if (!x->sought)
				x->sought = now_us;
			ret[n++] = (struct fetch_sought){ x->node, x->sought };
		}
	}
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
	return n;
}

void fetch_forsake(struct fetches *f, const struct id *node)
{
	struct calls c = { 0 };
	pthread_mutex_lock(&f->lock);
	struct file *x = fetches_find(f, node);
	if (x && !x->relayed && fetches_over(f, x))
		fetches_last_resort(f, x, true, &c);
	pthread_mutex_unlock(&f->lock);
	fetches_call(f, &c);
}
