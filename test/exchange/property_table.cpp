#include "property_table.hpp"

#include "property_rows.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <mutex>
#include <shared_mutex>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

namespace stand_in {

namespace {

struct KeyAndTag {
    std::string_view key, tag;
};

// MAPI tags of the telephone numbers (MS-OXOCNTC).
constexpr std::array kPhones{
    KeyAndTag{"AssistantPhone", "tag:0x3a2e"},
    KeyAndTag{"BusinessFax", "tag:0x3a24"},
    KeyAndTag{"BusinessPhone", "tag:0x3a08"},
    KeyAndTag{"BusinessPhone2", "tag:0x3a1b"},
    KeyAndTag{"Callback", "tag:0x3a02"},
    KeyAndTag{"CarPhone", "tag:0x3a1e"},
    KeyAndTag{"CompanyMainPhone", "tag:0x3a57"},
    KeyAndTag{"HomeFax", "tag:0x3a25"},
    KeyAndTag{"HomePhone", "tag:0x3a09"},
    KeyAndTag{"HomePhone2", "tag:0x3a2f"},
    KeyAndTag{"Isdn", "tag:0x3a2d"},
    KeyAndTag{"MobilePhone", "tag:0x3a1c"},
    KeyAndTag{"OtherFax", "tag:0x3a23"},
    KeyAndTag{"OtherTelephone", "tag:0x3a1f"},
    KeyAndTag{"Pager", "tag:0x3a21"},
    KeyAndTag{"PrimaryPhone", "tag:0x3a1a"},
    KeyAndTag{"RadioPhone", "tag:0x3a1d"},
    KeyAndTag{"Telex", "tag:0x3a2c"},
    KeyAndTag{"TtyTddPhone", "tag:0x3a4b"},
    KeyAndTag{"BusinessMobile", ""},
    KeyAndTag{"IPPhone", ""},
    KeyAndTag{"Mms", ""},
    KeyAndTag{"Msn", ""},
};

// Parts of the postal addresses as MAPI properties, in the order of address_parts().
constexpr std::array<std::array<std::string_view, 5>, 3> kAddressTags{{
    {"0x8045", "0x8046", "0x8047", "0x8049", "0x8048"},
    {"tag:0x3a5d", "tag:0x3a59", "tag:0x3a5c", "tag:0x3a5a", "tag:0x3a5b"},
    {"tag:0x3a63", "tag:0x3a5f", "tag:0x3a62", "tag:0x3a60", "tag:0x3a61"},
}};

/// Finds strings by views of them.
struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
        return std::hash<std::string_view>()(text);
    }
};
using Names = std::unordered_map<std::string, SlotId, Hash, std::equal_to<>>;

/// All slots and classes. Those of the schema are built once, and nobody locks for them; extended
/// properties are appended when they are first met.
class Registry {
  public:
    Registry() {
        slots_.emplace_back();  // kNoSlot
        add_class("Message", "IPM.Note", "", "", "message:", {});
        add_class("Contact", "IPM.Contact", "IPF.Contact",
                  "ErrorCannotCreateContactInNonContactFolder", "contacts:", contact_rows());
        add_class("CalendarItem", "IPM.Appointment", "IPF.Appointment",
                  "ErrorCannotCreateCalendarItemInNonCalendarFolder", "calendar:", calendar_rows());
        add_class("Task", "IPM.Task", "IPF.Task", "ErrorCannotCreateTaskInNonTaskFolder",
                  "task:", task_rows());
        add_dictionaries();
        for (std::string_view name :
             {"FolderId", "ParentFolderId", "DisplayName", "UnreadCount", "TotalCount",
              "ChildFolderCount", "FolderClass", "SearchParameters", "ManagedFolderInformation",
              "PermissionSet", "EffectiveRights", "SharingEffectiveRights", "DistinguishedFolderId",
              "PolicyTag", "ArchiveTag", "ReplicaList"})
            uris_.insert("folder:" + std::string(name));
        uris_.insert({"contacts:Culture", "item:MimeContentUTF8", "item:FirstBody"});
    }

    SlotId find(std::string_view name) const {
        if (auto found = names_.find(name); found != names_.end())
            return found->second;
        std::shared_lock lock(mutex_);
        auto found = met_names_.find(name);
        return found == met_names_.end() ? kNoSlot : found->second;
    }

    SlotId extended(std::string_view key, std::string_view type) {
        if (SlotId known = find(key))
            return known;
        std::unique_lock lock(mutex_);
        const auto id = static_cast<SlotId>(slots_.size() + met_.size());
        if (id > 65000)
            throw std::length_error("too many different extended properties");
        auto [place, is_new] = met_names_.try_emplace(std::string(key), id);
        if (is_new)
            met_.push_back(
                {.uri = place->first, .index = {}, .kind = Kind::text, .type = std::string(type)});
        return place->second;
    }

    const Slot& at(SlotId id) const {
        if (id < slots_.size())
            return slots_[id];
        std::shared_lock lock(mutex_);
        return met_.at(id - slots_.size());
    }

    const std::vector<ItemClass>& classes() const { return classes_; }
    bool known_uri(const std::string& uri) const { return uris_.contains(uri); }

  private:
    SlotId add(Slot slot, const std::string& name) {
        auto id = static_cast<SlotId>(slots_.size());
        slots_.push_back(std::move(slot));
        names_.emplace(name, id);
        return id;
    }

    void alias(std::string_view mapi, SlotId id) {
        if (!mapi.empty())
            names_.emplace(std::string(mapi), id);
    }

    static bool has_own_slot(const Row& row) {
        switch (row.kind) {
            case Kind::emails:
            case Kind::phones:
            case Kind::ims:
            case Kind::addresses:
            case Kind::extended:
            case Kind::computed:
                return false;
            default:
                return true;
        }
    }

    void add_class(std::string_view element, std::string_view item_class,
                   std::string_view folder_class, std::string_view wrong_folder,
                   std::string_view prefix, std::vector<Row> own) {
        ItemClass added{element, item_class, folder_class, wrong_folder, {}};
        for (Row row : item_rows())
            add_row(added, "item:", std::move(row));
        for (Row& row : own)
            add_row(added, prefix, std::move(row));
        classes_.push_back(std::move(added));
    }

    void add_row(ItemClass& to, std::string_view prefix, Row row) {
        row.uri = std::string(prefix) + std::string(row.element);
        if (row.kind != Kind::extended)
            uris_.insert(row.uri);
        if (has_own_slot(row)) {
            if (auto found = names_.find(row.uri); found != names_.end()) {
                row.slot = found->second;
            } else {
                row.slot = add(
                    {row.uri, {}, row.kind, row.rights, row.limit, std::string(row.choices), {}},
                    row.uri);
                alias(row.mapi, row.slot);
                if (row.kind == Kind::body)
                    add({row.uri + "@BodyType", {}, Kind::text, kRead, 0, {}, {}},
                        row.uri + "@BodyType");
            }
        }
        to.rows.push_back(std::move(row));
    }

    SlotId add_member(std::string_view uri, std::string_view index, Kind kind,
                      std::size_t limit = 0) {
        Slot member{std::string(uri), std::string(index), kind, kAll, limit, {}, {}};
        return add(std::move(member), std::string(uri) + "/" + std::string(index));
    }

    void add_dictionaries() {
        for (const KeyAndTag& phone : kPhones)
            alias(phone.tag, add_member("contacts:PhoneNumber", phone.key, Kind::phones));
        const std::string set = std::string(kAddressSet) + "/";
        const std::array<std::string_view, 3> im_ids{"0x8062", "", ""};
        for (std::size_t i = 0; i < 3; ++i) {
            SlotId im = add_member("contacts:ImAddress", im_keys()[i], Kind::ims);
            if (!im_ids[i].empty())
                alias(set + std::string(im_ids[i]), im);
            add_email(i, set);
            for (std::size_t part = 0; part < 5; ++part) {
                std::string uri = "contacts:PhysicalAddress:" + std::string(address_parts()[part]);
                SlotId id = add_member(uri, address_keys()[i], Kind::addresses);
                std::string_view tag = kAddressTags[i][part];
                alias(tag.starts_with("tag:") ? std::string(tag) : set + std::string(tag), id);
            }
        }
    }

    /// The group of five named properties behind one e-mail address: 0x8080 + 16 * n.
    void add_email(std::size_t n, const std::string& set) {
        struct Part {
            std::string_view suffix, id;
        };
        static constexpr std::array<std::array<Part, 5>, 3> groups{{
            {{{"", "0x8083"},
              {"@Name", "0x8080"},
              {"@Type", "0x8082"},
              {"@Original", "0x8084"},
              {"@EntryId", "0x8085"}}},
            {{{"", "0x8093"},
              {"@Name", "0x8090"},
              {"@Type", "0x8092"},
              {"@Original", "0x8094"},
              {"@EntryId", "0x8095"}}},
            {{{"", "0x80a3"},
              {"@Name", "0x80a0"},
              {"@Type", "0x80a2"},
              {"@Original", "0x80a4"},
              {"@EntryId", "0x80a5"}}},
        }};
        constexpr std::size_t longest = 255;
        for (const Part& part : groups[n]) {
            std::string index = std::string(email_keys()[n]) + std::string(part.suffix);
            alias(set + std::string(part.id),
                  add_member("contacts:EmailAddress", index, Kind::emails, longest));
        }
    }

    std::vector<Slot> slots_;
    Names names_;
    mutable std::shared_mutex mutex_;  // of what is met
    std::deque<Slot> met_;
    Names met_names_;
    std::unordered_set<std::string> uris_;
    std::vector<ItemClass> classes_;
};

Registry& registry() {
    static Registry only;
    return only;
}

}  // namespace

int ItemClass::position(std::string_view element_name) const {
    // Found by name once per class and element; the tables are small and never change.
    using Positions = std::unordered_map<std::string_view, int>;
    static const std::unordered_map<const ItemClass*, Positions> all = [] {
        std::unordered_map<const ItemClass*, Positions> made;
        for (const ItemClass& c : item_classes())
            for (std::size_t i = 0; i < c.rows.size(); ++i)
                made[&c].emplace(c.rows[i].element, static_cast<int>(i));
        return made;
    }();
    const Positions& positions = all.at(this);
    auto found = positions.find(element_name);
    return found == positions.end() ? -1 : found->second;
}

const Row* ItemClass::by_uri(std::string_view uri) const {
    auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& r) { return r.uri == uri; });
    return found == rows.end() ? nullptr : &*found;
}

const std::vector<ItemClass>& item_classes() {
    return registry().classes();
}

const ItemClass* class_by_element(std::string_view element) {
    for (const ItemClass& c : item_classes())
        if (c.element == element)
            return &c;
    return nullptr;
}

bool known_field_uri(std::string_view uri) {
    return registry().known_uri(std::string(uri));
}

SlotId slot_of(std::string_view uri) {
    return registry().find(uri);
}

SlotId slot_of(std::string_view uri, std::string_view index) {
    thread_local std::string name;
    name.assign(uri).append("/").append(index);
    return registry().find(name);
}

SlotId slot_of_extended(std::string_view key, std::string_view type) {
    return registry().extended(key, type);
}

const Slot& slot(SlotId id) {
    return registry().at(id);
}

const std::vector<std::string_view>& email_keys() {
    static const std::vector<std::string_view> keys{"EmailAddress1", "EmailAddress2",
                                                    "EmailAddress3"};
    return keys;
}

const std::vector<std::string_view>& phone_keys() {
    static const std::vector<std::string_view> keys = [] {
        std::vector<std::string_view> made;
        for (const KeyAndTag& phone : kPhones)
            made.push_back(phone.key);
        return made;
    }();
    return keys;
}

const std::vector<std::string_view>& im_keys() {
    static const std::vector<std::string_view> keys{"ImAddress1", "ImAddress2", "ImAddress3"};
    return keys;
}

const std::vector<std::string_view>& address_keys() {
    static const std::vector<std::string_view> keys{"Business", "Home", "Other"};
    return keys;
}

const std::vector<std::string_view>& address_parts() {
    static const std::vector<std::string_view> parts{"Street", "City", "State", "CountryOrRegion",
                                                     "PostalCode"};
    return parts;
}

}  // namespace stand_in
