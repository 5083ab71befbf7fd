#include "exchange/ews/answer_parts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "exchange/ews/failures.h"
#include "exchange/ews/xml.h"

namespace crmsync::exchange::ews {

namespace {

constexpr std::size_t longest_id = 512;  // bytes; Exchange's ids have about 150

}  // namespace

Answer failed(Failure failure) {
    Answer answer;
    answer.failure = std::move(failure);
    return answer;
}

Answer broken(std::string_view code, std::string_view words, bool write) {
    return failed(broken_answer(code, words, write));
}

bool usable_id(std::string_view id) {
    return !id.empty() && id.size() <= longest_id &&
           std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 0x7F; });
}

std::optional<ItemReference> read_reference(pugi::xml_node item) {
    const pugi::xml_node id = child(item, "ItemId");
    ItemReference reference{.id = id.attribute("Id").value(),
                            .change_key = id.attribute("ChangeKey").value()};
    const bool good = usable_id(reference.id) &&
                      (reference.change_key.empty() || usable_id(reference.change_key));
    return good ? std::optional(std::move(reference)) : std::nullopt;
}

pugi::xml_node first_element(pugi::xml_node parent) {
    return *children(parent).begin();
}

Failure no_usable_id(bool write) {
    return broken_answer("NO-ITEM-ID", "the server reports success without a usable item id",
                         write);
}

void blame_folder(Failure& failure) {
    if (failure.disposition == Disposition::item_gone) {
        failure.disposition = Disposition::folder_gone;
    }
}

std::optional<Failure> request_failure(pugi::xml_node message, bool write) {
    auto failure = message_failure(message, write);
    if (failure) {
        blame_folder(*failure);
        if (about_one_item(failure->disposition)) {
            failure->disposition = Disposition::back_off;
        }
    }
    return failure;
}

}  // namespace crmsync::exchange::ews
