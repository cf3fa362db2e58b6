/* Closes to a view what no content security policy does: WebRTC, and the clicks with Ctrl that a script
 * makes, for which Firefox opens a tab, out of any sandbox, once a person has clicked somewhere.
 *
 * Every page of a view begins with a script of our own (web/view-guard.js) that takes both away. That is not
 * enough: a frame which the page makes from text has everything anew, and may load scripts of the view's
 * folder. So every script begins with a call of what the guard leaves behind, and fails where no guard ran
 * before it. The name it calls by is reached from a literal: no declaration of the script can stand in its
 * place.
 *
 * Who owns what: the file stays the caller's; its bytes are replaced. */
#ifndef WORKERS_SERVER_VIEW_GUARD_H
#define WORKERS_SERVER_VIEW_GUARD_H

#include "base/buf.h"
#include "server/view_files.h"

/* Files that are neither page nor script are left alone. False without memory; the file is then as it was. */
bool view_guard(struct view_file *file);
/* The guard as a source of script-src: 'sha256-…' (CSP 3, section 2.3.1). False without libcrypto. */
bool view_guard_source(struct buf *out);

#endif
