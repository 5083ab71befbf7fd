#include "sync_operations.hpp"

#include "folder_operations.hpp"
#include "shape.hpp"

#include <algorithm>
#include <unordered_set>

namespace stand_in {

namespace {

SyncPoint read_state(pugi::xml_node request, const Mailbox& mailbox, std::uint32_t folder) {
    std::string_view text = child(request, "SyncState").child_value();
    if (text.empty())
        return {.mailbox = mailbox.guid, .folder = folder, .epoch = mailbox.epoch};
    auto point = parse_sync_state(text);
    if (!point || point->mailbox != mailbox.guid || point->folder != folder ||
        point->epoch != mailbox.epoch)
        throw ItemError{"ErrorInvalidSyncStateData",
                        "Synchronization state data is corrupt or otherwise invalid."};
    return *point;
}

std::size_t read_most(pugi::xml_node request) {
    unsigned most = child(request, "MaxChangesReturned").text().as_uint(0);
    if (most < 1 || most > 512)
        throw SoapFault{"ErrorSchemaValidation",
                        "The request failed schema validation: The 'MaxChangesReturned' element is "
                        "invalid - it is from 1 to 512."};
    return most;
}

std::unordered_set<std::string> read_ignored(pugi::xml_node request) {
    std::unordered_set<std::string> ignored;
    for (pugi::xml_node id : child(request, "Ignore").children())
        ignored.insert(id.attribute("Id").value());
    return ignored;
}

/// Walks through what a state lacks: first items that arrived, by number; then items that changed
/// and items that left, by change number. The end of the walk is fixed when it begins, so that
/// nothing written meanwhile is lost or taken for something the client has seen.
class Walk {
  public:
    Walk(const Mailbox& mailbox, const Folder& folder, SyncPoint point)
        : mailbox_(mailbox), folder_(folder), point_(point) {
        if (point_.end_change == 0) {
            point_.end_change = mailbox.last_change();
            point_.end_number = mailbox.last_number();
            point_.number_cursor = point_.number;
            point_.change_cursor = point_.change;
        }
    }

    void write(pugi::xml_node changes, const Shape& shape, std::size_t most,
               const std::unordered_set<std::string>& ignored) {
        if (arrivals(changes, shape, most, ignored) && rest(changes, shape, most, ignored)) {
            includes_last = true;
            point_.change = point_.end_change;
            point_.number = point_.end_number;
            point_.end_change = point_.end_number = 0;
        }
    }

    const SyncPoint& reached() const { return point_; }

    std::size_t written = 0;
    bool includes_last = false;

  private:
    std::string id_of(std::uint64_t number) const {
        return format_item_id({mailbox_.guid, folder_.number, number});
    }

    bool arrivals(pugi::xml_node changes, const Shape& shape, std::size_t most,
                  const std::unordered_set<std::string>& ignored) {
        for (auto next = folder_.items.upper_bound(point_.number_cursor);
             next != folder_.items.end() && next->first <= point_.end_number; ++next) {
            if (!ignored.empty() && ignored.contains(id_of(next->first)))
                continue;
            if (written == most)
                return false;
            shape.write(changes.append_child("t:Create"), mailbox_, folder_, next->second);
            point_.number_cursor = next->first;
            ++written;
        }
        point_.number_cursor = point_.end_number;
        return true;
    }

    bool rest(pugi::xml_node changes, const Shape& shape, std::size_t most,
              const std::unordered_set<std::string>& ignored) {
        auto changed = folder_.changes.upper_bound(point_.change_cursor);
        auto removed = folder_.removals.upper_bound(point_.change_cursor);
        while (true) {
            bool more_changed =
                changed != folder_.changes.end() && changed->first <= point_.end_change;
            bool more_removed =
                removed != folder_.removals.end() && removed->first <= point_.end_change;
            if (!more_changed && !more_removed)
                return true;
            bool take_change = more_changed && (!more_removed || changed->first < removed->first);
            const auto [change, number] = take_change ? *changed++ : *removed++;
            // What arrived after the base is in the other half of the walk, or was never seen.
            if (number > point_.number || ignored.contains(id_of(number)))
                continue;
            if (written == most)
                return false;
            if (take_change)
                shape.write(changes.append_child("t:Update"), mailbox_, folder_,
                            folder_.items.at(number));
            else
                changes.append_child("t:Delete").append_child("t:ItemId").append_attribute("Id") =
                    id_of(number).c_str();
            point_.change_cursor = change;
            ++written;
        }
    }

    const Mailbox& mailbox_;
    const Folder& folder_;
    SyncPoint point_;
};

}  // namespace

std::string sync_folder_items(Context& context, pugi::xml_node request) {
    Answer answer("SyncFolderItems");
    std::size_t most = read_most(request);
    try {
        if (context.before_item)
            context.before_item(0, request);
        Shape shape(child(request, "ItemShape"), Shape::Use::sync, context.property_sets_as_guid);
        FolderRef ref;
        try {
            ref = resolve_folder(context, first_element(child(request, "SyncFolderId")));
        } catch (const ItemError& error) {
            if (error.code == "ErrorFolderNotFound")
                throw ItemError{"ErrorSyncFolderNotFound", error.text};
            throw;
        }
        std::lock_guard lock(ref.mailbox->mutex);
        const Folder* found = ref.mailbox->folder(ref.number);
        if (!found)
            throw ItemError{"ErrorSyncFolderNotFound", "The folder to synchronise is not there."};
        const Folder& folder = *found;
        Walk walk(*ref.mailbox, folder, read_state(request, *ref.mailbox, ref.number));
        pugi::xml_node message = answer.success();
        pugi::xml_node state = message.append_child("m:SyncState");
        pugi::xml_node last = message.append_child("m:IncludesLastItemInRange");
        walk.write(message.append_child("m:Changes"), shape, most, read_ignored(request));
        state.text() = format_sync_state(walk.reached()).c_str();
        last.text() = walk.includes_last;
        context.items = walk.written;
    } catch (const ItemError& error) {
        answer.error(error);
    }
    return answer.text();
}

std::string sync_folder_hierarchy(Context& context, pugi::xml_node request) {
    Answer answer("SyncFolderHierarchy");
    try {
        FolderRef ref;
        if (pugi::xml_node id = first_element(child(request, "SyncFolderId")))
            ref = resolve_folder(context, id);
        else
            ref.mailbox = context.mailbox;
        if (!ref.mailbox)
            throw ItemError{"ErrorMissingEmailAddress", "The account has no mailbox."};
        Mailbox& mailbox = *ref.mailbox;
        std::lock_guard lock(mailbox.mutex);
        SyncPoint point = read_state(request, mailbox, 0);
        std::uint64_t since = point.change, reached = since;
        pugi::xml_node message = answer.success();
        pugi::xml_node state = message.append_child("m:SyncState");
        add_text(message, "m:IncludesLastFolderInRange", "true");
        pugi::xml_node changes = message.append_child("m:Changes");
        for (const auto& [number, folder] : mailbox.folders) {
            reached = std::max(reached, folder.change);
            if (folder.change > since)
                write_folder(changes.append_child(folder.arrival > since ? "t:Create" : "t:Update"),
                             mailbox, folder, child(request, "FolderShape"));
        }
        for (const auto& [change, number] : mailbox.removed_folders) {
            reached = std::max(reached, change);
            if (change > since)
                changes.append_child("t:Delete").append_child("t:FolderId").append_attribute("Id") =
                    format_folder_id({mailbox.guid, number}).c_str();
        }
        point.change = reached;
        state.text() = format_sync_state(point).c_str();
    } catch (const ItemError& error) {
        answer.error(error);
    }
    return answer.text();
}

}  // namespace stand_in
