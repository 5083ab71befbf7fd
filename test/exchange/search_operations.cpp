#include "search_operations.hpp"

#include "restriction.hpp"
#include "shape.hpp"

#include <algorithm>
#include <optional>
#include <vector>

namespace stand_in {

namespace {

/// A restriction makes the server keep a search folder, and pages shrink (2013 and later).
constexpr std::size_t kRestrictedPage = 250, kPage = 1000;

std::optional<std::string> value_of(const Item& item, const Operand& operand) {
    if (operand.slot != kNoSlot) {
        auto value = item.values.get(operand.slot);
        if (value)
            return std::string(*value);
        const Row* row = item.item_class->by_uri(slot(operand.slot).uri);
        if (row && row->initial)
            return row->initial;
        return std::nullopt;
    }
    if (operand.uri == "item:LastModifiedTime")
        return format_date_time(item.modified);
    if (operand.uri.starts_with("item:DateTime"))
        return format_date_time(item.created);
    if (operand.uri == "item:Size")
        return std::to_string(item.bytes());
    return std::nullopt;
}

struct SortKey {
    Operand operand;
    bool descending = false;
};

std::vector<SortKey> sort_keys(pugi::xml_node request) {
    std::vector<SortKey> keys;
    for (pugi::xml_node field : child(request, "SortOrder").children())
        keys.push_back({read_operand(first_element(field)),
                        std::string_view(field.attribute("Order").value()) == "Descending"});
    return keys;
}

/// Does an appointment overlap the window of a CalendarView?
bool in_view(pugi::xml_node view, const Item& item) {
    static const SlotId start = slot_of("calendar:Start"), end = slot_of("calendar:End");
    auto begins = parse_date_time(item.values.get(start).value_or(""));
    auto ends = parse_date_time(item.values.get(end).value_or(""));
    auto from = parse_date_time(view.attribute("StartDate").value());
    auto to = parse_date_time(view.attribute("EndDate").value());
    return begins && ends && from && to && *begins<*to&& * ends> * from;
}

struct Page {
    std::size_t first = 0, last = 0, next = 0;
    bool includes_last = true;
};

Page page_of(pugi::xml_node request, std::size_t total, std::size_t cap) {
    pugi::xml_node view = child(request, "IndexedPageItemView");
    if (!view)
        view = child(request, "CalendarView");
    std::size_t most = std::min<std::size_t>(
        view.attribute("MaxEntriesReturned").as_uint(static_cast<unsigned>(cap)), cap);
    std::size_t offset = std::min<std::size_t>(view.attribute("Offset").as_uint(0), total);
    Page page;
    if (std::string_view(view.attribute("BasePoint").value()) == "End") {
        page.last = total - offset;
        page.first = page.last - std::min(most, page.last);
        page.includes_last = page.first == 0;
        page.next = total - page.first;
    } else {
        page.first = offset;
        page.last = std::min(total, offset + most);
        page.includes_last = page.last == total;
        page.next = page.last;
    }
    return page;
}

class Search {
  public:
    explicit Search(pugi::xml_node request)
        : view_(child(request, "CalendarView")), keys_(sort_keys(request)) {
        if (pugi::xml_node restriction = child(request, "Restriction"))
            restriction_.emplace(first_element(restriction));
    }

    std::vector<const Item*> run(const Folder& folder) const {
        std::vector<const Item*> found;
        for (const auto& [number, item] : folder.items)
            if (matches(item))
                found.push_back(&item);
        sort(found);
        return found;
    }

    std::size_t cap() const { return restriction_ ? kRestrictedPage : kPage; }

  private:
    bool matches(const Item& item) const {
        if (view_ && !in_view(view_, item))
            return false;
        return !restriction_ || restriction_->matches([&](const Operand& operand) {
            return value_of(item, operand);
        });
    }

    void sort(std::vector<const Item*>& found) const {
        if (keys_.empty())
            return;
        std::stable_sort(found.begin(), found.end(), [&](const Item* a, const Item* b) {
            for (const SortKey& key : keys_) {
                std::string x = value_of(*a, key.operand).value_or("");
                std::string y = value_of(*b, key.operand).value_or("");
                if (int order = compare_values(x, y))
                    return key.descending ? order > 0 : order < 0;
            }
            return false;
        });
    }

    pugi::xml_node view_;
    std::vector<SortKey> keys_;
    std::optional<Restriction> restriction_;
};

}  // namespace

std::string find_item(Context& context, pugi::xml_node request) {
    Answer answer("FindItem");
    bool associated = std::string_view(request.attribute("Traversal").value()) != "Shallow";
    std::size_t returned = 0;
    each_of_batch(context, answer, child(request, "ParentFolderIds"), [&](pugi::xml_node id) {
        Shape shape(child(request, "ItemShape"), Shape::Use::find, context.property_sets_as_guid);
        Search search(request);
        FolderRef ref = resolve_folder(context, id);
        std::lock_guard lock(ref.mailbox->mutex);
        const Folder* folder = ref.mailbox->folder(ref.number);
        if (!folder)
            throw ItemError{"ErrorFolderNotFound",
                            "The specified folder could not be found in the store."};
        std::vector<const Item*> found;
        if (!associated)
            found = search.run(*folder);
        Page page = page_of(request, found.size(), search.cap());
        pugi::xml_node root = answer.success().append_child("m:RootFolder");
        if (child(request, "IndexedPageItemView"))
            root.append_attribute("IndexedPagingOffset") = static_cast<unsigned>(page.next);
        root.append_attribute("TotalItemsInView") = static_cast<unsigned>(found.size());
        root.append_attribute("IncludesLastItemInRange") = page.includes_last;
        pugi::xml_node items = root.append_child("t:Items");
        for (std::size_t i = page.first; i < page.last; ++i)
            shape.write(items, *ref.mailbox, *folder, *found[i]);
        returned += page.last - page.first;
    });
    context.items = returned;
    return answer.text();
}

}  // namespace stand_in
