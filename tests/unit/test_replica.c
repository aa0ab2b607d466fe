/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The replica by examples: every function, every error. */

#include "tests/held.h"
#include "tests/replicas.h"

static struct id none = { { 0xee } };

static int names(const char *name, size_t len, const struct attr *attr, void *userdata)
{
	(void)attr;
	buf_put(userdata, name, len);
	buf_puts(userdata, " ");
	return 0;
}

static const char *listing(struct replica *r, const struct id *dir)
{
	static char text[2000];
	_cleanup_(buf_done) struct buf b = { 0 };
	int rc = replica_list(r, dir, names, &b);
	snprintf(text, sizeof(text), "%s", rc < 0 ? strerror(-rc) : b.len ? buf_cstr(&b) : "");
	return text;
}

static bool holds(struct replica *r, const struct id *id, const char *text)
{
	_cleanup_free_ char *got = rep_read(r, id);
	struct attr at;
	if (strcmp(got, text) == 0 && replica_attr(r, id, &at) == 0 && at.size == strlen(text))
		return true;
	tap_diag("got: %s", got);
	return false;
}

static struct version *newest(struct replica *r, const struct id *id)
{
	struct version *v = NULL;
	if (replica_read(r, id, &v) < 0)
		tap_bail("replica_read");
	return v;
}

static void tree(struct rep *p)
{
	struct replica *r = p->r;
	struct attr dir, sub, f, g, at;
	struct id parent, id;
	char name[NAME_MAX_BYTES + 1], longer[NAME_MAX_BYTES + 2];
	_cleanup_(buf_done) struct buf path = { 0 };
	memset(longer, 'x', sizeof(longer));
	is_int(replica_attr(r, &NODE_ROOT, &at), 0, "the root is there");
	ok(at.kind == NODE_DIR && at.mode == 0755, "as a directory");
	is_str(listing(r, &NODE_ROOT), "", "and empty");
	is_int(rep_mkdir(r, &NODE_ROOT, "cars", &dir), 0, "mkdir");
	ok(id_equal(&dir.scope, &NODE_ROOT), "a top-level directory belongs to the root");
	is_int(rep_mkdir(r, &dir.id, "old", &sub), 0, "mkdir below");
	ok(id_equal(&sub.scope, &dir.id), "what is below belongs to it");
	is_errno(rep_mkdir(r, &NODE_ROOT, "cars", &at), -EEXIST, "mkdir twice");
	is_errno(rep_mkdir(r, &none, "x", &at), -ENOENT, "mkdir nowhere");
	is_errno(rep_mkdir(r, &NODE_ROOT, "", &at), -EINVAL, "mkdir without a name");
	is_errno(rep_mkdir(r, &NODE_ROOT, "..", &at), -EINVAL, "mkdir ..");
	is_errno(rep_mkdir(r, &NODE_ROOT, "a/b", &at), -EINVAL, "mkdir a/b");
	is_errno(replica_mkdir(r, &NODE_ROOT, longer, 256, 0755, &at), -ENAMETOOLONG,
		 "mkdir with 256 bytes");
	is_int(replica_mkdir(r, &sub.id, longer, 255, 0700, &at), 0, "mkdir with 255 bytes");
	is_uint(at.mode, 0700, "its mode");
	is_errno(rep_mkdir(r, &NODE_LOST, "x", &at), -ENOENT, "mkdir in lost+found, not shown");

	is_int(rep_create(r, &dir.id, "7.json", "{\"n\": 1}\n", &f), 0, "a document");
	ok(f.kind == NODE_FILE && f.form == FORM_JSON && f.size == 9 && f.mode == 0644, "its form");
	is_int(rep_create(r, &dir.id, "t.bin", "hello", &g), 0, "a blob");
	ok(g.form == FORM_BLOB && g.size == 5, "its form");
	is_int(rep_create(r, &dir.id, "bad.json", "{\"n\": ", &at), 0, "a *.json that is none");
	ok(at.form == FORM_TEXT && holds(r, &at.id, "{\"n\": "), "is kept as a text");
	is_int(rep_create(r, &dir.id, "empty", "", &at), 0, "an empty file");
	ok(at.form == FORM_BLOB && at.size == 0 && holds(r, &at.id, ""), "is empty");
	is_errno(rep_create(r, &dir.id, "t.bin", "", &at), -EEXIST, "a name twice");
	is_errno(rep_create(r, &g.id, "x", "", &at), -ENOTDIR, "in a file");
	is_errno(rep_create(r, &none, "x", "", &at), -ENOENT, "nowhere");
	is_errno(replica_create(r, &dir.id, longer, 256, 0644, &(struct content){ .fd = -1 },
				SAVE_BLOB, 0, &at, NULL, NULL), -ENAMETOOLONG, "with 256 bytes");
	is_uint(replica_count(r), 4, "four files");

	is_int(rep_lookup(r, &dir.id, "7.json", &at), 0, "lookup");
	ok(id_equal(&at.id, &f.id), "finds it");
	is_errno(rep_lookup(r, &dir.id, "8.json", &at), -ENOENT, "lookup of nothing");
	is_errno(rep_lookup(r, &dir.id, "x~123456.json", &at), -ENOENT, "of no loser");
	is_errno(rep_lookup(r, &f.id, "x", &at), -ENOTDIR, "in a file");
	is_errno(rep_lookup(r, &none, "x", &at), -ENOENT, "nowhere");
	is_errno(rep_lookup(r, &NODE_ROOT, "lost+found", &at), -ENOENT, "lost+found has nothing");
	is_errno(replica_attr(r, &none, &at), -ENOENT, "attributes of nothing");
	is_str(listing(r, &dir.id), "7.json bad.json empty old t.bin ", "in order");
	is_str(listing(r, &f.id), strerror(ENOTDIR), "a file has no entries");
	is_str(listing(r, &none), strerror(ENOENT), "nothing neither");
	is_int(replica_parent(r, &f.id, &parent, name), 0, "parent");
	ok(id_equal(&parent, &dir.id) && !strcmp(name, "7.json"), "and name");
	is_errno(replica_parent(r, &NODE_ROOT, &parent, name), -ENOENT, "the root has none");
	is_int(replica_path(r, &f.id, &path), 0, "path");
	is_str(buf_cstr(&path), "cars/7.json", "from the root");

	is_int(replica_symlink(r, &dir.id, "link", 4, "../x", &at), 0, "symlink");
	ok(at.kind == NODE_LINK && at.size == 4 && at.mode == 0777, "its attributes");
	buf_reset(&path);
	is_int(replica_readlink(r, &at.id, &path), 0, "readlink");
	is_str(buf_cstr(&path), "../x", "gives the target");
	is_errno(replica_readlink(r, &f.id, &path), -EINVAL, "of a file");
	is_errno(replica_readlink(r, &none, &path), -ENOENT, "of nothing");
	is_errno(replica_symlink(r, &dir.id, "l2", 2, "", &at), -ENOENT, "to nowhere");
	is_errno(replica_symlink(r, &dir.id, "link", 4, "y", &at), -EEXIST, "a name twice");
	_cleanup_free_ char *far = calloc(1, LINK_SIZE_MAX + 2);
	memset(far, 'x', LINK_SIZE_MAX + 1);
	is_errno(replica_symlink(r, &dir.id, "l2", 2, far, &at), -ENAMETOOLONG, "too far");

	is_errno(replica_remove(r, &dir.id, 0), -ENOTEMPTY, "remove of a full directory");
	is_errno(replica_remove(r, &NODE_ROOT, 0), -EBUSY, "of the root");
	is_errno(replica_remove(r, &none, 0), -ENOENT, "of nothing");
	is_int(replica_remove(r, &g.id, 0), 0, "of a file");
	is_errno(replica_remove(r, &g.id, 0), -ENOENT, "twice");
	is_errno(rep_lookup(r, &dir.id, "t.bin", &at), -ENOENT, "it is gone");
	is_int(rep_create(r, &dir.id, "t.bin", "new", &at), 0, "the name is free");
	ok(!id_equal(&at.id, &g.id), "for another file");

	id = f.id;
	is_int(replica_remove(r, &f.id, 0), 0, "a document deleted");
	is_int(rep_create(r, &dir.id, "7.json", "{\"m\": 2}\n", &f), 0, "and created again");
	ok(id_equal(&id, &f.id), "is the same node");
	ok(holds(r, &f.id, "{\"m\": 2}\n"), "with nothing of the old one");
	is_int(rep_rename(r, &f.id, &dir.id, "8.json", 0), 0, "renamed away");
	is_int(rep_create(r, &dir.id, "7.json", "{}", &at), 0, "a new one under the name");
	ok(!id_equal(&id, &at.id), "is another node");
	ok(rep_sound(r), "the store is sound");
}

static void renames(struct rep *p)
{
	struct replica *r = p->r;
	struct attr d, e, s, a, b, at;
	struct id id;
	rep_mkdir(r, &NODE_ROOT, "d", &d);
	rep_mkdir(r, &NODE_ROOT, "e", &e);
	rep_mkdir(r, &d.id, "s", &s);
	rep_create(r, &d.id, "a.json", "{\"a\": 1}\n", &a);
	rep_create(r, &d.id, "b.json", "{\"b\": 1}\n", &b);
	is_errno(rep_rename(r, &none, &d.id, "x", 0), -ENOENT, "rename of nothing");
	is_errno(rep_rename(r, &a.id, &none, "x", 0), -ENOENT, "to nowhere");
	is_errno(rep_rename(r, &a.id, &b.id, "x", 0), -ENOTDIR, "into a file");
	is_errno(rep_rename(r, &a.id, &d.id, "", 0), -EINVAL, "to no name");
	is_errno(rep_rename(r, &NODE_ROOT, &d.id, "x", 0), -EBUSY, "of the root");
	is_errno(rep_rename(r, &a.id, &d.id, "b.json", RENAME_FLAG_NOREPLACE), -EEXIST, "noreplace");
	is_errno(rep_rename(r, &a.id, &d.id, "c.json", RENAME_FLAG_EXCHANGE), -ENOENT, "exchange");
	is_errno(rep_rename(r, &a.id, &d.id, "b.json", 3), -EINVAL, "both at once");
	is_errno(rep_rename(r, &a.id, &d.id, "s", 0), -EISDIR, "a file over a directory");
	is_errno(rep_rename(r, &s.id, &d.id, "a.json", 0), -ENOTDIR, "a directory over a file");
	is_errno(rep_rename(r, &d.id, &s.id, "x", 0), -EINVAL, "a directory into itself");
	is_errno(rep_rename(r, &s.id, &e.id, "s", 0), -EXDEV, "a directory to another collection");
	is_int(rep_rename(r, &a.id, &d.id, "a.json", 0), 0, "to its own name");
	is_int(rep_rename(r, &a.id, &s.id, "a.json", 0), 0, "down");
	is_int(rep_rename(r, &b.id, &s.id, "a.json", RENAME_FLAG_EXCHANGE), 0, "exchange");
	is_str(listing(r, &d.id), "b.json s ", "above");
	ok(rep_lookup(r, &s.id, "a.json", &at) == 0 && id_equal(&at.id, &b.id), "below");
	ok(rep_lookup(r, &d.id, "b.json", &at) == 0 && id_equal(&at.id, &a.id), "and above");
	is_int(rep_rename(r, &a.id, &s.id, "a.json", 0), 0, "over the other");
	ok(rep_lookup(r, &s.id, "a.json", &at) == 0 && id_equal(&at.id, &a.id), "which is gone");
	is_errno(replica_attr(r, &b.id, &at), -ENOENT, "for good");
	rep_mkdir(r, &d.id, "t", &at);
	is_errno(rep_rename(r, &at.id, &d.id, "s", 0), -ENOTEMPTY, "over a full directory");
	is_errno(rep_rename(r, &at.id, &s.id, "a.json", RENAME_FLAG_EXCHANGE), 0,
		 "a directory and a file change places");
	is_errno(rep_rename(r, &at.id, &d.id, "s", RENAME_FLAG_EXCHANGE), -EINVAL,
		 "a directory with the one it is in");
	ok(rep_lookup(r, &d.id, "t", &at) == 0 && id_equal(&at.id, &a.id), "the file is above");

	replica_set_mode(r, &a.id, 0600);
	replica_set_mtime(r, &a.id, 1234567890123456789);
	replica_set_xattr(r, &a.id, "user.x", "y", 1, false, false);
	is_int(replica_rename(r, &a.id, &e.id, "a.json", 6, 0, &id), 0, "to another collection");
	ok(!id_equal(&id, &a.id) && replica_attr(r, &id, &at) == 0, "as a new node");
	ok(id_equal(&at.scope, &e.id) && at.mode == 0600 && at.mtime_ns == 1234567890123456789,
	   "with mode and time");
	_cleanup_(buf_done) struct buf x = { 0 };
	ok(replica_get_xattr(r, &id, "user.x", &x) == 0 && x.len == 1, "attributes");
	ok(holds(r, &id, "{\"a\": 1}\n"), "and content");
	is_errno(replica_attr(r, &a.id, &at), -ENOENT, "the old one is gone");
	rep_create(r, &d.id, "blob", "some bytes", &a);
	rep_create(r, &e.id, "blob", "other bytes", &b);
	is_int(replica_rename(r, &a.id, &e.id, "blob", 4, 0, &id), 0, "a blob over another there");
	ok(holds(r, &id, "some bytes") && replica_attr(r, &b.id, &at) == -ENOENT, "replaces it");
	rep_create(r, &d.id, "a.json", "{\"new\": 1}\n", &a);
	is_int(replica_rename(r, &a.id, &e.id, "a.json", 6, 0, &id), 0, "a document over another");
	ok(holds(r, &id, "{\"new\": 1}\n"), "has its content alone");
	ok(rep_sound(r), "the store is sound");
}

static void saves(struct rep *p)
{
	struct replica *r = p->r;
	struct attr d, f, g, at;
	struct err e = { 0 };
	_cleanup_(version_unrefp) struct version *v1 = NULL, *v2 = NULL, *v3 = NULL;
	struct version *written = NULL;
	struct content c = rep_text("{\"n\": 1,\n \"m\": }");
	rep_mkdir(r, &NODE_ROOT, "saves", &d);
	rep_create(r, &d.id, "f.json", "{\"n\": 1, \"m\": 1}\n", &f);
	v1 = newest(r, &f.id);
	ok(id_equal(version_node(v1), &f.id) && id_equal(version_id(v1), &f.version), "a version");
	is_int(version_form(v1), FORM_JSON, "of a document");
	v2 = newest(r, &f.id);
	ok(v1 == v2, "equal versions are one");
	version_unref(TAKE_PTR(v2));
	uint64_t commits = replica_commits(r);
	is_int(replica_save(r, &f.id, v1, &(struct content){ "{\"n\": 1, \"m\": 1}\n", 17, -1 },
			    SAVE_BY_NAME, &v2, &e), 0, "what was read is saved");
	ok(v2 == v1 && replica_commits(r) == commits, "no new version");
	is_int(rep_save(r, &f.id, v1, "{\"n\": 2, \"m\": 1}\n"), 0, "one field");
	is_int(rep_save(r, &f.id, v1, "{\"n\": 1, \"m\": 3}\n"), 0, "another, from the old version");
	ok(holds(r, &f.id, "{\"n\": 2, \"m\": 3}\n"), "both are there");
	is_int(rep_save(r, &f.id, v1, "{\"n\": 2, \"m\": 3}\n"), 0, "what is there already");
	ok(replica_attr(r, &f.id, &at) == 0 && !at.conflict, "no conflict");
	is_errno(replica_save(r, &f.id, v1, &c, SAVE_BY_NAME, NULL, &e), -EINVAL, "not JSON");
	ok(e.line == 2 && e.column == 7, "line %u, column %u: %s", e.line, e.column, e.message);
	ok(holds(r, &f.id, "{\"n\": 2, \"m\": 3}\n"), "it is as it was");
	is_errno(rep_save(r, &f.id, NULL, ""), -EINVAL, "an empty document");
	is_errno(rep_save(r, &none, NULL, "{}"), -ENOENT, "a save of nothing");
	is_errno(rep_save(r, &d.id, NULL, "{}"), -EISDIR, "of a directory");
	v3 = newest(r, &f.id);
	is_int(rep_save(r, &f.id, v3, "{ \"n\":2 , \"m\" : 3 }"), 0, "another layout");
	ok(holds(r, &f.id, "{ \"n\":2 , \"m\" : 3 }"), "is kept byte for byte");
	version_unref(v3);
	v3 = newest(r, &f.id);
	replica_set_mode(r, &f.id, 0600);
	is_int(rep_save(r, &f.id, v3, "{ \"n\":4 , \"m\" : 3 }"), 0, "after a chmod");
	ok(holds(r, &f.id, "{ \"n\":4 , \"m\" : 3 }"), "too");
	char part[5];
	is_int(version_pread(v1, part, 4, 2), 4, "part of a version");
	is_mem(part, 4, "n\": ", 4, "in the middle");
	is_int(version_pread(v1, part, 4, 100), 0, "behind its end");
	ok(version_data(v1) && version_context(v1)->n == 1, "data and context");
	/* Its bytes are those of no record: nothing else finds it, and it goes with its holder. */
	version_unref(v3);
	v3 = newest(r, &f.id);
	is_int(version_written(r, v1, v3, "{\"n\": 5}\n", 9, &written), 0, "as a writer knows it");
	ok(written != v3 && version_size(written) == 9 && holds(r, &f.id, "{ \"n\":4 , \"m\" : 3 }"),
	   "is a version beside the record's");
	version_unref(TAKE_PTR(written));

	rep_create(r, &d.id, "t.bin", "one", &g);
	version_unref(v3);
	v3 = newest(r, &g.id);
	ok(version_form(v3) == FORM_BLOB && !version_data(v3) && version_size(v3) == 3, "a blob");
	commits = replica_commits(r);
	is_int(rep_save(r, &g.id, v3, "one"), 0, "its own bytes");
	ok(replica_commits(r) == commits, "are no new version");
	is_int(rep_save(r, &g.id, v3, "two"), 0, "others");
	ok(holds(r, &g.id, "two"), "are");
	is_int(rep_save(r, &g.id, v3, "three"), 0, "others from the old version");
	ok(holds(r, &g.id, "three") && replica_attr(r, &g.id, &at) == 0 && at.conflict, "win");
	is_int(version_pread(v3, part, 5, 0), 3, "the old version can still be read");

	rep_create(r, &d.id, "late.json", "{", &g);
	is_int(rep_save(r, &g.id, NULL, "{{"), 0, "still no document");
	version_unref(v3);
	v3 = newest(r, &g.id);
	is_int(rep_save(r, &g.id, v3, "{\"at\": \"last\"}"), 0, "a document now");
	ok(replica_attr(r, &g.id, &at) == 0 && at.form == FORM_JSON, "it has become one");
	ok(holds(r, &g.id, "{\"at\": \"last\"}"), "with these bytes");
	is_errno(rep_save(r, &g.id, v3, "{"), -EINVAL, "and stays one");
	is_int(replica_save(r, &g.id, v3, &(struct content){ "{", 1, -1 }, SAVE_BLOB, NULL, NULL), 0,
	       "unless asked");
	int fd = fileno(tmpfile());
	if (write(fd, "from a file", 11) != 11)
		tap_bail("write");
	is_int(replica_create(r, &d.id, "fd", 2, 0600, &(struct content){ .fd = fd }, SAVE_BY_NAME,
			      0, &at, NULL, NULL), 0, "content of a descriptor");
	ok(at.mode == 0600 && holds(r, &at.id, "from a file"), "is read from its start");
	close(fd);
	_cleanup_free_ char *big = malloc(DOCUMENT_SIZE_MAX + 1);
	memset(big, ' ', DOCUMENT_SIZE_MAX + 1);
	c = (struct content){ big, DOCUMENT_SIZE_MAX + 1, -1 };
	is_errno(replica_save(r, &f.id, v1, &c, SAVE_BY_NAME, NULL, &e), -EFBIG, "too large");
	ok(strstr(e.message, "16 MiB"), "%s", e.message);
	is_int(replica_create(r, &d.id, "big.json", 8, 0644, &c, SAVE_BY_NAME, 0, &at, NULL, NULL),
	       0, "as a new file it is kept");
	is_int(at.form, FORM_TEXT, "as a text");
	c = rep_text("{}");
	ok(replica_parses("x.json", 6, &c, NULL) && !replica_parses("x.txt", 5, &c, NULL) &&
	   !replica_parses(".json", 5, &c, NULL), "what is a document by its name");
	c = rep_text("[1,]");
	ok(!replica_parses("x.json", 6, &c, &e) && e.code == -EINVAL && e.line == 1, "and is none");
	is_errno(replica_read(r, &none, &v2), -ENOENT, "read of nothing");
	is_errno(replica_read(r, &d.id, &v2), -EISDIR, "of a directory");
	replica_symlink(r, &d.id, "l", 1, "x", &at);
	is_errno(replica_read(r, &at.id, &v2), -EINVAL, "of a link");
	ok(rep_sound(r), "the store is sound");
}

static int one_conflict(const char *pointer, const struct entry *shown, const struct entry *lost,
			void *userdata)
{
	(void)shown;
	(void)lost;
	snprintf(userdata, 20, "%s", pointer);
	return 0;
}

static void metadata(struct rep *p)
{
	struct replica *r = p->r;
	struct attr d, f, at;
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(version_unrefp) struct version *v = NULL;
	char pointer[20] = "";
	rep_mkdir(r, &NODE_ROOT, "meta", &d);
	rep_create(r, &d.id, "f.json", "{\"n\": 1}\n", &f);
	is_int(replica_set_mode(r, &f.id, 0100640), 0, "chmod");
	ok(replica_attr(r, &f.id, &at) == 0 && at.mode == 0640, "permission bits only");
	ok(!id_equal(&at.version, &f.version) && at.mtime_ns == f.mtime_ns, "the time stays");
	is_errno(replica_set_mode(r, &none, 0600), -ENOENT, "of nothing");
	is_errno(replica_set_mode(r, &NODE_ROOT, 0700), -EPERM, "of the root");
	is_int(replica_set_mtime(r, &f.id, -5), 0, "a time before 1970");
	ok(replica_attr(r, &f.id, &at) == 0 && at.mtime_ns == -5, "is kept");
	v = newest(r, &f.id);
	rep_save(r, &f.id, v, "{\"n\": 2}\n");
	ok(replica_attr(r, &f.id, &at) == 0 && at.mtime_ns > f.mtime_ns, "a save sets it");
	is_errno(replica_set_mtime(r, &none, 5), -ENOENT, "of nothing");
	is_int(replica_set_mtime(r, &d.id, 77), 0, "a directory's");
	ok(replica_attr(r, &d.id, &at) == 0 && at.mtime_ns == 77, "is kept");
	rep_create(r, &d.id, "new", "", &at);
	ok(replica_attr(r, &d.id, &at) == 0 && at.mtime_ns > f.mtime_ns, "a new entry sets it");

	is_int(replica_set_xattr(r, &f.id, "user.a", "1", 1, false, false), 0, "an attribute");
	is_int(replica_set_xattr(r, &f.id, "user.b", "", 0, true, false), 0, "an empty one");
	is_errno(replica_set_xattr(r, &f.id, "user.a", "2", 1, true, false), -EEXIST, "create");
	is_errno(replica_set_xattr(r, &f.id, "user.c", "2", 1, false, true), -ENODATA, "replace");
	is_errno(replica_set_xattr(r, &f.id, "", "2", 1, false, false), -ERANGE, "no name");
	is_errno(replica_set_xattr(r, &f.id, "user.c", "2", XATTR_SIZE_MAX + 1, false, false),
		 -E2BIG, "too large");
	is_errno(replica_set_xattr(r, &none, "user.c", "2", 1, false, false), -ENOENT, "of nothing");
	is_int(replica_list_xattr(r, &f.id, &b), 0, "the list");
	is_mem(b.data, b.len, "user.a\0user.b", 14, "has both");
	buf_reset(&b);
	ok(replica_get_xattr(r, &f.id, "user.a", &b) == 0 && b.len == 1 && b.data[0] == '1', "one");
	buf_reset(&b);
	ok(replica_get_xattr(r, &f.id, "user.b", &b) == 0 && b.len == 0, "the other");
	is_errno(replica_get_xattr(r, &f.id, "user.c", &b), -ENODATA, "one that is not there");
	is_errno(replica_get_xattr(r, &none, "user.c", &b), -ENOENT, "of nothing");
	is_int(replica_remove_xattr(r, &f.id, "user.a"), 0, "removed");
	is_errno(replica_remove_xattr(r, &f.id, "user.a"), -ENODATA, "twice");
	is_errno(replica_get_xattr(r, &f.id, "user.a", &b), -ENODATA, "gone");
	is_int(replica_remove(r, &f.id, 0), 0, "deleted");
	is_int(rep_create(r, &d.id, "f.json", "{\"n\": 1}\n", &f), 0, "created again");
	ok(f.mode == 0644 && replica_get_xattr(r, &f.id, "user.b", &b) == -ENODATA, "bare");

	version_unref(v);
	v = newest(r, &f.id);
	rep_save(r, &f.id, v, "{\"n\": 5}\n");
	rep_save(r, &f.id, v, "{\"n\": 6}\n");
	ok(replica_attr(r, &f.id, &at) == 0 && at.conflict, "two saves of one field");
	is_int(replica_conflicts(r, &f.id, one_conflict, pointer), 0, "are a conflict");
	is_str(pointer, "/n", "there");
	is_errno(replica_conflicts(r, &none, one_conflict, pointer), -ENOENT, "of nothing");
	ok(rep_sound(r), "the store is sound");
}

struct seen {
	char text[1000];
	unsigned calls;
};

static void observer(const struct change *change, size_t n, void *userdata)
{
	struct seen *s = userdata;
	size_t len = 0;
	s->calls++;
	s->text[0] = 0;
	for (size_t i = 0; i < n && len < sizeof(s->text) - 100; i++) {
		len += (size_t)snprintf(s->text + len, sizeof(s->text) - len, "%u:%s>%s",
					change[i].what, change[i].old_name ? change[i].old_name : "",
					change[i].name ? change[i].name : "");
		for (uint32_t k = 0; k < change[i].n_pointers; k++)
			len += (size_t)snprintf(s->text + len, sizeof(s->text) - len, " %s",
						change[i].pointer[k]);
		len += (size_t)snprintf(s->text + len, sizeof(s->text) - len, ";");
	}
}

static void observing(struct rep *p)
{
	struct replica *r = p->r;
	struct attr d, f;
	struct seen seen = { .calls = 0 };
	_cleanup_(version_unrefp) struct version *v = NULL;
	rep_mkdir(r, &NODE_ROOT, "seen", &d);
	is_int(replica_observe(r, observer, &seen), 0, "observe");
	rep_create(r, &d.id, "f.json", "{\"n\": 1, \"m\": 1}\n", &f);
	is_str(seen.text, "7:>f.json ;", "a new file");
	v = newest(r, &f.id);
	rep_save(r, &f.id, v, "{\"n\": 2}\n");
	is_str(seen.text, "1:> /n /m;", "a save: the changed pointers");
	replica_set_mode(r, &f.id, 0600);
	is_str(seen.text, "2:>;", "a chmod");
	rep_rename(r, &f.id, &d.id, "g.json", 0);
	is_str(seen.text, "12:f.json>g.json;", "a rename");
	unsigned calls = seen.calls;
	rep_save(r, &f.id, v, "{\"n\": 1, \"m\": 1}\n");
	is_uint(seen.calls, calls, "no change, no call");
	replica_remove(r, &f.id, 0);
	is_str(seen.text, "8:g.json>;", "a deletion");
	replica_unobserve(r, observer, &seen);
	rep_create(r, &d.id, "h", "", &f);
	is_uint(seen.calls, calls + 1, "not any more");
}

static int local_names(const uint8_t *key, size_t key_len, const uint8_t *value, size_t len,
		       void *userdata)
{
	buf_put(userdata, key, key_len);
	buf_put(userdata, value, len);
	return 0;
}

static void local(struct rep *p)
{
	struct replica *r = p->r;
	_cleanup_(buf_done) struct buf b = { 0 };
	is_int(replica_local_put(r, "d1", 2, "x", 1), 0, "a local value");
	is_int(replica_local_put(r, "d2", 2, "y", 1), 0, "another");
	is_int(replica_local_put(r, "e1", 2, "z", 1), 0, "a third");
	ok(replica_local_get(r, "d2", 2, &b) == 0 && b.len == 1 && b.data[0] == 'y', "is there");
	is_errno(replica_local_get(r, "d3", 2, &b), -ENOENT, "one that is not");
	buf_reset(&b);
	is_int(replica_local_scan(r, "d", 1, local_names, &b), 0, "all with a prefix");
	is_mem(b.data, b.len, "d1xd2y", 6, "in order");
	is_int(replica_local_delete(r, "d1", 2), 0, "deleted");
	is_errno(replica_local_get(r, "d1", 2, &b), -ENOENT, "gone");
	replica_local_put(r, "e2", 2, "q", 1);
	is_int(replica_flush(r, NULL), 0, "made durable");
	rep_stop(p);
	store_crash(p->store, 0);
	r = rep_start(p);
	ok(replica_local_get(r, "e2", 2, &b) == 0, "a crash leaves them");
}

static void durability(struct rep *p)
{
	struct replica *r = p->r;
	struct attr d, f, at;
	struct actor_id self, later;
	uint64_t seq;
	struct id one, two;
	rep_mkdir(r, &NODE_ROOT, "safe", &d);
	ok(replica_dirty(r), "a commit is not durable at once");
	_cleanup_(view_unrefp) struct view *v = replica_view(r);
	ok(view_commits(v) < replica_commits(r), "nor in the view");
	is_int(replica_flush(r, NULL), 0, "flush");
	ok(!replica_dirty(r), "now it is");
	_cleanup_(view_unrefp) struct view *w = replica_view(r);
	ok(view_commits(w) == replica_commits(r), "and in the view");
	view_fingerprint(v, interests_all(), &one);
	view_fingerprint(w, interests_all(), &two);
	ok(!id_equal(&one, &two), "whose fingerprint is another");
	ok(view_scopes(w) >= 1 && view_have(w, &none)->n == 0, "unknown scopes are empty");
	replica_self(r, &self, &seq);
	ok(vv_get(view_have(w, &NODE_ROOT), actors_find(replica_actors(r), &self)) == seq,
	   "have follows own commits");
	rep_create(r, &d.id, "f", "x", &f);
	view_unref(TAKE_PTR(v));
	view_unref(TAKE_PTR(w));
	rep_stop(p);
	store_crash(p->store, 0);
	r = rep_start(p);
	is_errno(replica_attr(r, &f.id, &at), -ENOENT, "what was not durable is lost in a crash");
	is_int(replica_attr(r, &d.id, &at), 0, "what was is not");
	replica_self(r, &later, &seq);
	ok(actor_id_cmp(&self, &later) == 0, "a crash is no new incarnation");
	store_fail(p->store, 1, -EIO);
	struct err e = { 0 };
	struct content c = rep_text("y");
	is_errno(replica_create(r, &d.id, "g", 1, 0644, &c, SAVE_BLOB, 0, &at, NULL, &e), -EIO,
		 "a store that fails");
	store_fail(p->store, 2, -EIO);
	is_errno(replica_create(r, &d.id, "g", 1, 0644, &c, SAVE_BLOB, 0, &at, NULL, &e), -EIO,
		 "at the commit");
	is_errno(rep_lookup(r, &d.id, "g", &at), -ENOENT, "leaves nothing");
	store_fail(p->store, 0, 0);
	is_int(rep_create(r, &d.id, "g", "y", &at), 0, "then it works again");
	store_fail(p->store, 1, -EIO);
	is_errno(replica_flush(r, NULL), -EIO, "a flush that fails");
	ok(replica_dirty(r), "publishes nothing");
	store_fail(p->store, 0, 0);
	is_int(replica_flush(r, NULL), 0, "the next one does");

	replica_self(r, &self, &seq);
	uint64_t before = seq;
	is_int(replica_check_fence(r, &self, seq, NULL), 0, "a peer knows what we made");
	is_int(replica_check_fence(r, &self, seq + 1, NULL), 1, "a peer knows more than that");
	replica_self(r, &later, &seq);
	ok(actor_id_cmp(&self, &later) != 0 && seq == before + 1, "a new incarnation, which takes all over");
	rep_create(r, &d.id, "h", "y", &at);
	rep_stop(p);
	r = rep_start(p);
	replica_self(r, &self, &seq);
	ok(actor_id_cmp(&self, &later) == 0 && seq == before + 2 && rep_sound(r), "and lasts");
	rep_stop(p);
	p->fence[0] = 9;
	r = rep_start(p);
	replica_self(r, &later, &seq);
	ok(actor_id_cmp(&self, &later) != 0, "another fence, another incarnation");
	rep_stop(p);
	p->device.b[3] ^= 1;
	r = rep_start(p);
	replica_self(r, &self, &seq);
	ok(id_equal(&self.device, &p->device), "another device as well");
	is_int(replica_attr(r, &d.id, &at), 0, "with everything there");

	struct vv held = { 0 };
	struct id peer = { { 0x77 } };
	ok(!held_by(r, &peer, NULL) && !held_by(r, &peer, &at.id),
	   "a peer of which nothing is known");
	replica_flush(r, NULL);
	struct view *all = replica_view(r);
	for (uint32_t i = 0; i < view_scopes(all); i++) {
		struct id scope;
		const struct vv *have;
		view_scope(all, i, &scope, &have);
		ok(replica_peer_raise(r, &peer, &scope, have) == 0, "a peer holds scope %u", i);
	}
	view_unref(all);
	ok(held_by(r, &peer, NULL) && held_by(r, &peer, &d.id), "everything");
	ok(!held_by(r, &peer, &none), "but not what is not");
	replica_set_mode(r, &d.id, 0700);
	ok(!held_by(r, &peer, &d.id) && !held_by(r, &peer, NULL),
	   "nor what came later");
	replica_flush(r, NULL);
	rep_stop(p);
	r = rep_start(p);
	rep_mkdir(r, &d.id, "z", &at);
	ok(replica_peer_raise(r, &peer, &d.id, &held) == 0 && !held_by(r, &peer, &at.id),
	   "an empty vector says nothing");
	vv_done(&held);
	ok(rep_sound(r), "the store is sound");
}

static void corrupt(struct rep *p, enum store_family family, const struct id *id, bool repairable)
{
	/* A byte of a derived value; half of a record is lost. */
	struct store_batch *b;
	struct verify_report report;
	_cleanup_(buf_done) struct buf v = { 0 };
	store_get(p->store, NULL, family, id->b, ID_SIZE, &v);
	store_batch_new(&b);
	if (repairable)
		v.data[55] ^= 0xff;
	else
		v.len /= 2;
	store_put(b, family, id->b, ID_SIZE, v.data, v.len);
	store_write(p->store, b, NULL);
	store_batch_free(b);
	replica_verify(p->r, false, NULL, NULL, &report, NULL);
	ok(report.errors > 0 && report.repaired == 0, "damage in family %d is found", (int)family);
	replica_verify(p->r, true, NULL, NULL, &report, NULL);
	replica_verify(p->r, false, NULL, NULL, &report, NULL);
	ok((report.errors == 0) == repairable, "and %s", repairable ? "mended" : "told again");
}

static void verifying(struct rep *p)
{
	struct replica *r = p->r;
	struct attr d, f;
	struct verify_report report;
	struct store_batch *b;
	rep_mkdir(r, &NODE_ROOT, "check", &d);
	rep_create(r, &d.id, "f.json", "{\"n\": 1}\n", &f);
	is_int(replica_verify(r, false, rep_problem, NULL, &report, NULL), 0, "verify");
	ok(report.errors == 0 && report.records > 2 && report.dirents > 2 && report.attrs > 2 &&
	   report.dots > 2, "counts what it looks at");
	corrupt(p, STORE_ATTRS, &f.id, true);
	store_batch_new(&b);
	uint8_t key[ID_SIZE + 6];
	memcpy(key, d.id.b, ID_SIZE);
	memcpy(key + ID_SIZE, "f.json", 6);
	store_delete(b, STORE_DIRENTS, key, sizeof(key));
	store_write(p->store, b, NULL);
	store_batch_free(b);
	struct attr at;
	is_errno(rep_lookup(r, &d.id, "f.json", &at), -ENOENT, "a lost directory entry");
	replica_verify(r, true, NULL, NULL, &report, NULL);
	ok(report.errors == 1 && report.repaired == 1, "is mended");
	is_int(rep_lookup(r, &d.id, "f.json", &at), 0, "and found again");
	corrupt(p, STORE_DOCS, &f.id, false);
	rep_stop(p);
	uint8_t meta = 'F';
	store_batch_new(&b);
	store_put(b, STORE_META, &meta, 1, "\377", 1);
	store_write(p->store, b, NULL);
	store_batch_free(b);
	struct replica_config config = { .store = p->store, .device = p->device, .wall_us = rep_wall,
					 .random = rep_random, .userdata = p };
	struct err e = { 0 };
	is_errno(replica_open(&config, &p->r, &e), -EPROTONOSUPPORT, "a format of the future");
	ok(strstr(e.message, "use the version"), "%s", e.message);
	p->r = NULL;
}

static void merging(struct rep *p)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	struct rep q;
	struct replica *r = p->r;
	struct attr d, s, f, g, l, at, mine;
	struct err e = { 0 };
	struct delta *delta, bad;
	struct id parent;
	char name[NAME_MAX_BYTES + 1], want[NAME_MAX_BYTES + 1], hex[ID_HEX];
	rep_open(&q, NULL, 4, 77);
	q.wall = p->wall;
	rep_mkdir(q.r, &NODE_ROOT, "theirs", &d);
	rep_mkdir(q.r, &d.id, "s", &s);
	rep_create(q.r, &s.id, "f.json", "{\"x\": 1}\n", &f);
	rep_create(q.r, &s.id, "g.bin", "theirs", &g);
	replica_symlink(q.r, &d.id, "l", 1, "s", &l);

	delta = rep_delta(&q, p, &f.id, &a);
	is_int(rep_apply(p, delta, &e), APPLY_MERGED, "a file whose directory is not known");
	is_str(listing(r, &NODE_LOST), "f.json ", "shows in lost+found");
	ok(rep_lookup(r, &NODE_ROOT, "lost+found", &at) == 0 && id_equal(&at.id, &NODE_LOST),
	   "which shows in the root");
	ok(holds(r, &f.id, "{\"x\": 1}\n"), "with its content");
	is_errno(rep_create(r, &NODE_LOST, "x", "", &at), -EPERM, "nobody creates anything there");
	is_errno(replica_remove(r, &NODE_LOST, 0), -EBUSY, "or removes it");
	is_int(rep_apply(p, delta, &e), APPLY_OLD, "the same again");
	is_int(rep_apply(p, rep_delta(&q, p, &d.id, &a), &e), APPLY_MERGED, "the directory above comes");
	is_str(listing(r, &NODE_LOST), "f.json ", "which is not enough");
	is_int(rep_apply(p, rep_delta(&q, p, &s.id, &a), &e), APPLY_MERGED, "and then its own");
	is_errno(rep_lookup(r, &NODE_ROOT, "lost+found", &at), -ENOENT, "lost+found goes");
	ok(replica_parent(r, &f.id, &parent, name) == 0 && id_equal(&parent, &s.id), "it is in place");
	ok(rep_sound(r), "the store is sound");

	is_int(rep_apply(p, rep_delta(&q, p, &g.id, &a), &e), APPLY_NEED_CHUNKS, "a blob not here");
	is_errno(replica_attr(r, &g.id, &at), -ENOENT, "is not merged");
	_cleanup_(buf_done) struct buf chunk = { 0 };
	struct sha256 hash;
	sha256_of("theirs", 6, &hash);
	ok(chunk_get(q.store, &hash, &chunk) == 0 &&
	   chunk_put(p->store, &hash, chunk.data, chunk.len) == 0, "its bytes come");
	rep_create(r, &s.id, "g.bin", "mine", &mine);
	is_int(rep_apply(p, rep_delta(&q, p, &g.id, &a), &e), APPLY_MERGED, "and it is merged");
	/* Two files of one name: both stamps have counter 1, so the higher device shows. */
	struct actor_id self;
	replica_self(r, &self, NULL);
	bool theirs = id_cmp(&q.device, &self.device) > 0;
	id_hex(theirs ? &self.device : &q.device, hex);
	snprintf(want, sizeof(want), "g~%.6s.bin", hex);
	ok(rep_lookup(r, &s.id, "g.bin", &at) == 0 && id_equal(&at.id, theirs ? &g.id : &mine.id),
	   "one file has the name");
	ok(rep_lookup(r, &s.id, want, &at) == 0 && id_equal(&at.id, theirs ? &mine.id : &g.id),
	   "the other is %s", want);
	ok(replica_parent(r, &at.id, &parent, name) == 0 && !strcmp(name, want), "both ways");
	ok(strstr(listing(r, &s.id), want), "and in the list: %s", listing(r, &s.id));
	is_errno(rep_create(r, &s.id, want, "", &at), -EEXIST, "the name is taken");
	is_int(rep_rename(r, &at.id, &s.id, "h.txt", 0), 0, "it can be renamed");
	is_str(listing(r, &s.id), "f.json g.bin h.txt ", "away");
	ok(rep_sound(r), "the store is sound");

	bad = *rep_delta(&q, p, &l.id, &a);
	bad.state.id = NODE_ROOT;
	is_errno(rep_apply(p, &bad, &e), -EBADMSG, "a change of the root");
	bad.state.id = NODE_TRASH;
	is_errno(rep_apply(p, &bad, &e), -EBADMSG, "of the trash");
	bad.state.id = NODE_LOST;
	is_errno(rep_apply(p, &bad, &e), -EBADMSG, "of lost+found");
	bad.state.id = f.id;
	is_errno(rep_apply(p, &bad, &e), -EBADMSG, "a file that is a link there");
	ok(strstr(e.message, "another kind"), "%s", e.message);
	bad = *rep_delta(&q, p, &f.id, &a);
	bad.state.scope = NODE_ROOT;
	is_errno(rep_apply(p, &bad, &e), -EBADMSG, "of another collection");
	bad.state.scope = NODE_TRASH;
	is_errno(rep_apply(p, &bad, &e), -EBADMSG, "of none");
	bad = *rep_delta(&q, p, &l.id, &a);
	bad.state.edge[0].name = "a/b";
	bad.state.edge[0].name_len = 3;
	is_errno(rep_apply(p, &bad, &e), -EBADMSG, "a name with a slash");
	bad.state.edge[0].name = "..";
	bad.state.edge[0].name_len = 2;
	is_errno(rep_apply(p, &bad, &e), -EBADMSG, "a name that is ..");
	bad = *rep_delta(&q, p, &l.id, &a);
	bad.state.edge[0].parent = l.id;
	is_int(rep_apply(p, &bad, &e), APPLY_MERGED, "a node inside itself");
	ok(replica_parent(r, &l.id, &parent, name) == 0 && id_equal(&parent, &NODE_LOST),
	   "is put into lost+found");
	rep_mkdir(q.r, &d.id, "t", &at);
	bad = *rep_delta(&q, p, &at.id, &a);
	bad.state.edge[0].parent = f.id;
	is_int(rep_apply(p, &bad, &e), APPLY_MERGED, "a directory inside a file");
	ok(replica_parent(r, &at.id, &parent, name) == 0 && id_equal(&parent, &NODE_LOST), "too");
	ok(rep_sound(r), "the store is sound");
	bad = *rep_delta(&q, p, &f.id, &a);
	bad.from = bad.state.ctx;
	bad.complete = false;
	bad.state.id = none;
	is_int(rep_apply(p, &bad, &e), APPLY_NEED_WHOLE, "a difference to what is not here");
	struct vv upto = { 0 };
	uint64_t seq;
	replica_self(r, &self, &seq);
	vv_raise(&upto, actors_find(replica_actors(r), &self), seq + 5);
	is_errno(replica_claim(r, &d.id, &upto, &e), -ESTALE, "a claim of more than was ever made here");
	struct actor_id later;
	replica_self(r, &later, &seq);
	ok(actor_id_cmp(&self, &later) != 0, "starts a new incarnation");
	vv_done(&upto);
	ok(replica_flush(r, NULL) == 0 && rep_sound(r), "the store is sound");
	rep_close(&q);
}

int main(void)
{
	struct rep p;
	tap_plan(307);
	rep_open(&p, NULL, 3, 99);
	tree(&p);
	renames(&p);
	saves(&p);
	metadata(&p);
	observing(&p);
	merging(&p);
	local(&p);
	durability(&p);
	verifying(&p);
	rep_close(&p);
	return tap_done();
}
