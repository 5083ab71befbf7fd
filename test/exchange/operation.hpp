// What an operation gets and gives: the request, who asks, and the text of the answer.
#pragma once

#include "directory.hpp"
#include "errors.hpp"
#include "soap.hpp"

#include <pugixml.hpp>

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>

namespace stand_in {

struct Context {
    Directory& directory;
    MailboxPtr mailbox;  ///< whose mailbox the request acts in; null: the account has none
    bool impersonated = false;
    bool property_sets_as_guid = false;
    /// Called before each item of a batch; throws ItemError where a fault is to hit that item.
    std::function<void(std::size_t index, pugi::xml_node item)> before_item;
    std::size_t items = 0;  ///< items written or returned, for journal and service time
};

using Operation = std::string (*)(Context&, pugi::xml_node request);

/// The operation of this element name, or null.
Operation find_operation(std::string_view name);

/// A folder as a request names it.
struct FolderRef {
    MailboxPtr mailbox;
    std::uint32_t number = 0;
};

/// Resolves t:FolderId or t:DistinguishedFolderId. Takes and releases the mailbox's mutex.
/// Throws ItemError (ErrorFolderNotFound, ErrorInvalidIdMalformed, ErrorAccessDenied ...).
FolderRef resolve_folder(const Context& context, pugi::xml_node id);

/// An item as a request names it, its mailbox locked.
struct LockedItem {
    MailboxPtr mailbox;
    std::unique_lock<std::mutex> lock;
    Folder* folder = nullptr;
    Item* item = nullptr;
};

/// Resolves t:ItemId. Throws ItemError (ErrorItemNotFound, ErrorInvalidIdMalformed ...).
LockedItem lock_item(const Context& context, pugi::xml_node id);
LockedItem lock_item(const Context& context, const ItemKey& key);

/// Carries out one response message for each element of a batch; an ItemError becomes its answer.
template <class Each>
void each_of_batch(Context& context, Answer& answer, pugi::xml_node batch, Each&& each) {
    std::size_t index = 0;
    for (pugi::xml_node node : batch.children()) {
        if (node.type() != pugi::node_element)
            continue;
        try {
            if (context.before_item)
                context.before_item(index, node);
            each(node);
        } catch (const ItemError& error) {
            answer.error(error);
        }
        ++index;
        ++context.items;
    }
}

}  // namespace stand_in
