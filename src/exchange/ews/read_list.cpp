// A list that leaves an item out leads to a duplicate, or to a change that never comes: what cannot
// be used of a page spoils all of it.
#include "exchange/ews/read_list.h"

#include <charconv>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "exchange/ews/answer_parts.h"
#include "exchange/ews/item_reading.h"
#include "exchange/ews/request.h"
#include "exchange/ews/xml.h"
#include "record/text.h"

namespace crmsync::exchange::ews {

namespace {

constexpr std::size_t longest_state = 1u << 20;  // bytes; Exchange's have a few hundred

// Whether the server says that its list ends here; nullopt: it does not say.
std::optional<bool> read_flag(std::string_view text) {
    if (text == "true" || text == "1") {
        return true;
    }
    return text == "false" || text == "0" ? std::optional(false) : std::nullopt;
}

// The items on a page that bear a stamp.
Answer read_page(pugi::xml_node message, int offset) {
    if (auto failure = request_failure(message, false)) {
        return failed(std::move(*failure));
    }
    const pugi::xml_node root = child(message, "RootFolder");
    const auto complete = read_flag(root.attribute("IncludesLastItemInRange").value());
    if (!complete) {
        return broken("PAGE-INCOMPLETE", "the server does not say whether the list is complete",
                      false);
    }
    Answer answer;
    answer.complete = *complete;
    for (pugi::xml_node item : children(child(root, "Items"))) {
        std::string stamp = read_stamp_of(item);
        if (stamp.empty()) {
            continue;
        }
        auto reference = read_reference(item);
        if (!reference) {
            return failed(no_usable_id(false));
        }
        ItemAnswer found;
        found.item = std::move(*reference);
        found.stamp = std::move(stamp);
        found.attempt = read_attempt_of(item);
        answer.items.push_back(std::move(found));
    }
    if (!answer.complete) {
        const std::string_view next = root.attribute("IndexedPagingOffset").value();
        const auto read =
            std::from_chars(next.data(), next.data() + next.size(), answer.next_offset);
        if (read.ec != std::errc{} || answer.next_offset <= offset) {
            return broken("PAGE-STUCK", "the server's next page is not after this one", false);
        }
    }
    return answer;
}

// The stamp that was asked for and is meant by a listed one; nullptr: none. Exchange compares
// without regard to case, while a stamp is the same only byte by byte; and it cuts what it lists at
// 255 characters, so that a long stamp is known by its beginning, if that is one stamp's only.
const std::string* asked_stamp(const std::vector<std::string>& asked, std::string_view listed) {
    constexpr std::size_t cut = 255;
    const std::string* found = nullptr;
    for (const std::string& stamp : asked) {
        if (stamp == listed) {
            return &stamp;
        }
        if (listed.size() >= cut && stamp.starts_with(listed)) {
            if (found != nullptr) {
                return nullptr;
            }
            found = &stamp;
        }
    }
    return found;
}

// The change that an element of a page describes; nullopt: none that matters here, such as of a
// read flag, or of an item of another kind than the folder is read for.
std::optional<FolderChange> read_change(pugi::xml_node element, record::Object object,
                                        bool& usable) {
    const std::string_view kind = local_name(element);
    const bool gone = kind == "Delete";
    if (!gone && kind != "Create" && kind != "Update") {
        return std::nullopt;
    }
    const pugi::xml_node item = gone ? element : first_element(element);
    if (!gone && local_name(item) != item_element(object)) {
        return std::nullopt;
    }
    auto reference = read_reference(item);
    usable = reference.has_value() && (gone || !reference->change_key.empty());
    return usable ? std::optional(FolderChange{std::move(*reference), gone}) : std::nullopt;
}

}  // namespace

Answer read_list(const ListStamps& list, pugi::xml_node message) {
    return read_page(message, list.offset);
}

Answer read_list(const FindStamps& find, pugi::xml_node message) {
    Answer answer = read_page(message, 0);
    std::erase_if(answer.items, [&](ItemAnswer& item) {
        const std::string* stamp = asked_stamp(find.stamps, item.stamp);
        if (stamp != nullptr) {
            item.stamp = *stamp;
        }
        return stamp == nullptr;
    });
    return answer;
}

Answer read_list(const ListChanges& list, pugi::xml_node message) {
    if (auto failure = request_failure(message, false)) {
        return failed(std::move(*failure));
    }
    Answer answer;
    const auto complete =
        read_flag(record::trimmed(text_of(child(message, "IncludesLastItemInRange"))));
    answer.state = std::string(record::trimmed(text_of(child(message, "SyncState"))));
    if (!complete || answer.state.empty() || answer.state.size() > longest_state ||
        record::text_problem(answer.state)) {
        return broken("PAGE-INCOMPLETE", "the server does not say how the list goes on", false);
    }
    answer.complete = *complete;
    if (!answer.complete && answer.state == list.state) {
        return broken("PAGE-STUCK", "the server's next page is not after this one", false);
    }
    std::map<std::string, std::size_t> places;
    for (pugi::xml_node element : children(child(message, "Changes"))) {
        bool usable = true;
        auto change = read_change(element, list.object, usable);
        if (!usable) {
            return failed(no_usable_id(false));
        }
        if (!change) {
            continue;
        }
        const auto [known, is_new] = places.try_emplace(change->item.id, answer.changes.size());
        if (is_new) {
            answer.changes.push_back(std::move(*change));
        } else {
            answer.changes[known->second] = std::move(*change);
        }
    }
    return answer;
}

}  // namespace crmsync::exchange::ews
