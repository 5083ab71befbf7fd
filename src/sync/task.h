// What passes between the engine and whoever owns the data: tasks in, outcomes and changes of
// health out. All plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "exchange/operation.h"
#include "sync/policy.h"

namespace crmsync::sync {

using Clock = std::chrono::steady_clock;

// A record as the CRM wants it to be, shared by the tasks for all of its mailboxes.
struct Desired {
    std::string key;
    std::string stamp;
    std::vector<record::Value> values;     // in the order of the link's layout
    record::SharedFields all;              // the fields of a new item
    std::shared_ptr<const Rules> rules{};  // that it was decided by; the link's may change
};

// What a task of crmsync.undo does: old values go back into an item, one that was deleted is made
// again, and then loses our stamp. What is met on the way changes the action, not the step.
enum class UndoStep { none, item, create, unlink };

// fetch: nothing is written; what the item holds comes back.
enum class Action { create, update, remove, unlink, fetch };

// How far a task is with the photo, which is written after the rest of its item.
struct PhotoProgress {
    bool looked = false;        // `there` is what the item has
    bool settled = false;       // nothing is left to do
    bool rest_written = false;  // all but the photo
    bool removed = false;       // what was there before
    record::Value held{};       // described
    std::vector<exchange::Attachment> there{};
    record::Content content{};  // to be attached, once it was asked for
};

struct Task {
    Action action;
    std::string record;
    std::shared_ptr<const Desired> desired;  // create, update
    exchange::ItemReference item;            // all but create
    record::Fields fields;                   // update: what to write
    record::Values before;  // update: what the fields held; empty: not known, it is read first
    std::optional<record::Values> agreed{};  // the shadow once it is written, if not all is
                                             // as desired
    std::optional<record::Values> shadow{};  // create: of an item that is away, and may come back
    std::vector<record::FieldConflict> conflicts{};
    std::shared_ptr<const Rules> rules{};  // what is read, if not by desired->rules
    int notice = 0;                        // fetch: the version of what asked for it; 0: none did
    bool stamp = false;                    // update: write the stamp, too
    UndoStep undo = UndoStep::none;        // other than none: as its user would, the shadow stays
    bool fresh = false;                    // changed just now: before any backlog
    bool was_there = false;                // a create that became an update of what it met
    bool was_left = false;                 // its item was left to its user
    bool adopted = false;                  // its item is one that a user made
    bool sought = false;     // its item is gone, and not made again unless it has only moved
    std::string known_as{};  // remove, unlink: it has, and this is the id that it was known by
    bool doubtful = false;   // if its item is gone it was us who deleted it
    bool unknown = false;    // remove: of what its item holds nothing is known, it is read first
    bool copy = false;       // unlink: so it turned out to be a user's copy
    bool differs = false;    // update: its item holds, and keeps, something else than was agreed on
    bool surplus = false;    // remove, unlink: of a copy, which is not to be taken for its original
    int attempts = 0;        // that failed because of this item
    // Denied once, and nobody knew whether that meant its item or the mailbox: after how many
    // requests that had written something.
    std::optional<std::uint64_t> denied{};
    PhotoProgress photo{};
    std::shared_ptr<exchange::ItemAnswer> read{};  // whose photo is being read
};

// What is read of its item: what was asked for, or has to be known to decide anew what to write.
inline const record::Layout& layout_of(const Task& task) {
    static const record::Layout none;
    return task.desired != nullptr        ? task.desired->rules->layout
           : task.action == Action::fetch ? task.rules->layout
                                          : none;
}

// Whether what an update writes was decided by what the item held before.
inline bool knows_before(const Task& task) {
    return task.before.size() == task.fields.size();
}

// Whether it fills what was agreed to be empty. It may not be: what its user had there before the
// property was mapped nobody has seen.
inline bool fills_gap(const Task& task) {
    if (task.undo != UndoStep::none || !knows_before(task)) {
        return false;
    }
    const record::Layout& layout = layout_of(task);
    for (std::size_t i = 0; i < task.fields.size(); ++i) {
        const record::Property* property = task.fields[i].property;
        if (task.fields[i].value && !task.before[i] && !record::travels_apart(*property) &&
            record::place_of(layout, property)) {
            return true;
        }
    }
    return false;
}

enum class Result {
    written,    // created or updated; the shadow is what was agreed, or else desired
    removed,    // no longer there
    unlinked,   // our stamp is removed, the item is the user's own
    partly,     // all but the photo is written, and agreed says what is there; unasked, since what
                // came of the whole follows
    found,      // a stamped item that nobody asked for, seen while listing
    vanished,   // deleted on the other side, and not to be made again: the policy says never, only
                // its stamp was to be written, or the link makes nothing
    fetched,    // read: see Outcome::held
    overtaken,  // somebody changed the item meanwhile, and what he did has to come in first:
                // nothing was written, see Outcome::held
    failed,     // the server refuses this item
    postponed,  // the mailbox cannot be reached for now
    released    // the target cannot be reached: nothing was decided, look again later
};

// The item is as it was meant to be.
inline bool carried_out(Result result) {
    return result == Result::written || result == Result::removed || result == Result::unlinked ||
           result == Result::vanished;
}

// Comes beside the one outcome that every task has.
inline bool comes_unasked(Result result) {
    return result == Result::partly || result == Result::found;
}

struct Outcome {
    int mailbox;
    Result result;
    Action action;
    std::string record;
    std::shared_ptr<const Desired> desired;
    exchange::ItemReference item;  // without a change key: it is read before it is written again
    record::Fields fields{};       // what was written, and what was there before
    record::Values before{};
    exchange::Failure failure{};
    std::optional<record::Values> agreed{};
    std::vector<record::FieldConflict> conflicts{};
    std::shared_ptr<const Rules> rules{};  // fetched, overtaken: what `held` is parallel to
    int notice = 0;                        // as in the task
    exchange::ItemAnswer held{};           // fetched, overtaken: what the item holds
    UndoStep undo = UndoStep::none;
    bool adopted = false;    // written, found: a user made it
    bool copy = false;       // unlinked: of one of our items, no record has anything to do with it
    std::string known_as{};  // removed, unlinked: the id that the item was known by, if another
};

// A photo that is to be attached next.
struct WantedContent {
    int mailbox;
    std::string record;
    std::string description;
};

// A page of what changed in the folder of an inbound mailbox, as it was asked for.
struct FolderPage {
    int mailbox;
    bool listed = true;       // false: not for want of the mailbox, ask again
    bool from_start = false;  // of all that is there: what no page names, up to the complete one,
                              // is not in the folder
    bool complete = true;     // no further page
    std::string state{};      // what to ask for the next page with; empty: from the start, since
                              // the server refuses the state that it was asked with
    std::vector<exchange::FolderChange> changes{};
};

// A page of all items in a folder that bear the link's stamp, as it was asked for.
struct StampPage {
    int mailbox;
    bool listed = true;       // false: given up for now, ask again
    bool from_start = false;  // the first one, perhaps once more
    bool complete = false;    // no further page
    struct Sighting {
        std::string record;  // whose copy it is
        exchange::ItemReference item;
        std::int64_t attempt = 0;  // which request of ours made it; 0: unknown
    };
    std::vector<Sighting> sightings{};
};

// Something is about to be created in a folder whose stamps were listed just now; or the answer to
// a create or a delete is lost, which may be carried out yet.
struct Doubt {
    int mailbox;
    bool answer_lost;
};

// A mailbox of one link, as the engine has to know it.
struct MailboxDescription {
    int id;
    int link;
    std::string target;
    exchange::Account account;
    record::Object object;
    std::string folder_name;
    std::string folder_id;         // empty: not known yet
    std::string deleted_folder{};  // that its user has deleted; empty: none
    std::string stamp_prefix;      // of the link, to recognise its items
    std::string key_property{};    // user-defined field in which items bear the key; empty: none
    Policy policy;
    bool hard_delete = false;
    std::chrono::microseconds most_create_delay{};  // see exchange::is_altered_copy
    bool inbound = false;   // what its user changes is brought in, rather than merged in passing
    bool troubled = false;  // its last request failed: say so when it is well again
};

// The folder was found, or the mailbox's health changed.
struct MailboxChange {
    int mailbox;
    std::string folder_id;         // empty: forget it
    std::string deleted_folder{};  // forget it because its user has deleted it
    std::optional<exchange::Failure> failure;
    int attempts = 0;                          // failures in a row
    std::chrono::milliseconds retry_after{0};  // with a failure
    bool disabled = false;                     // and somebody may have to mend it
};

struct TargetChange {
    std::string target;
    std::optional<exchange::Failure> failure;
    int attempts = 0;
    std::optional<std::chrono::milliseconds> retry_after;  // with a failure: nullopt = stopped
    // Without a failure: whether it failed before, or only answers well as ever; and whether it has
    // accepted the credentials that it has now.
    bool recovered = false;
    bool accepted = false;
};

}  // namespace crmsync::sync
