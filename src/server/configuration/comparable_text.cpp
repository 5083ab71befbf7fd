#include "server/configuration/comparable_text.h"

#include "server/postgres/query.h"

namespace crmsync {

std::string comparable_text(const std::string& expression) {
    const pg::Rows rows = pg::query(
        "SELECT pg_catalog.getdatabaseencoding() = 'UTF8', "
        "EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collname = 'und-x-icu' "
        "AND collnamespace = 'pg_catalog'::pg_catalog.regnamespace)");
    const bool has_unicode = rows.boolean(0, 0);
    const std::string collation = rows.boolean(0, 1) ? "\"und-x-icu\"" : "\"default\"";
    const std::string text =
        has_unicode ? "pg_catalog.normalize(" + expression + " COLLATE \"C\", 'NFKC')" : expression;
    // Controls, soft hyphens and characters without width are not seen by anybody.
    const std::string invisible =
        has_unicode ? R"('[\u0001-\u0008\u000E-\u001F\u007F\u00AD\u200B-\u200D\u2060\uFEFF]')"
                    : R"('[\u0001-\u0008\u000E-\u001F\u007F]')";
    // Most values are plain ASCII, which costs little.
    return "CASE WHEN " + expression + " IS NULL THEN '' WHEN " + expression +
           " COLLATE \"C\" ~ '^[!-~]*$' THEN pg_catalog.lower(" + expression +
           " COLLATE \"C\") ELSE pg_catalog.lower(pg_catalog.upper(pg_catalog.btrim("
           "pg_catalog.regexp_replace(pg_catalog.regexp_replace(" +
           text + " COLLATE \"C\", " + invisible + ", '', 'g'), '\\s+', ' ', 'g')) COLLATE " +
           collation + ")) COLLATE \"C\" END";
}

}  // namespace crmsync
