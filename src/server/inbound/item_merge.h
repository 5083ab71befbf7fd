// An item that was read and its record's row, merged field by field: what comes into the CRM, and
// what is remembered as agreed.
#pragma once

#include <optional>
#include <string>

#include "record/merge.h"
#include "server/configuration/configuration.h"
#include "server/crm/row_writer.h"
#include "sync/task.h"

namespace crmsync {

struct MergedItem {
    const sync::Outcome* outcome;
    std::string record;
    std::string problem;  // why the item's values cannot come in; then nothing else is set
    record::Merge merge;
    record::Fields agreed;  // what is new of its shadow
    record::Values before;  // of the CRM's fields that change
    RowChange change;
    bool differs = false;  // from the record, also now: it has to be written, too
    bool adopted = false;  // nothing was known of the item before
};

// read: a fetched item, which outlives the result. crm, texts: the record's values. shadow: what
// both sides last agreed on; nullopt: nothing yet.
MergedItem merge_item(const LinkConfiguration& link, const sync::Outcome& read,
                      const std::string& record, const record::Values& crm, const OwnTexts& texts,
                      const std::optional<record::Values>& shadow, bool crm_is_newer);

}  // namespace crmsync
