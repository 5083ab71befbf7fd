// What a target can be asked to do, as values: an Operation in, an Answer out. A protocol renders
// the one into an HTTP request and reads the other from the response; it never does I/O itself.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "exchange/failure.h"
#include "record/content.h"
#include "record/record.h"

namespace crmsync::exchange {

// In whose name and where a request is made.
struct Account {
    std::string mailbox;        // SMTP address
    bool impersonation = true;  // false: delegate access to the folder of the mailbox
    std::string server_version = "Exchange2013_SP1";
};

struct ItemReference {
    std::string id;
    std::string change_key;
};

// The folder that items go to: the default folder of the object, or the folder with this name below
// it.
struct FindFolder {
    record::Object object;
    std::string name;  // empty: the default folder
};

struct CreateFolder {
    record::Object object;
    std::string name;
};

// Whether a folder that FindFolder would look for by its name is in its place, or among what its
// user has deleted: it keeps its id there.
struct LocateFolder {
    record::Object object;
    std::string folder_id;
};

// Whether a folder is in one that its user has deleted, at any depth.
struct SearchDeleted {
    std::string folder_id;
};

struct DeleteFolder {
    std::string folder_id;
};

// One page of all items of a folder that bear a stamp.
struct ListStamps {
    std::string folder_id;
    int offset = 0;
};

// One page of what changed in a folder since a state, which is the server's and opaque. Without a
// state: of all that is there.
struct ListChanges {
    record::Object object;
    std::string folder_id;
    std::string state;
};

// The items with one of these stamps.
struct FindStamps {
    std::string folder_id;
    std::vector<std::string> stamps;
};

struct NewItem {
    std::string stamp;
    record::SharedFields fields;
};

struct CreateItems {
    record::Object object;
    std::string folder_id;
    std::vector<NewItem> items;
    // Goes with the items, so that they say which request made them, also when the server carries
    // one out that has been made again already: when it was sent, in microseconds, as an odd number
    // if it may be the second one. 0: they do not say.
    std::int64_t attempt = 0;
};

struct ItemChange {
    ItemReference item;
    record::Fields fields;
    std::string stamp{};  // written, too, unless it is empty
};

struct UpdateItems {
    record::Object object;
    std::vector<ItemChange> items;
};

struct DeleteItems {
    std::vector<ItemReference> items;
    bool hard = false;  // false: into Deleted Items, where the user can take them back
};

struct GetItems {
    record::Object object;
    std::vector<std::string> ids;
    record::Layout layout;         // the properties to read
    std::string key_property{};    // and the user-defined field with a key; empty: none
    std::string deleted_folder{};  // an item in this folder is not there any more; empty: none
};

// A file that is attached to an item: what properties that travel apart are.
struct Attachment {
    std::string id;
    std::size_t size = 0;  // as the server says, which counts a little more than the content
};

// The contents of files.
struct GetAttachments {
    std::vector<Attachment> attachments;
};

// As the item's photo. The item's change key is another one afterwards.
struct CreateAttachment {
    ItemReference item;
    std::string content_type;
    record::Content content;
};

// The change key of its item is another one afterwards.
struct DeleteAttachment {
    Attachment attachment;
};

// Removes our stamp, and which attempt it was, so that the item is the user's own from now on.
struct RemoveStamps {
    std::vector<ItemReference> items;
};

using Operation =
    std::variant<FindFolder, LocateFolder, SearchDeleted, CreateFolder, DeleteFolder, ListStamps,
                 ListChanges, FindStamps, CreateItems, UpdateItems, DeleteItems, GetItems,
                 RemoveStamps, GetAttachments, CreateAttachment, DeleteAttachment>;

// Whether the operation changes nothing at the target, so that it does no harm twice.
inline bool only_reads(const Operation& operation) {
    return std::holds_alternative<FindFolder>(operation) ||
           std::holds_alternative<LocateFolder>(operation) ||
           std::holds_alternative<SearchDeleted>(operation) ||
           std::holds_alternative<ListStamps>(operation) ||
           std::holds_alternative<ListChanges>(operation) ||
           std::holds_alternative<FindStamps>(operation) ||
           std::holds_alternative<GetItems>(operation) ||
           std::holds_alternative<GetAttachments>(operation);
}

// What came of one item of an operation, in the order in which the operation named them.
struct ItemAnswer {
    ItemReference item;
    std::optional<Failure> failure;
    std::string stamp;                  // ListStamps (cut at 255 characters), FindStamps, GetItems
    std::vector<record::Value> values;  // GetItems: parallel to its layout. GetAttachments: one,
                                        // the description
    // GetItems: when it was made, and last changed, by our own clock.
    std::optional<std::chrono::sys_seconds> created{};
    std::optional<std::chrono::sys_seconds> modified{};
    std::vector<std::string> categories{};  // GetItems
    bool is_private = false;                // GetItems: its user shows it to nobody
    bool is_other_kind = false;             // GetItems: a distribution list among contacts, say
    std::int64_t attempt = 0;               // ListStamps, GetItems: see CreateItems
    std::string key{};                      // GetItems: what its key_property holds; empty: nothing
    std::vector<Attachment> photos{};  // GetItems: where the layout has the photo; the first counts
    record::Content content{};         // GetAttachments
    // GetItems: places in its layout where there is something that means nothing to us. The values
    // there are absent, which does not say that the item has none.
    std::vector<std::size_t> unread{};
};

// What we make says which request made it. So a stamp alone was written on an item that its user
// had made, and that was his when it was adopted, whoever knew of that then.
inline bool was_adopted(const ItemAnswer& stamped) {
    return stamped.attempt == 0;
}

// How long after it was made an item was last changed; nullopt: the server does not say.
inline std::optional<std::chrono::seconds> changed_after(const ItemAnswer& item) {
    return item.created && item.modified ? std::optional(*item.modified - *item.created)
                                         : std::nullopt;
}

// A server may touch what it has just made.
constexpr std::chrono::seconds server_at_work{2};

// Whether an item that was read is a user's copy of what the request that it names had made, stamp
// and all, of which he has made something else since. most_delay: a create that was carried out
// longer after it was sent cannot be told from one.
inline bool is_altered_copy(const ItemAnswer& stamped, std::chrono::microseconds most_delay) {
    return stamped.attempt != 0 &&
           changed_after(stamped).value_or(server_at_work) > server_at_work &&
           stamped.created->time_since_epoch() >
               std::chrono::microseconds(stamped.attempt) + most_delay + server_at_work;
}

// One item that was created or changed in a folder, or is there no longer. The same item may be
// named by several pages, and once by each.
struct FolderChange {
    ItemReference item;  // of one that is gone: the id alone
    bool gone = false;
};

struct Answer {
    std::optional<Failure> failure;  // the request as a whole failed; items is empty
    std::string folder_id;           // FindFolder (empty: there is none yet), CreateFolder
    bool deleted = false;            // LocateFolder, SearchDeleted: its user has deleted it
    bool moved = false;              // LocateFolder: in neither place, as far as may be seen; it
                                     // can be looked for among what is deleted
    std::vector<ItemAnswer> items;
    bool complete = true;                 // ListStamps, ListChanges: no further page
    int next_offset = 0;                  // ListStamps: where the next page starts
    std::vector<FolderChange> changes{};  // ListChanges
    std::string state{};                  // ListChanges: what to ask with next
};

}  // namespace crmsync::exchange
