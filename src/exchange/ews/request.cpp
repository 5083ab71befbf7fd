// Header order as customary: version, then impersonation (types.xsd has no order for them).
#include "exchange/ews/request.h"

#include <cstdint>
#include <cstdio>
#include <random>
#include <stdexcept>

#include "record/text.h"

namespace crmsync::exchange::ews {
namespace {

constexpr const char* soap = "http://schemas.xmlsoap.org/soap/envelope/";
constexpr const char* types = "http://schemas.microsoft.com/exchange/services/2006/types";
constexpr const char* messages = "http://schemas.microsoft.com/exchange/services/2006/messages";

struct StringWriter : pugi::xml_writer {
    void write(const void* data, std::size_t size) override {
        text.append(static_cast<const char*>(data), size);
    }
    std::string text;
};

// A version 4 UUID (RFC 4122, section 4.4) that support can find in Exchange's logs. It guards
// nothing, so an ordinary generator will do.
std::string request_id() {
    static thread_local std::mt19937_64 generator{std::random_device{}()};
    const std::uint64_t high = (generator() & ~0xF000ULL) | 0x4000ULL;
    const std::uint64_t low = (generator() & ~(3ULL << 62)) | (1ULL << 63);
    char text[40];
    std::snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx",
                  static_cast<unsigned>(high >> 32), static_cast<unsigned>((high >> 16) & 0xFFFF),
                  static_cast<unsigned>(high & 0xFFFF), static_cast<unsigned>(low >> 48),
                  static_cast<unsigned long long>(low & 0xFFFFFFFFFFFFULL));
    return text;
}

void check_mailbox(const std::string& mailbox) {
    for (const char c : mailbox) {
        const auto byte = static_cast<std::uint8_t>(c);
        if (byte <= 0x20 || byte == 0x7F) {
            throw std::invalid_argument("mailbox \"" + record::cleaned(mailbox, 100) +
                                        "\" contains white space or a control character");
        }
    }
    if (mailbox.empty()) {
        throw std::invalid_argument("the mailbox is empty");
    }
}

const char* default_folder(record::Object object) {
    switch (object) {
        case record::Object::contact:
            return "contacts";
        case record::Object::event:
            return "calendar";
        case record::Object::task:
            return "tasks";
    }
    return "";
}

}  // namespace

pugi::xml_node add(pugi::xml_node parent, const char* name) {
    return parent.append_child(name);
}

pugi::xml_node add_text(pugi::xml_node parent, const char* name, const std::string& text) {
    pugi::xml_node node = parent.append_child(name);
    node.append_child(pugi::node_pcdata).set_value(text.c_str());
    return node;
}

void set(pugi::xml_node node, const char* attribute, const char* value) {
    node.append_attribute(attribute).set_value(value);
}

std::string sendable(std::string_view text) {
    return record::cleaned(text);
}

Request::Request(const Account& account, const char* operation) : account_(account) {
    check_mailbox(account.mailbox);
    pugi::xml_node envelope = document_.append_child("s:Envelope");
    set(envelope, "xmlns:s", soap);
    set(envelope, "xmlns:t", types);
    set(envelope, "xmlns:m", messages);
    pugi::xml_node header = add(envelope, "s:Header");
    set(add(header, "t:RequestServerVersion"), "Version", sendable(account.server_version).c_str());
    if (account.impersonation) {
        pugi::xml_node identity = add(add(header, "t:ExchangeImpersonation"), "t:ConnectingSID");
        add_text(identity, "t:PrimarySmtpAddress", sendable(account.mailbox));
    }
    operation_ = add(add(envelope, "s:Body"), operation);
}

net::Request Request::finish(std::size_t answer_limit) const {
    StringWriter writer;
    writer.text = "<?xml version=\"1.0\" encoding=\"utf-8\"?>";
    document_.save(writer, "", pugi::format_raw | pugi::format_no_declaration, pugi::encoding_utf8);
    net::Request request;
    request.headers = {"Content-Type: text/xml; charset=utf-8", "Accept: text/xml",
                       "X-AnchorMailbox: " + account_.mailbox, "client-request-id: " + request_id(),
                       "return-client-request-id: true"};
    request.body = std::move(writer.text);
    request.answer_limit = answer_limit;
    return request;
}

std::string_view item_element(record::Object object) {
    switch (object) {
        case record::Object::contact:
            return "Contact";
        case record::Object::event:
            return "CalendarItem";
        case record::Object::task:
            return "Task";
    }
    return "Item";
}

void add_default_folder(pugi::xml_node parent, record::Object object, const Account& account) {
    add_distinguished_folder(parent, default_folder(object), account);
}

void add_distinguished_folder(pugi::xml_node parent, const char* name, const Account& account) {
    pugi::xml_node folder = add(parent, "t:DistinguishedFolderId");
    set(folder, "Id", name);
    if (!account.impersonation) {
        add_text(add(folder, "t:Mailbox"), "t:EmailAddress", sendable(account.mailbox));
    }
}

void add_folder_id(pugi::xml_node parent, const std::string& id) {
    set(add(parent, "t:FolderId"), "Id", id.c_str());
}

void add_item_id(pugi::xml_node parent, const ItemReference& item, bool with_change_key) {
    pugi::xml_node node = add(parent, "t:ItemId");
    set(node, "Id", item.id.c_str());
    if (with_change_key && !item.change_key.empty()) {
        set(node, "ChangeKey", item.change_key.c_str());
    }
}

}  // namespace crmsync::exchange::ews
