/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fusefs/dirpages.h"

#include "fusefs/notify.h"

void dirpages_open(struct fusefs *fs, struct inode *i, struct dirpages *p,
		   struct fuse_file_info *fi)
{
	pthread_mutex_lock(&fs->lock);
	bool right = i->pages_turn == i->moves && !i->pages_mixed;
	switch (i->pages) {
	case PAGES_NONE:
		p->fills = true;
		break;
	case PAGES_SOME:
		p->fills = right || !i->fillers;
		break;
	case PAGES_ALL:
		p->fills = right; /* else they are going to be dropped */
		break;
	}
	i->fillers += p->fills;
	pthread_mutex_unlock(&fs->lock);
	fi->cache_readdir = p->fills;
	fi->keep_cache = 1;
}

void dirpages_read(struct fusefs *fs, struct inode *i, struct dirpages *p)
{
	pthread_mutex_lock(&fs->lock);
	p->turn = i->moves;
	if (p->fills && i->pages == PAGES_SOME) {
		i->pages_mixed |= i->pages_turn != p->turn;
	} else if (p->fills) {
		/* There were none, or the kernel has found them to be out of date. */
		i->pages = PAGES_SOME;
		i->pages_turn = p->turn;
		i->pages_mixed = false;
	}
	pthread_mutex_unlock(&fs->lock);
}

/* The kernel has none any more, and gets none by an opening that has read before. fs->lock held. */
static void none_left(struct inode *i, unsigned fillers)
{
	i->pages = i->fillers > fillers ? PAGES_SOME : PAGES_NONE;
	i->pages_mixed = i->pages == PAGES_SOME;
}

void dirpages_end(struct fusefs *fs, struct inode *i, struct dirpages *p)
{
	bool wrong = false;
	pthread_mutex_lock(&fs->lock);
	if (p->fills && i->pages == PAGES_SOME) {
		wrong = i->pages_mixed || i->pages_turn != i->moves || p->turn != i->moves;
		if (!wrong)
			i->pages = PAGES_ALL;
	}
	pthread_mutex_unlock(&fs->lock);
	if (!wrong)
		return;
	notify_pages(fs, i);
	pthread_mutex_lock(&fs->lock);
	none_left(i, 1);
	pthread_mutex_unlock(&fs->lock);
}

void dirpages_close(struct fusefs *fs, struct inode *i, struct dirpages *p)
{
	pthread_mutex_lock(&fs->lock);
	i->fillers -= p->fills;
	pthread_mutex_unlock(&fs->lock);
}

void dirpages_taken(struct fusefs *fs, struct inode *i, const struct dirpages *p)
{
	pthread_mutex_lock(&fs->lock);
	i->fillers += p->fills;
	pthread_mutex_unlock(&fs->lock);
}

void dirpages_unknown(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	i->pages = i->fillers ? PAGES_SOME : PAGES_ALL;
	i->pages_mixed = i->fillers > 0;
	i->pages_turn = i->moves - 1;
	pthread_mutex_unlock(&fs->lock);
	notify_inode(fs, i);
}

int dirpages_drop(struct fusefs *fs, struct inode *i)
{
	pthread_mutex_lock(&fs->lock);
	bool all = i->pages != PAGES_SOME;
	pthread_mutex_unlock(&fs->lock);
	int r = fuse_lowlevel_notify_inval_inode(fs->session, i->ino, all ? 0 : -1, 0);
	pthread_mutex_lock(&fs->lock);
	if (all && i->pages == PAGES_ALL && i->pages_turn != i->moves)
		none_left(i, 0);
	pthread_mutex_unlock(&fs->lock);
	return r;
}
