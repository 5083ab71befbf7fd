#include "sync_exchange.h"

#include <algorithm>
#include <set>

#include "record/content.h"
#include "sync/stamp.h"

namespace crmsync::test {

using exchange::Answer;
using exchange::Disposition;
using exchange::Failure;
using exchange::ItemAnswer;

Failure item_failure(Disposition disposition, const char* code, bool may_have_happened) {
    return {.disposition = disposition,
            .code = code,
            .message = "the server's words",
            .may_have_happened = may_have_happened};
}

StoredMailbox& FakeExchange::mailbox(const std::string& address) {
    StoredMailbox& mailbox = mailboxes_[address];
    if (mailbox.folders.empty()) {
        mailbox.folders[""].id = new_id("folder");
    }
    return mailbox;
}

StoredFolder* FakeExchange::folder_by_id(const std::string& address, const std::string& id) {
    for (auto& [name, folder] : mailbox(address).folders) {
        if (folder.id == id) {
            return &folder;
        }
    }
    for (StoredFolder& folder : mailbox(address).deleted) {
        if (folder.id == id) {
            return &folder;
        }
    }
    return nullptr;
}

StoredItem* FakeExchange::item_by_id(const std::string& address, const std::string& id) {
    for (auto& [name, folder] : mailbox(address).folders) {
        for (StoredItem& item : folder.items) {
            if (item.id == id) {
                return &item;
            }
        }
    }
    for (StoredFolder& folder : mailbox(address).deleted) {
        for (StoredItem& item : folder.items) {
            if (item.id == id) {
                return &item;
            }
        }
    }
    return nullptr;
}

void FakeExchange::move(StoredFolder& folder, std::size_t place) {
    StoredItem item = folder.items.at(place);
    item.id = new_id("item");
    folder.items.erase(folder.items.begin() + static_cast<std::ptrdiff_t>(place));
    folder.items.push_back(std::move(item));
}

void FakeExchange::remove_folder(const std::string& address, const std::string& name) {
    mailbox(address).folders.erase(name);
}

void FakeExchange::bin_folder(const std::string& address, const std::string& name) {
    StoredMailbox& user = mailbox(address);
    user.deleted.push_back(std::move(user.folders.extract(name).mapped()));
}

std::vector<std::string> FakeExchange::duplicates() const {
    std::vector<std::string> twice;
    for (const auto& [address, mailbox] : mailboxes_) {
        for (const auto& [name, folder] : mailbox.folders) {
            std::set<std::string> seen;
            for (const StoredItem& item : folder.items) {
                if (!item.stamp.empty() && !seen.insert(item.stamp).second) {
                    twice.push_back(address + ": " + item.stamp);
                }
            }
        }
    }
    return twice;
}

std::size_t FakeExchange::count(const std::string& address) {
    std::size_t count = 0;
    for (const auto& [name, folder] : mailbox(address).folders) {
        count += folder.items.size();
    }
    return count;
}

Answer failed(Failure failure) {
    Answer answer;
    answer.failure = std::move(failure);
    return answer;
}

namespace {

Failure not_found() {
    return item_failure(Disposition::item_gone, "ErrorItemNotFound");
}

struct Executor {
    FakeExchange& server;
    const std::string& address;

    Answer operator()(const exchange::FindFolder& find) {
        Answer answer;
        const auto folder = server.mailbox(address).folders.find(find.name);
        if (folder != server.mailbox(address).folders.end()) {
            answer.folder_id = folder->second.id;
        }
        return answer;
    }
    Answer operator()(const exchange::LocateFolder& locate) {
        if (server.folder_by_id(address, locate.folder_id) == nullptr) {
            return failed(item_failure(Disposition::folder_gone, "ErrorFolderNotFound"));
        }
        const StoredMailbox& user = server.mailbox(address);
        Answer answer;
        answer.moved = user.moved.contains(locate.folder_id);
        answer.deleted = !answer.moved && is_deleted(locate.folder_id);
        return answer;
    }
    Answer operator()(const exchange::SearchDeleted& search) {
        Answer answer;
        answer.deleted = is_deleted(search.folder_id);
        return answer;
    }
    Answer operator()(const exchange::CreateFolder& create) {
        auto& folders = server.mailbox(address).folders;
        if (folders.contains(create.name)) {
            return failed(item_failure(Disposition::folder_gone, "ErrorFolderExists"));
        }
        Answer answer;
        answer.folder_id = folders[create.name].id = server.new_id("folder");
        return answer;
    }
    Answer operator()(const exchange::DeleteFolder&) { return {}; }
    Answer operator()(const exchange::ListStamps& list) {
        const StoredFolder* folder = server.folder_by_id(address, list.folder_id);
        if (folder == nullptr) {
            return failed(item_failure(Disposition::folder_gone, "ErrorFolderNotFound"));
        }
        Answer answer;
        int place = 0;
        for (const StoredItem& item : folder->items) {
            if (item.stamp.empty()) {
                continue;
            }
            if (place >= list.offset && place < list.offset + server.page_size) {
                answer.items.push_back(
                    {{item.id, item.change_key()}, {}, item.stamp.substr(0, 255), {}, {}});
                answer.items.back().attempt = item.attempt;
            }
            ++place;
        }
        answer.next_offset = list.offset + static_cast<int>(answer.items.size());
        answer.complete = answer.next_offset >= place;
        return answer;
    }
    Answer operator()(const exchange::ListChanges& list) {
        const StoredFolder* folder = server.folder_by_id(address, list.folder_id);
        if (folder == nullptr) {
            return failed(item_failure(Disposition::folder_gone, "ErrorSyncFolderNotFound"));
        }
        if (!list.state.empty() && !server.states.contains(list.folder_id + list.state)) {
            return failed(item_failure(Disposition::resync, "ErrorInvalidSyncStateData"));
        }
        auto known = list.state.empty() ? FakeExchange::Snapshot{}
                                        : server.states.at(list.folder_id + list.state);
        Answer answer;
        const auto full = [&] {
            answer.complete = answer.changes.size() < static_cast<std::size_t>(server.page_size);
            return !answer.complete;
        };
        std::set<std::string> there;
        for (const StoredItem& item : folder->items) {
            there.insert(item.id);
            const auto before = known.find(item.id);
            if ((before == known.end() || before->second != item.change_key()) && !full()) {
                answer.changes.push_back({{item.id, item.change_key()}, false});
                known[item.id] = item.change_key();
            }
        }
        for (auto before = known.begin(); before != known.end();) {
            if (!there.contains(before->first) && !full()) {
                answer.changes.push_back({{before->first, {}}, true});
                before = known.erase(before);
            } else {
                ++before;
            }
        }
        answer.state = server.new_id("state");
        server.states[list.folder_id + answer.state] = std::move(known);
        return answer;
    }
    Answer operator()(const exchange::FindStamps& find) {
        const StoredFolder* folder = server.folder_by_id(address, find.folder_id);
        if (folder == nullptr) {
            return failed(item_failure(Disposition::folder_gone, "ErrorFolderNotFound"));
        }
        Answer answer;
        for (const StoredItem& item : folder->items) {
            if (std::count(find.stamps.begin(), find.stamps.end(), item.stamp) > 0) {
                answer.items.push_back({{item.id, item.change_key()}, {}, item.stamp, {}, {}});
                answer.items.back().attempt = item.attempt;
            }
        }
        return answer;
    }
    Answer operator()(const exchange::CreateItems& create) {
        StoredFolder* folder = server.folder_by_id(address, create.folder_id);
        Answer answer;
        for (const exchange::NewItem& wanted : create.items) {
            ItemAnswer& item = answer.items.emplace_back();
            if (folder == nullptr) {
                item.failure = item_failure(Disposition::folder_gone, "ErrorFolderNotFound");
                continue;
            }
            StoredItem& stored = folder->items.emplace_back();
            stored.id = server.new_id("item");
            stored.stamp = wanted.stamp;
            stored.attempt = 1;
            write(stored, wanted.fields);
            item.item = {stored.id, stored.change_key()};
        }
        return answer;
    }
    Answer operator()(const exchange::UpdateItems& update) {
        Answer answer;
        for (const exchange::ItemChange& change : update.items) {
            ItemAnswer& item = answer.items.emplace_back();
            StoredItem* stored = server.item_by_id(address, change.item.id);
            if (stored == nullptr) {
                item.failure = not_found();
            } else if (stored->change_key() != change.item.change_key) {
                item.failure = item_failure(Disposition::reread, "ErrorIrresolvableConflict");
            } else {
                write(*stored, change.fields);
                if (!change.stamp.empty()) {
                    stored->stamp = change.stamp;
                }
                ++stored->version;
                item.item = {stored->id, stored->change_key()};
            }
        }
        return answer;
    }
    Answer operator()(const exchange::DeleteItems& remove) {
        Answer answer;
        for (const exchange::ItemReference& reference : remove.items) {
            ItemAnswer& item = answer.items.emplace_back();
            item.failure = not_found();
            for (auto& [name, folder] : server.mailbox(address).folders) {
                if (std::erase_if(folder.items,
                                  [&](const auto& one) { return one.id == reference.id; }) > 0) {
                    item.failure.reset();
                }
            }
        }
        return answer;
    }
    Answer operator()(const exchange::GetItems& get) {
        Answer answer;
        for (const std::string& id : get.ids) {
            ItemAnswer& item = answer.items.emplace_back();
            const StoredFolder* deleted = server.folder_by_id(address, get.deleted_folder);
            const StoredItem* stored = server.item_by_id(address, id);
            if (stored != nullptr && deleted != nullptr &&
                std::any_of(deleted->items.begin(), deleted->items.end(),
                            [&](const StoredItem& one) { return one.id == id; })) {
                item.failure = not_found();
            } else if (stored != nullptr) {
                item.item = {stored->id, stored->change_key()};
                item.stamp = stored->stamp;
                item.attempt = stored->attempt;
                item.created = stored->created;
                item.modified = stored->modified;
                for (const record::Property* property : get.layout) {
                    const auto value = stored->values.find(std::string(property->name));
                    item.values.push_back(value == stored->values.end()
                                              ? record::Value()
                                              : record::Value(value->second));
                    if (stored->unreadable.contains(std::string(property->name))) {
                        item.unread.push_back(item.values.size() - 1);
                    }
                    if (record::travels_apart(*property) && !stored->photos.empty()) {
                        const std::size_t size = stored->photos.front().content.size();
                        item.values.back() = record::write_description(
                            {.kind = record::unknown_kind, .size = size, .digest = {}});
                        for (const StoredPhoto& photo : stored->photos) {
                            item.photos.push_back({photo.id, photo.content.size()});
                        }
                    }
                }
            } else {
                item.failure = not_found();
            }
        }
        return answer;
    }
    Answer operator()(const exchange::RemoveStamps& remove) {
        Answer answer;
        for (const exchange::ItemReference& reference : remove.items) {
            ItemAnswer& item = answer.items.emplace_back();
            if (StoredItem* stored = server.item_by_id(address, reference.id)) {
                stored->stamp.clear();
                ++stored->version;
                item.item = {stored->id, stored->change_key()};
            } else {
                item.failure = not_found();
            }
        }
        return answer;
    }

    // The item that has this attachment, and which of its photos that is.
    std::pair<StoredItem*, std::size_t> photo_by_id(const std::string& id) {
        for (auto& [name, folder] : server.mailbox(address).folders) {
            for (StoredItem& item : folder.items) {
                for (std::size_t i = 0; i < item.photos.size(); ++i) {
                    if (item.photos[i].id == id) {
                        return {&item, i};
                    }
                }
            }
        }
        return {nullptr, 0};
    }
    Answer operator()(const exchange::GetAttachments& get) {
        Answer answer;
        for (const exchange::Attachment& attachment : get.attachments) {
            ItemAnswer& item = answer.items.emplace_back();
            const auto [stored, place] = photo_by_id(attachment.id);
            if (stored == nullptr) {
                item.failure = not_found();
                continue;
            }
            const std::string& content = stored->photos[place].content;
            item.values = {record::describe(content)};
            item.content = std::make_shared<const std::string>(content);
        }
        return answer;
    }
    Answer operator()(const exchange::CreateAttachment& create) {
        Answer answer;
        ItemAnswer& item = answer.items.emplace_back();
        if (StoredItem* stored = server.item_by_id(address, create.item.id)) {
            stored->photos.push_back({server.new_id("photo"), *create.content});
            ++stored->version;
            item.item = {stored->id, stored->change_key()};
        } else {
            item.failure = not_found();
        }
        return answer;
    }
    Answer operator()(const exchange::DeleteAttachment& remove) {
        Answer answer;
        ItemAnswer& item = answer.items.emplace_back();
        const auto [stored, place] = photo_by_id(remove.attachment.id);
        if (stored == nullptr) {
            item.failure = not_found();
            return answer;
        }
        stored->photos.erase(stored->photos.begin() + static_cast<std::ptrdiff_t>(place));
        ++stored->version;
        item.item = {stored->id, stored->change_key()};
        return answer;
    }

    bool is_deleted(const std::string& folder_id) const {
        const auto& deleted = server.mailbox(address).deleted;
        return std::any_of(deleted.begin(), deleted.end(),
                           [&](const StoredFolder& folder) { return folder.id == folder_id; });
    }

    static void write(StoredItem& stored, const record::Fields& fields) {
        for (const record::Field& field : fields) {
            if (record::travels_apart(*field.property)) {
                continue;
            }
            stored.unreadable.erase(std::string(field.property->name));
            if (field.value) {
                stored.values[std::string(field.property->name)] = *field.value;
            } else {
                stored.values.erase(std::string(field.property->name));
            }
        }
    }
};

}  // namespace

Answer FakeExchange::execute(const exchange::Account& account,
                             const exchange::Operation& operation) {
    return std::visit(Executor{*this, account.mailbox}, operation);
}

const record::Property* contact_property(const char* name) {
    return record::find_property(name, record::Object::contact);
}

const record::Property* company() {
    return contact_property("company");
}

const record::Property* given_name() {
    return contact_property("given_name");
}

std::shared_ptr<const sync::Desired> desired(const std::string& prefix, const std::string& key,
                                             const std::string& value) {
    auto wanted = std::make_shared<sync::Desired>();
    wanted->key = key;
    wanted->stamp = prefix + sync::make_stamp("", "", key).substr(2);
    wanted->values = {value, std::nullopt};
    wanted->all = record::Fields{{company(), value}};
    static const auto rules = std::make_shared<const sync::Rules>(sync::Rules{
        record::Object::contact, {}, true, {company(), given_name()}, record::Policies(2)});
    wanted->rules = rules;
    return wanted;
}

sync::Task create_task(const std::string& prefix, const std::string& key, const std::string& value,
                       bool fresh) {
    sync::Task task{};
    task.action = sync::Action::create;
    task.record = key;
    task.desired = desired(prefix, key, value);
    task.fields = task.desired->all;
    task.fresh = fresh;
    return task;
}

sync::Task update_task(const std::string& prefix, const std::string& key,
                       exchange::ItemReference item, const std::string& value) {
    sync::Task task = create_task(prefix, key, value);
    task.action = sync::Action::update;
    task.item = std::move(item);
    task.before = {"Before"};
    return task;
}

sync::Task item_task(sync::Action action, const std::string& key, exchange::ItemReference item) {
    sync::Task task{};
    task.action = action;
    task.record = key;
    task.item = std::move(item);
    return task;
}

sync::MailboxDescription mailbox_description(int id, const std::string& target,
                                             const std::string& address) {
    return {.id = id,
            .link = 1,
            .target = target,
            .account = {.mailbox = address},
            .object = record::Object::contact,
            .folder_name = {},
            .folder_id = {},
            .stamp_prefix = prefix,
            .policy = {}};
}

}  // namespace crmsync::test
