#include "exchange/ews/read_folder.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "exchange/ews/answer_parts.h"
#include "exchange/ews/failures.h"
#include "exchange/ews/xml.h"
#include "record/text.h"

namespace crmsync::exchange::ews {

namespace {

std::optional<std::string> read_folder_id(pugi::xml_node folder) {
    const std::string id = child(folder, "FolderId").attribute("Id").value();
    return usable_id(id) ? std::optional(id) : std::nullopt;
}

Answer folder_answer(pugi::xml_node folder, bool write) {
    const auto id = read_folder_id(folder);
    if (!id) {
        return broken("NO-FOLDER-ID", "the server reports success without a usable folder id",
                      write);
    }
    Answer answer;
    answer.folder_id = *id;
    return answer;
}

}  // namespace

Answer read_folder(const FindFolder& find, const std::vector<pugi::xml_node>& messages) {
    const pugi::xml_node message = messages.front();
    if (auto failure = request_failure(message, false)) {
        if (failure->disposition == Disposition::folder_gone) {
            // The mailbox lacks even the default folder: there is nothing to create it in.
            failure->disposition = Disposition::mailbox_disabled;
        }
        return failed(std::move(*failure));
    }
    if (find.name.empty()) {
        return folder_answer(first_element(child(message, "Folders")), false);
    }
    const std::string wanted = record::lower_ascii(find.name);
    const pugi::xml_node folders = child(child(message, "RootFolder"), "Folders");
    // It is Exchange that compares names, without regard to case, and it would refuse a second one.
    // Of letters that only it can compare the one that it has found is taken.
    const bool is_plain = std::all_of(wanted.begin(), wanted.end(),
                                      [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    if (const auto only = first_element(folders);
        !is_plain && only && only == folders.last_child()) {
        return folder_answer(only, false);
    }
    for (pugi::xml_node folder : children(folders)) {
        if (record::lower_ascii(record::cleaned(text_of(child(folder, "DisplayName")))) == wanted) {
            return folder_answer(folder, false);
        }
    }
    return {};
}

// Of the other folders nothing need be known where we may not see them. In deleted items that we
// may not see nothing is found either.
Answer read_folder(const LocateFolder& locate, const std::vector<pugi::xml_node>& messages) {
    if (auto failure = request_failure(messages.front(), false)) {
        return failed(std::move(*failure));
    }
    const auto folder = [&](std::size_t place) {
        return first_element(child(messages[place], "Folders"));
    };
    const std::string_view parent = child(folder(0), "ParentFolderId").attribute("Id").value();
    Answer answer;
    const auto bin = read_folder_id(folder(1));
    answer.deleted = !parent.empty() && bin == parent;
    const auto above = read_folder_id(folder(2));
    answer.moved =
        bin && !parent.empty() && !answer.deleted && above != parent && above != locate.folder_id;
    return answer;
}

Answer read_folder(const SearchDeleted& search, const std::vector<pugi::xml_node>& messages) {
    Answer answer;
    for (pugi::xml_node folder :
         children(child(child(messages.front(), "RootFolder"), "Folders"))) {
        answer.deleted |= read_folder_id(folder) == search.folder_id;
    }
    return answer;
}

Answer read_folder(const CreateFolder&, const std::vector<pugi::xml_node>& messages) {
    if (auto failure = request_failure(messages.front(), true)) {
        return failed(std::move(*failure));
    }
    return folder_answer(first_element(child(messages.front(), "Folders")), true);
}

Answer read_folder(const DeleteFolder&, const std::vector<pugi::xml_node>& messages) {
    if (auto failure = request_failure(messages.front(), true)) {
        return failed(std::move(*failure));
    }
    return {};
}

}  // namespace crmsync::exchange::ews
