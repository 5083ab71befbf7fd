// The three-way merge, field by field and pure: what the CRM says, what the mailbox holds, and the
// shadow, on which both last agreed. All value lists are parallel to a link's Layout.
//
// Rules of the design that live here:
//   - only fields whose CRM value differs from the shadow are written (write_fields changed), so an
//     unchanged CRM field never overwrites what a user did (NexJ's Jack stays Jack)
//   - properties with compared = false are written when their CRM value changes, or, where there is
//     one, when a field they depend on is written in the same request; what the mailbox holds of
//     them counts nothing
//   - a field that only comes in is as the target has it, whatever the CRM makes of it; where the
//     target has nothing, or only what stands in for it, the CRM's value stays
//   - what travels apart and is not there is sent again once the CRM has changed it, whoever wins:
//     it may be we who had just taken the old one away
//   - a file_as that is not mapped is made from the names
#pragma once

#include <cstdint>
#include <vector>

#include "record/record.h"

namespace crmsync::record {

// When a mapped field is written to the target.
enum class Write : std::uint8_t {
    changed,        // the CRM's value differs from the shadow
    all,            // whenever the CRM has changed anything of the record
    if_empty,       // the CRM's value differs from the shadow and the shadow has none
    unless_changed  // as changed, and the target still has the shadow's value
};

// Who wins a field that both sides have changed.
enum class Conflict : std::uint8_t { crm_wins, target_wins, newest_wins };

struct FieldPolicy {
    Write write = Write::changed;
    Conflict conflict = Conflict::crm_wins;
    Access access = Access::both;  // which ways the mapping lets this field travel
    bool exact = true;             // what comes in is what the CRM then has: no expression makes it
};

// Parallel to the Layout.
using Policies = std::vector<FieldPolicy>;
using Values = std::vector<Value>;

// All fields of a new item: every value that there is, and a file_as in any case when there is a
// name. Contact only: other objects have no file_as.
Fields fields_to_create(Object object, const Layout& layout, const Policies& policies,
                        const Values& crm);

// The fields to write to an item whose shadow is known. Empty: nothing to do.
Fields fields_to_update(Object object, const Layout& layout, const Policies& policies,
                        const Values& crm, const Values& shadow);

// Whether the CRM has changed a field that only comes in: the target's value has to come in again.
bool strays(const Layout& layout, const Policies& policies, const Values& crm,
            const Values& shadow);

// A field that both sides changed, differently.
struct FieldConflict {
    const Property* property;
    Value crm;
    Value target;
    bool crm_won;
};

struct Merge {
    Fields to_target;  // to write to the item; empty: nothing
    Fields to_crm;     // to write to the CRM's row; empty: nothing
    std::vector<FieldConflict> conflicts;
    Values shadow;  // what to remember once both have been written
};

// What a merge knows beside the values.
struct MergeContext {
    Object object = Object::contact;
    bool outbound = true;      // the link writes to the target
    bool inbound = false;      // the link writes to the CRM
    bool crm_is_newer = true;  // for newest_wins
    bool first = false;        // nothing was agreed on yet: what both hold alike nobody has changed
    std::vector<std::size_t> stand_ins{};  // places where the target has nothing of its own, and
                                           // what stands in for that is as agreed
};

// What the target holds at these places of the layout could not be read: it counts as what was last
// agreed on, so that it is neither emptied nor changed. Where something is there it is not empty,
// whatever was agreed on: what only fills gaps, or is only written where the target has not changed
// it, is not written over it.
void take_as_agreed(const std::vector<std::size_t>& unread, const Policies& policies,
                    const Values& agreed, Values& target);

// Compares all three, as after a stale change key or an inbound change. A link that is outbound
// only leaves a field that just the user changed as it is, and keeps its shadow.
Merge merge(const MergeContext& context, const Layout& layout, const Policies& policies,
            const Values& shadow, const Values& crm, const Values& target);

}  // namespace crmsync::record
