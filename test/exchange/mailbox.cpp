#include "mailbox.hpp"

#include "errors.hpp"

#include <vector>

namespace stand_in {

Mailbox::Mailbox(std::string its_address) : guid(random_guid()), address(std::move(its_address)) {
    struct Standard {
        const char *name, *folder_class, *distinguished;
    };
    static constexpr Standard standard[] = {
        {"Calendar", "IPF.Appointment", "calendar"},
        {"Contacts", "IPF.Contact", "contacts"},
        {"Deleted Items", "IPF.Note", "deleteditems"},
        {"Drafts", "IPF.Note", "drafts"},
        {"Inbox", "IPF.Note", "inbox"},
        {"Journal", "IPF.Journal", "journal"},
        {"Junk Email", "IPF.Note", "junkemail"},
        {"Notes", "IPF.StickyNote", "notes"},
        {"Outbox", "IPF.Note", "outbox"},
        {"Sent Items", "IPF.Note", "sentitems"},
        {"Tasks", "IPF.Task", "tasks"},
    };
    std::uint32_t root = create_folder(0, "Root", "", "root").number;
    std::uint32_t top =
        create_folder(root, "Top of Information Store", "IPF.Note", "msgfolderroot").number;
    for (const Standard& s : standard)
        create_folder(top, s.name, s.folder_class, s.distinguished);
    std::uint32_t recoverable =
        create_folder(root, "Recoverable Items", "IPF.Note", "recoverableitemsroot").number;
    create_folder(recoverable, "Deletions", "IPF.Note", "recoverableitemsdeletions");
}

Folder* Mailbox::folder(std::uint32_t number) {
    auto found = folders.find(number);
    return found == folders.end() ? nullptr : &found->second;
}

Folder* Mailbox::distinguished(std::string_view name) {
    for (auto& [number, folder] : folders)
        if (folder.distinguished == name)
            return &folder;
    return nullptr;
}

Folder* Mailbox::child_folder(std::uint32_t parent, std::string_view name) {
    for (auto& [number, folder] : folders)
        if (folder.parent == parent && folder.name == name)
            return &folder;
    return nullptr;
}

Folder& Mailbox::create_folder(std::uint32_t parent, std::string name, std::string folder_class,
                               std::string distinguished_name) {
    Folder created;
    created.number = ++last_folder_;
    created.parent = parent;
    created.name = std::move(name);
    created.folder_class = std::move(folder_class);
    created.distinguished = std::move(distinguished_name);
    created.change = created.arrival = next_change();
    return folders.emplace(created.number, std::move(created)).first->second;
}

void Mailbox::remove_folder(std::uint32_t number) {
    std::vector<std::uint32_t> below;
    for (const auto& [other, folder] : folders)
        if (folder.parent == number)
            below.push_back(other);
    for (std::uint32_t other : below)
        remove_folder(other);
    for (const auto& [id, item] : folders.at(number).items)
        used -= item.bytes();
    folders.erase(number);
    removed_folders.emplace(next_change(), number);
}

Item* Mailbox::item(const ItemKey& key) {
    Folder* in = folder(key.folder);
    if (!in)
        return nullptr;
    auto found = in->items.find(key.number);
    return found == in->items.end() ? nullptr : &found->second;
}

void Mailbox::check_quota(std::uint64_t added) const {
    if (used + added > quota)
        throw ItemError{"ErrorQuotaExceeded", "The message store has reached its quota limit."};
}

Item& Mailbox::add(Folder& folder, Item item) {
    check_quota(item.bytes());
    item.values.shrink();
    item.number = ++last_number_;
    item.change = next_change();
    item.created = item.modified = now();
    used += item.bytes();
    folder.changes.emplace(item.change, item.number);
    return folder.items.emplace(item.number, std::move(item)).first->second;
}

void Mailbox::replace(Folder& folder, Item& item, PropertyBag values) {
    if (values.bytes() > item.values.bytes())
        check_quota(values.bytes() - item.values.bytes());
    used -= item.bytes();
    item.values = std::move(values);
    used += item.bytes();
    touch(folder, item);
}

void Mailbox::touch(Folder& folder, Item& item) {
    folder.changes.erase(item.change);
    item.change = next_change();
    item.modified = now();
    folder.changes.emplace(item.change, item.number);
}

std::uint64_t Mailbox::attach(Folder& folder, Item& item, Attachment attachment) {
    if (item.bytes() + attachment.content.size() > item_limit)
        throw ItemError{"ErrorMessageSizeExceeded",
                        "The message exceeds the maximum supported size."};
    check_quota(attachment.content.size());
    attachment.number = next_attachment();
    attachment.modified = now();
    used += attachment.content.size();
    item.attachments.push_back(std::move(attachment));
    touch(folder, item);
    return last_attachment_;
}

void Mailbox::detach(Folder& folder, Item& item, std::uint64_t number) {
    used -= item.bytes();
    std::erase_if(item.attachments, [&](const Attachment& one) { return one.number == number; });
    used += item.bytes();
    touch(folder, item);
}

void Mailbox::remove(Folder& folder, std::uint64_t number) {
    auto found = folder.items.find(number);
    Item& item = found->second;
    used -= item.bytes();
    folder.changes.erase(item.change);
    folder.removals.emplace(next_change(), number);
    folder.items.erase(found);
}

Item& Mailbox::move(Folder& from, std::uint64_t number, Folder& to) {
    Item moved = std::move(from.items.at(number));
    from.changes.erase(moved.change);
    from.removals.emplace(next_change(), number);
    from.items.erase(number);
    moved.number = ++last_number_;
    moved.change = next_change();
    to.changes.emplace(moved.change, moved.number);
    return to.items.emplace(moved.number, std::move(moved)).first->second;
}

ItemKey Mailbox::key(const Folder& folder, const Item& item) const {
    return {guid, folder.number, item.number};
}

std::size_t Mailbox::count_items() const {
    std::size_t count = 0;
    for (const auto& [number, folder] : folders)
        count += folder.items.size();
    return count;
}

}  // namespace stand_in
