/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tools/dirnames.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int read_text(DIR *d, struct dirnames *x)
{
	for (;;) {
		errno = 0;
		const struct dirent *e = readdir(d);
		if (!e)
			return -errno;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		buf_put(&x->text, e->d_name, strlen(e->d_name) + 1);
		if (buf_failed(&x->text))
			return -ENOMEM;
		x->n++;
	}
}

static DIR *open_again(int dir)
{
	/* Not dup(2): that shares the place. */
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	if (!d && fd >= 0)
		close(fd);
	return d;
}

int dirnames_read(int dir, struct dirnames *ret)
{
	DIR *d = open_again(dir);
	if (!d)
		return errno ? -errno : -ENOMEM;
	*ret = (struct dirnames){ 0 };
	int r = read_text(d, ret);
	closedir(d);
	ret->name = r == 0 ? calloc(ret->n + 1, sizeof(*ret->name)) : NULL;
	if (!ret->name) {
		dirnames_done(ret);
		return r < 0 ? r : -ENOMEM;
	}
	char *p = (char *)ret->text.data;
	for (size_t i = 0; i < ret->n; i++, p += strlen(p) + 1)
		ret->name[i] = p;
	if (ret->n)
		qsort(ret->name, ret->n, sizeof(*ret->name), compare);
	return 0;
}

void dirnames_done(struct dirnames *x)
{
	free(x->name);
	buf_done(&x->text);
	*x = (struct dirnames){ 0 };
}
