// What has to be done for one record in one mailbox: the CRM's wish against what is there. Pure,
// and the only place that decides: the worker carries its decisions out, plan() shows them.
#pragma once

#include <optional>
#include <string>

#include "exchange/operation.h"
#include "record/merge.h"
#include "record/record.h"
#include "sync/policy.h"

namespace crmsync::sync {

// How an item came about; what a user made is never deleted because of the audience.
enum class Origin { crm, adopted, mailbox };

// The copy that is already there, as far as is known.
struct KnownItem {
    exchange::ItemReference reference;
    std::optional<record::Values> shadow;  // nullopt: what it holds is not known
    Origin origin = Origin::crm;
    bool leaving = false;    // meant to be deleted
    bool confirmed = false;  // and somebody has looked at it
    bool renew = false;      // and then to be made anew, so that it does not stay
    bool gone = false;       // deleted on the other side, never to come again
    bool absent = false;     // deleted there; comes again once the CRM has changed a field
    bool removed = false;    // and the record is to be removed from the CRM
    bool unlinked = false;   // left to its user, and ours again when the CRM wants it there
    bool stamped = true;     // false: our stamp has yet to be written, or may be gone; of one that
                             // is unlinked true: it may be there
    bool doubtful = false;   // the server was asked to delete it, and may have done so
};

// What the CRM says about a record and a mailbox.
struct Wish {
    bool exists = false;                     // the record is in the source
    bool in_audience = false;                // it belongs into this mailbox
    const record::Values* values = nullptr;  // when it exists
};

enum class Verdict {
    nothing,
    create,  // not where nothing is written
    update,  // also when there is only the stamp to write, which shows whether the item is there
    stay,    // was to be deleted and is wanted again, with the same values
    leave,   // to be deleted, once the guard lets it
    unlink,  // the item stays, our stamp goes
    forget   // nothing is there any more, nor shall be
};

struct Decision {
    Verdict verdict = Verdict::nothing;
    record::Fields fields;                   // update: what to write. A create writes all there is
    record::Values before;                   // update: the shadow's values of these fields
    std::optional<record::Values> agreed{};  // update: the shadow afterwards, if not the wish's
    bool strays = false;  // what only comes in is not as the item has it: it has to be read
};

// What a record's item must not hold: the fields that go out and have no value. They concern an
// item of ours of which it is not known what it holds. What a user made, and was adopted, keeps
// what the CRM has no value for.
record::Fields absent_fields(const Rules& rules, const record::Values& values);

// Whether our stamp has to be written where the CRM wants the item.
bool needs_stamp(const KnownItem& item);

Decision decide(const Rules& rules, const Wish& wish, const KnownItem* item);

}  // namespace crmsync::sync
