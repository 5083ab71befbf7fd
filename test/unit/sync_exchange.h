// An Exchange server in memory for the tests of sync/: executes operations as a server would, and
// can be told what a user does meanwhile. What gets lost on the way is the test's business.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "exchange/operation.h"
#include "sync/task.h"

namespace crmsync::test {

struct StoredPhoto {
    std::string id;
    std::string content;  // base64
};

struct StoredItem {
    std::string id;
    int version = 1;
    std::string stamp;
    std::map<std::string, std::string> values;  // by property
    std::vector<StoredPhoto> photos{};
    std::set<std::string> unreadable{};  // properties with a value that means nothing to us
    std::int64_t attempt = 0;            // which request made it; 0: its user did
    std::optional<std::chrono::sys_seconds> created{};
    std::optional<std::chrono::sys_seconds> modified{};

    std::string change_key() const { return "v" + std::to_string(version); }
};

struct StoredFolder {
    std::string id;
    std::vector<StoredItem> items;
};

struct StoredMailbox {
    std::map<std::string, StoredFolder> folders;  // by name; "" is the default one
    std::vector<StoredFolder> deleted{};
    std::set<std::string> moved{};  // ids of folders that are, or were, in another one
};

class FakeExchange {
  public:
    int page_size = 3;

    exchange::Answer execute(const exchange::Account& account,
                             const exchange::Operation& operation);

    StoredMailbox& mailbox(const std::string& address);
    StoredFolder* folder_by_id(const std::string& address, const std::string& id);
    StoredItem* item_by_id(const std::string& address, const std::string& id);

    // What a user does.
    void change(StoredItem& item) { ++item.version; }
    void move(StoredFolder& folder, std::size_t place);  // away and back: it has a new id then
    void remove_folder(const std::string& address, const std::string& name);
    void bin_folder(const std::string& address, const std::string& name);

    // Stamps that more than one item of a folder bears.
    std::vector<std::string> duplicates() const;

    std::size_t count(const std::string& address);

    // What the server knows of a folder at a sync state: the change keys by item.
    using Snapshot = std::map<std::string, std::string>;
    std::map<std::string, Snapshot> states;

    std::string new_id(const char* kind) { return kind + std::to_string(++last_id_); }

  private:
    std::map<std::string, StoredMailbox> mailboxes_;
    int last_id_ = 0;
};

exchange::Failure item_failure(exchange::Disposition disposition, const char* code,
                               bool may_have_happened = false);
exchange::Answer failed(exchange::Failure failure);

// Tasks and mailboxes with little to say.
const record::Property* contact_property(const char* name);
const record::Property* company();
const record::Property* given_name();
std::shared_ptr<const sync::Desired> desired(const std::string& prefix, const std::string& key,
                                             const std::string& value);
sync::Task create_task(const std::string& prefix, const std::string& key,
                       const std::string& value = "Acme", bool fresh = false);
sync::Task update_task(const std::string& prefix, const std::string& key,
                       exchange::ItemReference item, const std::string& value = "Acme");
sync::Task item_task(sync::Action action, const std::string& key, exchange::ItemReference item);
sync::MailboxDescription mailbox_description(int id, const std::string& target,
                                             const std::string& address);
constexpr const char* prefix = "instance/people/";

}  // namespace crmsync::test
