/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Documents changed by a patch instead of a whole text: what the patch makes of the version that its
 * author had before his eyes is saved as if he had written it. */

#include "engine/replica-impl.h"

#include <errno.h>

#include "engine/jsonpatch.h"
#include "engine/jsonstyle.h"

int document_write(const struct json *tree, const struct json *old, const struct version *base,
		   struct buf *b)
{
	struct json_style style;
	if (old)
		json_style_detect(old, version_data(base), (size_t)version_size(base), &style);
	else
		json_style_default(&style);
	json_style_write(tree, &style, b);
	return buf_failed(b) ? -ENOMEM : 0;
}

int replica_edit(struct replica *r, struct version *base, const struct json *patch,
		 struct version **ret, struct err *e)
{
	_cleanup_(arena_done) struct arena a = { 0 };
	_cleanup_(buf_done) struct buf b = { 0 };
	_cleanup_(version_unrefp) struct version *saved = NULL;
	struct json *old, *tree;
	if (version_form(base) != FORM_JSON)
		return err_set(e, -EINVAL, "this is no document");
	int rc = version_load(base);
	if (rc < 0)
		return err_errno(e, rc, "cannot read the document");
	rc = json_parse(&a, version_data(base), (size_t)version_size(base), NULL, &old, e);
	if (rc == 0)
		rc = jsonpatch_apply(&a, old, patch, &tree, e);
	if (rc < 0)
		return rc;
	rc = document_write(tree, old, base, &b);
	if (rc < 0)
		return err_errno(e, rc, "cannot write the document");
	const struct content content = { b.data, b.len, -1 };
	rc = replica_save(r, version_node(base), base, &content, SAVE_BY_NAME, &saved, e);
	if (rc < 0)
		return rc;
	rc = version_written(r, base, saved, b.data, b.len, ret);
	return rc < 0 ? err_errno(e, rc, "cannot remember what was saved") : 0;
}
