/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* .shoal/fields: the tree with a document in it as what it is made of. Directories are directories; the
 * document N.json is N, and stands there as N.json only where N is taken: by a directory, by another
 * document that stands there so, or because it is . or .. . An object or a list in a document is a
 * directory, of the names of its keys (fusefs/fieldname.h) or of the indexes from 0 on; any other
 * value is a file (fusefs/field.h). What changes there is a patch of the document.
 *
 * Paths are below .shoal/fields, "" for it. */

#include "fusefs/inode.h"

/* -ENOENT. */
int fieldsdir_attr(struct fusefs *fs, const char *path, struct attr *ret);
/* A value that is to be read, or written (if its object has it or could have it), into an empty
 * copy. -ENOENT, -EISDIR. */
int fieldsdir_open(struct fusefs *fs, const char *path, bool write, struct copy *to);
int fieldsdir_list(struct fusefs *fs, const char *path, list_fn f, void *userdata);
/* "object", "array", "string", "number", "boolean" or "null". -ENODATA: it is no value. */
int fieldsdir_type(struct fusefs *fs, const char *path, const char **ret);

/* Documents that were made here a moment ago and that the path leads to become nodes, as they do
 * before a save (fusefs/commit.h). No locks held. */
void fieldsdir_settle(struct fusefs *fs, const char *path);

/* ---- changing ---- */

/* A new value that is to be written: nothing is there until it is. The path that it will have goes into
 * ret: - stands for the index behind the last one. -EEXIST, -EISDIR; -EINVAL: the name is no
 * key's, or no index; -EACCES: not in a document, or a name as programs give to files that they are
 * going to rename or remove. */
int fieldsdir_create(struct fusefs *fs, const char *path, bool excl, struct buf *ret);
/* The same with an empty object, which is there. */
int fieldsdir_mkdir(struct fusefs *fs, const char *path, struct buf *ret);
/* A value that is no container; or (dir) an empty object, or a list, whatever is in it. -EISDIR,
 * -ENOTDIR, -ENOTEMPTY, -EACCES. */
int fieldsdir_remove(struct fusefs *fs, const char *path, bool dir);
/* A key gets another name, in the same document; flags: of renameat2(2). -EXDEV: another one; -EINVAL:
 * the elements of lists are not renamed. */
int fieldsdir_rename(struct fusefs *fs, const char *from, const char *to, unsigned flags);
