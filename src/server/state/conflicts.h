// Conflicts that the policy of a field has decided: kept with both values, for people.
#pragma once

#include <string>
#include <vector>

#include "record/merge.h"
#include "server/postgres/query.h"

namespace crmsync {

struct Conflicts {
    pg::TextArray records;
    pg::IntegerArray mailboxes;
    pg::TextArray properties;
    pg::NullableTextArray crm_values;
    pg::NullableTextArray target_values;
    pg::TextArray winners;
};

void note_conflicts(int mailbox, const std::string& record,
                    const std::vector<record::FieldConflict>& conflicts, Conflicts& noted);

// In the current transaction.
void write_conflicts(const Conflicts& conflicts);

}  // namespace crmsync
