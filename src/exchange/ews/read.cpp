// From an HTTP response to an Answer. Response messages belong to the items of the request by their
// order alone, so an answer with more or fewer of them than were asked for belongs to nothing, and
// one that names another item of the same request is not believed either.
#include <algorithm>
#include <chrono>
#include <pugixml.hpp>
#include <vector>

#include "exchange/ews/answer_parts.h"
#include "exchange/ews/failures.h"
#include "exchange/ews/item_reading.h"
#include "exchange/ews/protocol.h"
#include "exchange/ews/read_folder.h"
#include "exchange/ews/read_list.h"
#include "exchange/ews/request.h"
#include "exchange/ews/xml.h"
#include "record/text.h"

namespace crmsync::exchange::ews {
namespace {

using Messages = std::vector<pugi::xml_node>;

pugi::xml_node first_item(pugi::xml_node message) {
    return first_element(child(message, "Items"));
}

// True when an item that succeeded is called by the id of another item of the request, or two are
// called the same: then the server's order is not ours.
bool confused(const std::vector<ItemAnswer>& answers, const std::vector<std::string_view>& asked) {
    std::vector<std::string_view> known(asked);
    std::sort(known.begin(), known.end());
    std::vector<std::string_view> seen;
    for (std::size_t i = 0; i < answers.size(); ++i) {
        const std::string_view id = answers[i].item.id;
        if (answers[i].failure || id.empty()) {
            continue;
        }
        if (!asked.empty() && id != asked[i] &&
            std::binary_search(known.begin(), known.end(), id)) {
            return true;
        }
        seen.push_back(id);
    }
    std::sort(seen.begin(), seen.end());
    const auto twice = std::adjacent_find(seen.begin(), seen.end());
    if (twice == seen.end()) {
        return false;
    }
    // The caller may have named an item twice itself.
    return std::adjacent_find(known.begin(), known.end()) == known.end();
}

Answer checked(std::vector<ItemAnswer> items, const std::vector<std::string_view>& asked,
               bool write) {
    if (confused(items, asked)) {
        return broken("ANSWER-CONFUSED", "the answer names items in another order than the request",
                      write);
    }
    Answer answer;
    answer.items = std::move(items);
    return answer;
}

std::vector<std::string_view> ids_of(const std::vector<ItemReference>& items) {
    std::vector<std::string_view> ids;
    ids.reserve(items.size());
    for (const ItemReference& item : items) {
        ids.push_back(item.id);
    }
    return ids;
}

// What came of one written item that the server gives an id for.
ItemAnswer written_item(pugi::xml_node message) {
    ItemAnswer answer;
    answer.failure = message_failure(message, true);
    if (!answer.failure) {
        if (auto reference = read_reference(first_item(message))) {
            answer.item = std::move(*reference);
        } else {
            answer.failure = no_usable_id(true);
        }
    }
    return answer;
}

Answer read_messages(const CreateItems&, const Messages& messages) {
    std::vector<ItemAnswer> items;
    for (pugi::xml_node message : messages) {
        items.push_back(written_item(message));
        if (items.back().failure) {
            blame_folder(*items.back().failure);
        }
    }
    return checked(std::move(items), {}, true);
}

Answer read_updates(const std::vector<std::string_view>& asked, const Messages& messages) {
    std::vector<ItemAnswer> items;
    for (pugi::xml_node message : messages) {
        items.push_back(written_item(message));
    }
    return checked(std::move(items), asked, true);
}

Answer read_messages(const UpdateItems& update, const Messages& messages) {
    std::vector<std::string_view> asked;
    for (const ItemChange& change : update.items) {
        asked.push_back(change.item.id);
    }
    return read_updates(asked, messages);
}

Answer read_messages(const RemoveStamps& remove, const Messages& messages) {
    return read_updates(ids_of(remove.items), messages);
}

Answer read_messages(const DeleteItems& remove, const Messages& messages) {
    Answer answer;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        ItemAnswer item;
        item.item = remove.items[i];
        item.failure = message_failure(messages[i], true);
        answer.items.push_back(std::move(item));
    }
    return answer;
}

bool is_in(pugi::xml_node item, const std::string& folder_id) {
    return !folder_id.empty() && child(item, "ParentFolderId").attribute("Id").value() == folder_id;
}

Answer read_messages(const GetItems& get, const Messages& messages) {
    std::vector<ItemAnswer> items;
    for (pugi::xml_node message : messages) {
        ItemAnswer answer;
        answer.failure = message_failure(message, false);
        const pugi::xml_node item = first_item(message);
        if (!answer.failure && is_in(item, get.deleted_folder)) {
            answer.failure = {.disposition = Disposition::item_gone,
                              .code = "ErrorItemNotFound",
                              .message = "its folder was deleted"};
        }
        if (!answer.failure) {
            if (auto reference = read_reference(item)) {
                answer.item = std::move(*reference);
                read_values(item, get.layout, answer);
                answer.photos = read_photos(item);
                answer.stamp = read_stamp_of(item);
                answer.created = read_moment(item, "DateTimeCreated");
                answer.modified = read_moment(item, "LastModifiedTime");
                if (!get.key_property.empty()) {
                    answer.key = read_key(item, get.key_property);
                }
                answer.attempt = read_attempt_of(item);
                answer.categories = read_categories(item);
                answer.is_private = read_private(item);
                answer.is_other_kind = local_name(item) != item_element(get.object);
            } else {
                answer.failure = no_usable_id(false);
            }
        }
        items.push_back(std::move(answer));
    }
    return checked(std::move(items), {get.ids.begin(), get.ids.end()}, false);
}

Answer read_messages(const GetAttachments&, const Messages& messages) {
    Answer answer;
    for (pugi::xml_node message : messages) {
        ItemAnswer item;
        item.failure = message_failure(message, false);
        if (!item.failure) {
            std::string content =
                text_of(child(child(child(message, "Attachments"), "FileAttachment"), "Content"));
            if (auto description = record::describe(content)) {
                item.values.emplace_back(std::move(*description));
                item.content = std::make_shared<const std::string>(std::move(content));
            } else {
                item.failure = {.disposition = Disposition::item_failed,
                                .code = "NO-CONTENT",
                                .message = "the content of an attachment is no base64",
                                .damaged = true};
            }
        }
        answer.items.push_back(std::move(item));
    }
    return answer;
}

// The item that an attachment was added to or taken from, as it is called now, if the server says:
// it need not.
ItemAnswer changed_root(pugi::xml_node message, pugi::xml_node root) {
    ItemAnswer answer;
    answer.failure = message_failure(message, true);
    if (!answer.failure) {
        const auto usable = [&](const char* name) {
            std::string id = root.attribute(name).value();
            return usable_id(id) ? id : std::string();
        };
        answer.item = {usable("RootItemId"), usable("RootItemChangeKey")};
    }
    return answer;
}

Answer read_messages(const CreateAttachment&, const Messages& messages) {
    const pugi::xml_node message = messages.front();
    const pugi::xml_node file = child(child(message, "Attachments"), "FileAttachment");
    Answer answer;
    answer.items.push_back(changed_root(message, child(file, "AttachmentId")));
    return answer;
}

Answer read_messages(const DeleteAttachment&, const Messages& messages) {
    Answer answer;
    answer.items.push_back(changed_root(messages.front(), child(messages.front(), "RootItemId")));
    return answer;
}
Answer read_messages(const FindFolder& find, const Messages& messages) {
    return read_folder(find, messages);
}

Answer read_messages(const LocateFolder& locate, const Messages& messages) {
    return read_folder(locate, messages);
}

Answer read_messages(const SearchDeleted& search, const Messages& messages) {
    return read_folder(search, messages);
}

Answer read_messages(const CreateFolder& create, const Messages& messages) {
    return read_folder(create, messages);
}

Answer read_messages(const DeleteFolder& remove, const Messages& messages) {
    return read_folder(remove, messages);
}

Answer read_messages(const ListStamps& list, const Messages& messages) {
    return read_list(list, messages.front());
}

Answer read_messages(const ListChanges& list, const Messages& messages) {
    return read_list(list, messages.front());
}

Answer read_messages(const FindStamps& find, const Messages& messages) {
    return read_list(find, messages.front());
}

struct Expected {
    std::string_view response;  // local name of the element in the body
    std::size_t messages;       // how many response messages
};

struct Expectation {
    Expected operator()(const FindFolder& find) const {
        return {find.name.empty() ? "GetFolderResponse" : "FindFolderResponse", 1};
    }
    Expected operator()(const LocateFolder&) const { return {"GetFolderResponse", 3}; }
    Expected operator()(const SearchDeleted&) const { return {"FindFolderResponse", 1}; }
    Expected operator()(const CreateFolder&) const { return {"CreateFolderResponse", 1}; }
    Expected operator()(const DeleteFolder&) const { return {"DeleteFolderResponse", 1}; }
    Expected operator()(const ListStamps&) const { return {"FindItemResponse", 1}; }
    Expected operator()(const ListChanges&) const { return {"SyncFolderItemsResponse", 1}; }
    Expected operator()(const FindStamps&) const { return {"FindItemResponse", 1}; }
    Expected operator()(const CreateItems& one) const {
        return {"CreateItemResponse", one.items.size()};
    }
    Expected operator()(const UpdateItems& one) const {
        return {"UpdateItemResponse", one.items.size()};
    }
    Expected operator()(const DeleteItems& one) const {
        return {"DeleteItemResponse", one.items.size()};
    }
    Expected operator()(const GetItems& one) const { return {"GetItemResponse", one.ids.size()}; }
    Expected operator()(const GetAttachments& one) const {
        return {"GetAttachmentResponse", one.attachments.size()};
    }
    Expected operator()(const CreateAttachment&) const { return {"CreateAttachmentResponse", 1}; }
    Expected operator()(const DeleteAttachment&) const { return {"DeleteAttachmentResponse", 1}; }
    Expected operator()(const RemoveStamps& one) const {
        return {"UpdateItemResponse", one.items.size()};
    }
};

bool looks_like_xml(const net::Response& response) {
    std::string_view start = record::trimmed(std::string_view(response.body).substr(0, 4096));
    if (start.starts_with("\xEF\xBB\xBF")) {
        start = record::trimmed(start.substr(3));
    }
    const std::string head = record::lower_ascii(start.substr(0, 64));
    if (head.starts_with("<!doctype") || head.starts_with("<html")) {
        return false;
    }
    return head.starts_with("<") || response.content_type.find("xml") != std::string::npos;
}

// IIS answers as if there were nothing when a request is larger than it takes (404.13).
Answer without_soap(const Operation& operation, const net::Response& response) {
    const bool write = writes(operation);
    Failure failure = http_failure(response, write);
    if (response.status == 404 && write && std::visit(Expectation{}, operation).messages > 1) {
        failure.disposition = Disposition::shrink_batch;
        failure.scope = Scope::request;
    }
    return failed(std::move(failure));
}

// Who changed something last can only be told by one clock, and the two need not agree.
void tell_by_our_clock(const net::Response& response, Answer& answer) {
    constexpr std::chrono::seconds rounding{1};
    constexpr std::chrono::days nonsense{366};
    const std::chrono::seconds ahead = response.clock_ahead.value_or(std::chrono::seconds{0});
    if (abs(ahead) <= rounding || abs(ahead) > nonsense) {
        return;
    }
    for (ItemAnswer& item : answer.items) {
        for (auto* moment : {&item.created, &item.modified}) {
            if (*moment) {
                **moment -= ahead;
            }
        }
    }
}

Answer read_body(const Operation& operation, const net::Response& response,
                 pugi::xml_node soap_body) {
    const bool write = writes(operation);
    if (const pugi::xml_node fault = child(soap_body, "Fault")) {
        return failed(fault_failure(fault, response, write));
    }
    const Expected expected = std::visit(Expectation{}, operation);
    const pugi::xml_node answered = child(soap_body, expected.response);
    if (!answered) {
        return broken("UNEXPECTED-ANSWER", "the answer has no " + std::string(expected.response),
                      write);
    }
    Messages messages;
    for (pugi::xml_node message : children(child(answered, "ResponseMessages"))) {
        messages.push_back(message);
    }
    if (messages.size() != expected.messages) {
        return broken("ANSWER-COUNT",
                      "the answer has " + std::to_string(messages.size()) +
                          " response messages for " + std::to_string(expected.messages) + " items",
                      write);
    }
    return std::visit([&](const auto& one) { return read_messages(one, messages); }, operation);
}

}  // namespace

Answer read(const Operation& operation, const net::Response& response) {
    const bool write = writes(operation);
    if (response.error) {
        return failed(transport_failure(response, write));
    }
    if (response.status == 401 || !looks_like_xml(response)) {
        if (response.status == 200 && record::trimmed(response.body).empty()) {
            return broken("EMPTY-ANSWER", "the answer is empty", write);
        }
        return without_soap(operation, response);
    }
    pugi::xml_document document;
    std::string problem;
    if (!parse(response.body, document, problem)) {
        return response.status == 200 ? broken("BROKEN-XML", problem, write)
                                      : without_soap(operation, response);
    }
    const pugi::xml_node root = document.document_element();
    const pugi::xml_node soap_body =
        local_name(root) == "Envelope" ? child(root, "Body") : pugi::xml_node{};
    if (!soap_body) {
        return without_soap(operation, response);
    }
    Answer answer = read_body(operation, response, soap_body);
    tell_by_our_clock(response, answer);
    return answer;
}

}  // namespace crmsync::exchange::ews
