/* Converting stored values when a property changes its type. */
#ifndef WORKERS_STORE_CONVERT_H
#define WORKERS_STORE_CONVERT_H

#include "db/db.h"
#include "worker/value.h"

/* Converts the value in a column of the row at hand. Texts of out point into the row or into scratch. false
 * when the value cannot be kept. */
bool convert_stored(struct db_stmt *row, int column, enum property_type from, enum property_type to,
                    struct buf *scratch, struct cell *out) MUST_CHECK;

#endif
